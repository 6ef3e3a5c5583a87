//! Renewal: when, how, under live connections, and when it fails.

use super::*;
use crate::testing::{HOUR, LOCALHOST, World, now, read, subject};
use crate::tls;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A signer at a CA, for one identity.
async fn sign(world: &World, who: &str, request: String) -> Result<String, PkiError> {
    world.authority.sign(&request, &subject(who), HOUR, now())
}

#[test]
fn it_is_time_after_two_thirds_and_before_the_last_fifth() {
    let world = World::new();
    let issued = world.authority.issue(&subject("host/h1"), 85 * HOUR, now()).unwrap();
    let certificate = issued.certificate;
    let life = certificate.not_after().duration_since(certificate.issued()).unwrap();
    let first = renew_at(&certificate, 0).duration_since(certificate.issued()).unwrap();
    let last = renew_at(&certificate, u64::MAX).duration_since(certificate.issued()).unwrap();
    assert_eq!(first, life * 2 / 3);
    assert!(last > life * 3 / 4 && last < life * 4 / 5, "{last:?} of {life:?}");
}

#[tokio::test]
async fn a_renewal_takes_a_new_key_and_leaves_one_file() {
    let world = World::new();
    let credentials = world.credentials("host/h1");
    let before = credentials.certificate();
    let renewer = Renewer::new(credentials.clone(), world.authority.trust());
    renewer.once(&mut |request| sign(&world, "host/h1", request)).await.unwrap();
    let after = credentials.certificate();
    assert_ne!(before.public_key(), after.public_key());
    assert_eq!(before.identity(), after.identity());
    let file = fs::read_to_string(credentials.path()).unwrap();
    assert_eq!(read(&file).fingerprint(), after.fingerprint());
}

#[tokio::test]
async fn a_renewal_does_not_disturb_a_connection_that_is_open() {
    let world = World::new();
    let trust = world.authority.trust();
    let (host, controller) = (world.credentials("host/h1"), world.credentials("controller"));
    let acceptor = TlsAcceptor::from(tls::server_config(controller.clone(), &trust).unwrap());
    let client = tls::client_config(Some(host.clone()), &trust).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let open = async || {
        let (near, far) = duplex(64 << 10);
        let dial = connector.connect(LOCALHOST.try_into().unwrap(), near);
        let (near, far) = tokio::join!(dial, acceptor.accept(far));
        (near.unwrap(), far.unwrap())
    };
    let (mut near, mut far) = open().await;
    let (host_before, controller_before) = (host.certificate(), controller.certificate());

    for (credentials, who) in [(&host, "host/h1"), (&controller, "controller")] {
        let renewer = Renewer::new(Arc::clone(credentials), trust.clone());
        renewer.once(&mut |request| sign(&world, who, request)).await.unwrap();
    }

    near.write_all(b"still").await.unwrap();
    let mut heard = [0; 5];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still");
    let seen = |end: &rustls::CommonState| tls::peer_certificate(end).unwrap().unwrap();
    assert_eq!(seen(far.get_ref().1), *host_before);
    let (near, far) = open().await;
    assert_eq!(seen(far.get_ref().1), *host.certificate());
    assert_eq!(seen(near.get_ref().1), *controller.certificate());
    assert_ne!(*controller_before, *controller.certificate());
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_until_it_succeeds() {
    let world = World::new();
    let credentials = world.credentials_at("host/h1", now() - HOUR * 9 / 10, HOUR);
    let before = credentials.certificate();
    let tries = AtomicU32::new(0);
    let renewer = Renewer::new(credentials.clone(), world.authority.trust());
    let renewing = renewer.run(|request| {
        let (nth, world) = (tries.fetch_add(1, Ordering::Relaxed), &world);
        async move {
            match nth {
                0 => Err("the controller is away".to_owned()),
                // Somebody else's certificate is no success.
                1 => sign(world, "host/h2", request).await.map_err(|e| e.to_string()),
                _ => sign(world, "host/h1", request).await.map_err(|e| e.to_string()),
            }
        }
    });
    let renewed = async {
        while credentials.certificate() == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! { _ = renewing => unreachable!(), () = renewed => {} }
    assert_eq!(tries.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_never_answers_is_given_up() {
    let world = World::new();
    let credentials = world.credentials("host/h1");
    let renewer = Renewer::new(credentials, world.authority.trust());
    let silent = renewer.once(&mut |_| std::future::pending::<Result<String, String>>()).await;
    assert!(matches!(silent, Err(RenewError::Silence)));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_put_into_the_file_is_taken_up_instead() {
    let world = World::new();
    let credentials = world.credentials_at("host/h1", now() - HOUR * 9 / 10, HOUR);
    let old = credentials.certificate();
    world.authority.issue_file(&subject("host/h1"), 100 * HOUR, now()).unwrap();
    let renewer = Renewer::new(credentials.clone(), world.authority.trust());
    let renewing = renewer.run(|_| async { Err::<String, _>("was asked") });
    let _ = tokio::time::timeout(Duration::from_millis(100), renewing).await;
    assert_ne!(credentials.certificate(), old);
}

#[tokio::test]
async fn a_crash_before_the_rename_leaves_the_old_pair_in_use() {
    let world = World::new();
    let credentials = world.credentials("host/h1");
    let before = credentials.certificate();
    let folder = credentials.path().parent().unwrap();
    // What a crash leaves behind: a new file, half written, under a name that nobody reads.
    fs::write(folder.join(".mizar-abc123"), "-----BEGIN PRIVATE KEY-----\nMIGH").unwrap();
    let again = Credentials::load(credentials.path()).unwrap();
    assert_eq!(again.certificate(), before);
    again.check(now()).unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_leaves_the_old_pair_in_use() {
    let world = World::new();
    let path = world.folder.path().join("gone").join("h1.pem");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let issued = world.authority.issue(&subject("host/h1"), HOUR, now()).unwrap();
    Credentials::write(&path, &issued).unwrap();
    let credentials = Arc::new(Credentials::load(&path).unwrap());
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let renewer = Renewer::new(credentials.clone(), world.authority.trust());
    let failed = renewer.once(&mut |request| sign(&world, "host/h1", request)).await.unwrap_err();
    assert!(matches!(failed, RenewError::Keep(_)), "{failed}");
    assert_eq!(*credentials.certificate(), issued.certificate);
}
