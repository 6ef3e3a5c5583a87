//! Handshakes between real configurations, over streams in memory.

use super::*;
use crate::testing::{HOUR, LOCALHOST, World, now, self_signed};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

type Ends =
    (io::Result<client::TlsStream<DuplexStream>>, io::Result<server::TlsStream<DuplexStream>>);

/// A handshake, and a word in each direction: with TLS 1.3 a client learns of its refusal only
/// when it reads.
async fn shake(client: ClientConfig, server: Arc<ServerConfig>, name: &'static str) -> Ends {
    let (near, far) = duplex(64 << 10);
    let name = name.try_into().unwrap();
    let dial = TlsConnector::from(Arc::new(client)).connect(name, near);
    let (client, server) = tokio::join!(dial, TlsAcceptor::from(server).accept(far));
    let say = async {
        let mut client = client?;
        client.write_all(b"?").await?;
        client.read_u8().await.map(|_| client)
    };
    let answer = async {
        let mut server = server?;
        server.read_u8().await?;
        server.write_all(b"!").await.map(|()| server)
    };
    tokio::join!(say, answer)
}

async fn as_client(world: &World, credentials: Option<Arc<Credentials>>) -> Ends {
    let trust = world.authority.trust();
    let server = server_config(world.credentials("controller"), &trust).unwrap();
    shake(client_config(credentials, &trust).unwrap(), server, LOCALHOST).await
}

/// Why the server has let nobody in.
async fn refusal(world: &World, credentials: Arc<Credentials>) -> String {
    let (client, server) = as_client(world, Some(credentials)).await;
    assert!(client.is_err(), "the client was let in");
    reason(&server.unwrap_err())
}

#[tokio::test]
async fn every_role_is_known_by_its_certificate() {
    let world = World::new();
    for who in ["operator/alice", "tenant/acme/bob", "monitor/m", "host/h1", "controller"] {
        let (client, server) = as_client(&world, Some(world.credentials(who))).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        let (_, seen) = server.get_ref();
        assert_eq!(peer_identity(seen).unwrap().unwrap().to_string(), who);
        assert_eq!(seen.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(peer_identity(client.get_ref().1), Ok(Some(Identity::Controller)));
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_nobody() {
    let world = World::new();
    let (client, server) = as_client(&world, None).await;
    client.unwrap();
    assert_eq!(peer_identity(server.unwrap().get_ref().1), Ok(None));
}

#[tokio::test]
async fn another_cas_client_is_refused() {
    let (world, other) = (World::new(), World::new());
    let reason = refusal(&world, other.credentials("operator/alice")).await;
    assert!(reason.contains("UnknownIssuer") || reason.contains("issuer"), "{reason}");
}

#[tokio::test]
async fn an_expired_client_and_one_of_the_future_are_refused() {
    let world = World::new();
    let expired = world.credentials_at("host/h1", now() - 2 * HOUR, HOUR);
    let reason = refusal(&world, expired).await;
    assert!(reason.contains("expired"), "{reason}");
    let early = world.credentials_at("host/h1", now() + HOUR, HOUR);
    let reason = refusal(&world, early).await;
    assert!(reason.contains("not valid yet"), "{reason}");
}

#[tokio::test]
async fn a_client_that_signed_for_itself_is_refused() {
    let world = World::new();
    let made = self_signed("mizar://operator/alice");
    let path = world.file("self.pem", &made.pem);
    refusal(&world, Arc::new(Credentials::load(&path).unwrap())).await;
}

#[tokio::test]
async fn a_client_with_two_names_or_none_is_refused_though_its_ca_is_right() {
    let world = World::new();
    for (uris, expected) in [
        (&["mizar://host/h1", "mizar://operator/alice"][..], "carries 2 URIs"),
        (&[][..], "names nobody"),
    ] {
        let made = world.with_uris(uris);
        let (near, far) = duplex(64 << 10);
        let trust = world.authority.trust();
        let server = server_config(world.credentials("controller"), &trust).unwrap();
        // Not by way of credentials, which would refuse such a certificate themselves.
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(made.pem.as_bytes()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(trust.roots().unwrap())
            .with_client_auth_cert(made.chain, key)
            .unwrap();
        let dial = TlsConnector::from(Arc::new(client));
        let dial = dial.connect(LOCALHOST.try_into().unwrap(), near);
        let (_, server) = tokio::join!(dial, TlsAcceptor::from(server).accept(far));
        let reason = reason(&server.unwrap_err());
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_is_no_controller_is_not_believed() {
    let world = World::new();
    let trust = world.authority.trust();
    for who in ["operator/alice", "tenant/acme/bob", "monitor/m"] {
        let refused = server_config(world.credentials(who), &trust);
        assert!(matches!(refused, Err(TlsError::Server(_))), "{who}");
    }

    // One that serves nevertheless, once with a host's usual certificate, once with one that a
    // careless CA has made for servers too.
    let usual = world.authority.issue(&crate::testing::subject("host/h1"), HOUR, now()).unwrap();
    for pem in [usual.pem.to_string(), world.with_uris(&["mizar://host/h1"]).pem] {
        let path = world.file("rogue.pem", &pem);
        let rogue = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Credentials::load(&path).unwrap()));
        let rogue = Arc::new(rogue);
        for name in [LOCALHOST, crate::pki::HOST_NAME] {
            let client = client_config(Some(world.credentials("operator/alice")), &trust).unwrap();
            let (client, _) = shake(client, rogue.clone(), name).await;
            client.unwrap_err();
        }
    }
}

#[tokio::test]
async fn whoever_knows_the_ca_only_believes_a_host_by_its_name_and_by_no_other() {
    let world = World::new();
    let trust = world.authority.trust();
    let server = server_config(world.credentials("host/h1"), &trust).unwrap();
    assert_eq!(server.alpn_protocols, [b"http/1.1"]);
    let own = world.chain_and_key("monitor/prometheus");
    let client = || {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(trust.roots().unwrap())
            .with_client_auth_cert(own.0.clone(), own.1.clone_key())
            .unwrap()
    };
    let (client_end, server_end) = shake(client(), server.clone(), crate::pki::HOST_NAME).await;
    client_end.unwrap();
    let seen = peer_identity(server_end.unwrap().get_ref().1).unwrap().unwrap();
    assert_eq!(seen.to_string(), "monitor/prometheus");
    for name in ["h1", LOCALHOST, "127.0.0.1", "mizar.internal"] {
        let (client_end, _) = shake(client(), server.clone(), name).await;
        assert!(client_end.unwrap_err().to_string().contains("not valid for name"), "{name}");
    }
}

#[tokio::test]
async fn a_controller_at_another_address_or_of_another_ca_is_not_believed() {
    let (world, other) = (World::new(), World::new());
    let trust = world.authority.trust();
    let server = server_config(world.credentials("controller"), &trust).unwrap();
    let config = client_config(None, &trust).unwrap();
    let (client, _) = shake(config.clone(), server.clone(), "elsewhere.test").await;
    assert!(client.unwrap_err().to_string().contains("not valid for name"));
    let (client, _) = shake(config, server.clone(), "127.0.0.1").await;
    client.unwrap();
    let stranger = client_config(None, &other.authority.trust()).unwrap();
    let (client, _) = shake(stranger, server, LOCALHOST).await;
    client.unwrap_err();
}

#[tokio::test]
async fn a_host_that_joins_believes_the_fingerprint_only() {
    let (world, other) = (World::new(), World::new());
    let server = server_config(world.credentials("controller"), &world.authority.trust()).unwrap();
    let right = enrolment_config(world.authority.fingerprint()).unwrap();
    let (client, answered) = shake(right.clone(), server.clone(), LOCALHOST).await;
    client.unwrap();
    assert_eq!(peer_identity(answered.unwrap().get_ref().1), Ok(None));
    let (client, _) = shake(right, server.clone(), "elsewhere.test").await;
    client.unwrap_err();
    let wrong = enrolment_config(other.authority.fingerprint()).unwrap();
    let (client, _) = shake(wrong, server, LOCALHOST).await;
    let reason = reason(&client.unwrap_err());
    assert!(reason.contains("shows no certificate of the CA sha256:"), "{reason}");
}

#[tokio::test]
async fn showing_the_right_ca_beside_another_ones_certificate_does_not_help() {
    let (world, other) = (World::new(), World::new());
    let issued = other.authority.issue(&crate::testing::subject("controller"), HOUR, now());
    let issued = issued.unwrap().pem.to_string();
    let pem = format!("{issued}{}", world.authority.trust().pem());
    let rogue = Arc::new(Credentials::load(&other.file("rogue.pem", &pem)).unwrap());
    let server = server_config(rogue, &other.authority.trust()).unwrap();
    let client = enrolment_config(world.authority.fingerprint()).unwrap();
    let (client, _) = shake(client, server, LOCALHOST).await;
    client.unwrap_err();
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let world = World::new();
    let trust = world.authority.trust();
    let server = server_config(world.credentials("controller"), &trust).unwrap();
    let client = client_config(Some(world.credentials("host/h1")), &trust).unwrap();
    for _ in 0..2 {
        let (_, end) = shake(client.clone(), server.clone(), LOCALHOST).await;
        let end = end.unwrap();
        assert_eq!(end.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}
