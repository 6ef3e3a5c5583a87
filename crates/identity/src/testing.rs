//! A CA of its own for each test, and certificates that no CA of Mizar would make.

use crate::certificate::Certificate;
use crate::credentials::Credentials;
use crate::identity::Identity;
use crate::pki::{Authority, Constraints, Subject, joined, lifetime};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const LOCALHOST: &str = "controller.test";

/// TLS looks at the clock itself: certificates of tests are valid about now.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

/// A folder with a CA.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
}

/// A certificate and its key.
pub(crate) struct Made {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) pem: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let constraints = Constraints::default();
        // Made long ago, so that certificates can be older than this test.
        let long_ago = now() - 100 * HOUR;
        let lifetime = lifetime::AUTHORITY;
        let authority = Authority::init(folder.path(), &constraints, lifetime, long_ago).unwrap();
        Self { folder, authority }
    }

    pub(crate) fn chain(
        &self,
        who: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Vec<CertificateDer<'static>> {
        let issued = self.authority.issue(&subject(who), lifetime, now).unwrap();
        chain_of(&issued.pem)
    }

    /// What a program that is no part of Mizar proves with who it is.
    pub(crate) fn chain_and_key(
        &self,
        who: &str,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let pem = self.authority.issue(&subject(who), HOUR, now()).unwrap().pem;
        (chain_of(&pem), PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap())
    }

    /// The credentials of somebody, made at a time.
    pub(crate) fn credentials_at(
        &self,
        who: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Arc<Credentials> {
        let path = self.authority.issue_file(&subject(who), lifetime, now).unwrap();
        Arc::new(Credentials::load(&path).unwrap())
    }

    pub(crate) fn credentials(&self, who: &str) -> Arc<Credentials> {
        self.credentials_at(who, now(), HOUR)
    }

    /// A certificate signed by the CA that carries any URIs, or none.
    pub(crate) fn with_uris(&self, uris: &[&str]) -> Made {
        let key = KeyPair::generate().unwrap();
        let made = odd(uris).signed_by(&key, &self.authority.issuer).unwrap();
        made_of(&key, &made.pem())
    }

    /// Writes what a test has made to a file of credentials.
    pub(crate) fn file(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        crate::file::replace(&path, pem.as_bytes(), crate::file::SECRET).unwrap();
        path
    }
}

/// A certificate that nobody but its own key has signed.
pub(crate) fn self_signed(uri: &str) -> Made {
    let key = KeyPair::generate().unwrap();
    let made = odd(&[uri]).self_signed(&key).unwrap();
    made_of(&key, &made.pem())
}

pub(crate) fn subject(who: &str) -> Subject {
    match identity(who) {
        Identity::Controller => Subject::controller(&[LOCALHOST, "127.0.0.1"]).unwrap(),
        other => Subject::new(other),
    }
}

pub(crate) fn chain_of(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

pub(crate) fn read(pem: &str) -> Certificate {
    Certificate::read(&chain_of(pem)[0]).unwrap()
}

fn made_of(key: &KeyPair, certificate: &str) -> Made {
    Made { chain: chain_of(certificate), pem: joined(key, certificate).to_string() }
}

fn odd(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new([LOCALHOST.to_owned()]).unwrap();
    let uri = |uri: &&str| SanType::URI((*uri).to_owned().try_into().unwrap());
    params.subject_alt_names.extend(uris.iter().map(uri));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params
}
