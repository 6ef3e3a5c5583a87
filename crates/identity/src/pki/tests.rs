//! What a CA makes, signs and refuses.

use super::*;
use crate::identity::Identity;
use crate::testing::{World, now};
use rcgen::{CertificateParams, DnType, IsCa, SanType};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const HOUR: Duration = Duration::from_secs(3600);

fn host(name: &str) -> Subject {
    Subject::new(Identity::Host(name.parse().unwrap()))
}

#[test]
fn a_ca_is_made_once_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("pki");
    let constraints = Constraints::default();
    let made = Authority::init(&at, &constraints, lifetime::AUTHORITY, now()).unwrap();
    let opened = Authority::load(&at).unwrap();
    assert_eq!(made.fingerprint(), opened.fingerprint());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&at.join("ca.key")), 0o600);
    assert_eq!(mode(&at), 0o700);

    let key = fs::read(at.join("ca.key")).unwrap();
    let error = Authority::init(&at, &constraints, lifetime::AUTHORITY, now()).unwrap_err();
    assert!(matches!(error, PkiError::Exists(_)), "{error}");
    assert_eq!(fs::read(at.join("ca.key")).unwrap(), key);
}

#[test]
fn a_ca_half_made_is_not_overwritten_either() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.key"), "half").unwrap();
    let made = Authority::init(folder.path(), &Constraints::default(), HOUR, now());
    assert!(matches!(made, Err(PkiError::Exists(path)) if path.ends_with("ca.key")));
}

#[test]
fn a_ca_may_sign_for_ends_only() {
    let world = World::new();
    let (_, parsed) = X509Certificate::from_der(&world.authority.certificate).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let leaf = world.chain("host/h1", now(), HOUR);
    let (_, leaf) = X509Certificate::from_der(&leaf[0]).unwrap();
    assert!(!leaf.is_ca());
}

#[test]
fn controllers_and_hosts_are_dialled_and_nobody_else() {
    let world = World::new();
    for (who, is_dialled) in [
        ("operator/alice", false),
        ("tenant/acme/bob", false),
        ("monitor/prometheus", false),
        ("host/h1", true),
        ("controller", true),
    ] {
        let leaf = world.chain(who, now(), HOUR);
        let (_, leaf) = X509Certificate::from_der(&leaf[0]).unwrap();
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && usage.server_auth == is_dialled && !usage.any, "{who}");
        assert_eq!(names(&leaf).contains(&HOST_NAME.to_owned()), who == "host/h1", "{who}");
    }
}

#[test]
fn a_limited_ca_from_before_hosts_were_dialled_gives_them_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let constraints = Constraints { domains: vec!["example".to_owned()], networks: Vec::new() };
    let mut params = profile::authority(&constraints, HOUR, now()).unwrap();
    let limits = params.name_constraints.as_mut().unwrap();
    assert_eq!(limits.permitted_subtrees.len(), 2);
    limits.permitted_subtrees.remove(0);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    file::create(&folder.path().join("ca.key"), key.serialize_pem().as_bytes(), 0o600).unwrap();
    file::create(&folder.path().join("ca.crt"), certificate.pem().as_bytes(), 0o644).unwrap();
    let authority = Authority::load(folder.path()).unwrap();
    let issued = authority.issue(&host("h1"), HOUR, now()).unwrap();
    let chain = crate::testing::chain_of(&issued.pem);
    authority.trust().verify(&chain, now()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert!(!leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
    assert!(names(&leaf).is_empty());
}

/// The DNS names in a certificate.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::prelude::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

#[test]
fn another_cas_key_and_a_key_for_all_to_read_are_refused() {
    let (one, two) = (World::new(), World::new());
    let (a, b) = (one.folder.path(), two.folder.path());
    fs::copy(a.join("ca.key"), b.join("ca.key")).unwrap();
    assert!(matches!(Authority::load(b), Err(PkiError::Mismatch { .. })));
    fs::set_permissions(a.join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Authority::load(a), Err(PkiError::File(file::FileError::Open { .. }))));
}

#[test]
fn who_a_request_is_for_is_the_signers_word() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::default();
    greedy.distinguished_name.push(DnType::CommonName, "operator/root");
    greedy.subject_alt_names =
        vec![SanType::URI("mizar://operator/root".to_owned().try_into().unwrap())];
    greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let chain = world.authority.sign(&request, &host("h1"), HOUR, now()).unwrap();
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    assert_eq!(Certificate::read(&leaf).unwrap().identity().to_string(), "host/h1");
    assert!(!may_sign(&leaf));
    assert!(!leaf.windows(4).any(|bytes| bytes == b"root"));
}

#[test]
fn a_request_that_its_own_key_has_not_signed_is_refused() {
    let world = World::new();
    let request = Request::new().unwrap();
    let mut der = pem_body(request.pem());
    let last = der.len() - 1;
    der[last] ^= 1;
    let forged = certificate_pem(&der).replace("CERTIFICATE", "CERTIFICATE REQUEST");
    let signed = world.authority.sign(&forged, &host("h1"), HOUR, now());
    assert!(matches!(signed, Err(PkiError::Request(_))), "{signed:?}");
    for nonsense in ["", "no", &certificate_pem(b"no"), &"a".repeat(Request::LONGEST + 1)] {
        assert!(world.authority.sign(nonsense, &host("h1"), HOUR, now()).is_err());
    }
}

#[test]
fn a_request_for_another_kind_of_key_is_refused() {
    let world = World::new();
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let signed = world.authority.sign(&request.pem().unwrap(), &host("h1"), HOUR, now());
        assert!(matches!(signed, Err(PkiError::RequestKey)), "{signed:?}");
    }
}

#[test]
fn what_comes_back_must_be_what_was_asked_for() {
    let (world, strange) = (World::new(), World::new());
    let (trust, at) = (world.authority.trust(), now());
    let request = Request::new().unwrap();
    let expected = host("h1").identity().clone();
    let sign = |ca: &Authority, request: &Request, name: &str| {
        ca.sign(request.pem(), &host(name), HOUR, at).unwrap()
    };
    let good = sign(&world.authority, &request, "h1");
    assert!(request.accept(&good, &expected, &trust, at).is_ok());
    let other = sign(&world.authority, &request, "h2");
    let refused = request.accept(&other, &expected, &trust, at).unwrap_err();
    assert!(matches!(refused, PkiError::OtherIdentity { .. }), "{refused}");
    let other = sign(&world.authority, &Request::new().unwrap(), "h1");
    let refused = request.accept(&other, &expected, &trust, at).unwrap_err();
    assert!(matches!(refused, PkiError::OtherKey), "{refused}");
    let other = sign(&strange.authority, &request, "h1");
    assert!(matches!(request.accept(&other, &expected, &trust, at), Err(PkiError::Untrusted(_))));
    let late = at + 2 * HOUR;
    assert!(matches!(request.accept(&good, &expected, &trust, late), Err(PkiError::Untrusted(_))));
    assert!(request.accept("", &expected, &trust, at).is_err());
}

#[test]
fn no_certificate_outlives_its_ca() {
    let folder = tempfile::tempdir().unwrap();
    let start = now();
    let authority = Authority::init(folder.path(), &Constraints::default(), HOUR, start).unwrap();
    let issued = authority.issue(&host("h1"), 2 * HOUR, start).unwrap();
    assert!(issued.certificate.not_after() <= start + HOUR);
    let late = authority.issue(&host("h1"), HOUR, start + 2 * HOUR);
    assert!(matches!(late, Err(PkiError::Expired { .. })), "{late:?}");
}

#[test]
fn lifetimes_and_addresses_out_of_range_are_refused_by_value() {
    let world = World::new();
    for lifetime in [Duration::ZERO, Duration::MAX, HOUR * 24 * 365 * 9000] {
        let issued = world.authority.issue(&host("h1"), lifetime, now());
        assert!(matches!(issued, Err(PkiError::Lifetime(found)) if found == lifetime));
    }
    let error = Subject::controller(&["a b"]).unwrap_err();
    assert!(error.to_string().contains("\"a b\""), "{error}");
    assert!(matches!(Subject::controller::<&str>(&[]), Err(PkiError::NoAddress)));
    let lost = world.authority.issue(&Subject::new(Identity::Controller), HOUR, now());
    assert!(matches!(lost, Err(PkiError::NoAddress)), "{lost:?}");
}

#[test]
fn a_constrained_ca_vouches_for_its_own_addresses_only() {
    let folder = tempfile::tempdir().unwrap();
    let constraints = Constraints {
        domains: vec!["cloud.example".to_owned()],
        networks: vec![("10.0.0.0".parse().unwrap(), 8)],
    };
    let authority = Authority::init(folder.path(), &constraints, HOUR, now()).unwrap();
    let trusted = |addresses: &[&str]| {
        let subject = Subject::controller(addresses).unwrap();
        let issued = authority.issue(&subject, HOUR, now()).unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        authority.trust().verify(&chain, now()).is_ok()
    };
    assert!(trusted(&["a.cloud.example", "10.1.2.3"]));
    assert!(!trusted(&["other.example"]));
    assert!(!trusted(&["a.cloud.example", "192.0.2.1"]));
    assert!(!trusted(&["2001:db8::1"]));
    assert!(!trusted(&["mizar.example"]));
    let hosts = authority.issue(&host("h1"), HOUR, now()).unwrap();
    let chain = crate::testing::chain_of(&hosts.pem);
    authority.trust().verify(&chain, now()).unwrap();
}

#[test]
fn an_identitys_file_holds_key_and_chain_for_its_owner_only() {
    let world = World::new();
    let path = world.authority.issue_file(&host("h1"), HOUR, now()).unwrap();
    assert!(path.ends_with("host-h1.pem"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(crate::Credentials::load(&path).is_ok());
}

fn pem_body(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(lines).unwrap()
}
