//! A key and its chain in one file, replaceable while they are in use.

use crate::certificate::{Certificate, CertificateError, ValidityError};
use crate::file::{self, FileError};
use crate::identity::Identity;
use crate::pki::Issued;
use crate::tls;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use thiserror::Error;

/// What somebody proves who he is with: TLS connections made from here on use what is current,
/// those that are open keep what they were opened with.
pub struct Credentials {
    path: PathBuf,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    certificate: Arc<Certificate>,
}

/// Why a file is no proof of who somebody is.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is incomplete, or not PEM.
    #[error("{} is malformed: it must hold {what} in PEM", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Key and certificate of different origin.
    #[error("{} holds a key that its certificate is not for", .0.display())]
    Mismatch(PathBuf),
    /// What the certificate says.
    #[error("{} cannot be used", .path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// The certificate has ended, or not begun.
    #[error("{} cannot be used; {}", .path.display(), remedy(.source))]
    Validity {
        /// Which file.
        path: PathBuf,
        /// When.
        source: ValidityError,
    },
    /// Another's certificate in place of the own one.
    #[error("{} is for {found}: it must be for {expected}, who uses it", .path.display())]
    OtherIdentity {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Who uses it.
        expected: Identity,
    },
}

impl Credentials {
    /// Reads them from a file. Whether they are valid is asked with [`Self::check`], again and
    /// again.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or it holds no key with a certificate for it.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let current = read(path, &file::read_secret(path)?)?;
        Ok(Self { path: path.to_owned(), current: RwLock::new(current) })
    }

    /// Writes what a CA has issued to a file, for [`Self::load`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(path: &Path, issued: &Issued) -> Result<(), CredentialsError> {
        Ok(file::replace(path, issued.pem.as_bytes(), file::SECRET)?)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificate in use.
    pub fn certificate(&self) -> Arc<Certificate> {
        self.current().certificate
    }

    /// # Errors
    /// The certificate in use is expired or not yet valid; says which file, when, and what to do.
    pub fn check(&self, now: SystemTime) -> Result<(), CredentialsError> {
        let valid = self.certificate().check_validity(now);
        let path = || self.path.clone();
        valid.map_err(|source| CredentialsError::Validity { path: path(), source })
    }

    /// Takes up what the file holds, which somebody has replaced. Whether it differs.
    ///
    /// # Errors
    /// As [`Self::load`], or it is for somebody else. What was in use stays in use then.
    pub fn reload(&self) -> Result<bool, CredentialsError> {
        let new = read(&self.path, &file::read_secret(&self.path)?)?;
        self.swap(new)
    }

    /// Puts new ones into the file, and into use.
    ///
    /// # Errors
    /// As [`Self::reload`], or the file cannot be written. What was in use stays in use then.
    pub fn replace(&self, issued: &Issued) -> Result<(), CredentialsError> {
        let new = read(&self.path, &issued.pem)?;
        self.check_identity(&new)?;
        Self::write(&self.path, issued)?;
        self.swap(new).map(drop)
    }

    fn swap(&self, new: Current) -> Result<bool, CredentialsError> {
        self.check_identity(&new)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let differs = current.certificate != new.certificate;
        *current = new;
        Ok(differs)
    }

    fn check_identity(&self, new: &Current) -> Result<(), CredentialsError> {
        let (found, expected) =
            (new.certificate.identity().clone(), self.certificate().identity().clone());
        if found == expected {
            return Ok(());
        }
        Err(CredentialsError::OtherIdentity { path: self.path.clone(), found, expected })
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Shown whatever CAs the server names: its refusal tells more than its silence would.
        Some(self.current().key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("path", &self.path).field("certificate", &self.certificate()).finish()
    }
}

fn read(path: &Path, pem: &str) -> Result<Current, CredentialsError> {
    let malformed = |what| CredentialsError::Malformed { path: path.to_owned(), what };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    let key = key.map_err(|_| malformed("a private key"))?;
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| malformed("a certificate"))?;
    let refused = |source| CredentialsError::Certificate { path: path.to_owned(), source };
    let certificate = Certificate::read(&chain[0]).map_err(refused)?;
    let key =
        CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CredentialsError::Mismatch(path.to_owned()),
            _ => malformed("a private key of a usual kind"),
        })?;
    Ok(Current { key: Arc::new(key), certificate: Arc::new(certificate) })
}

fn remedy(error: &ValidityError) -> &'static str {
    match error {
        ValidityError::NotYet { .. } => "set the clock",
        ValidityError::Expired { who, .. } => match who {
            Identity::Host(_) => "enrol the host again: mizar host join TOKEN",
            Identity::Controller => "restart the controller where its CA is: it issues a new one",
            Identity::Operator(_) | Identity::Tenant { .. } | Identity::Monitor(_) => {
                "have whoever holds the CA issue a new one: mizar pki issue"
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOUR, World, now, subject};

    #[test]
    fn an_expired_file_says_which_when_and_what_to_do() {
        let world = World::new();
        let expired = world.credentials_at("host/h1", now() - 2 * HOUR, HOUR);
        let error = expired.check(now()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("host-h1.pem") && text.contains("mizar host join TOKEN"), "{text}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("expired at 2"), "{source}");
        let early = world.credentials_at("operator/a", now() + 2 * HOUR, HOUR);
        assert!(early.check(now()).unwrap_err().to_string().contains("set the clock"));
        assert!(world.credentials("operator/b").check(now()).is_ok());
    }

    #[test]
    fn another_files_content_is_taken_up_if_it_is_the_same_identitys() {
        let world = World::new();
        let credentials = world.credentials("host/h1");
        assert!(!credentials.reload().unwrap());
        let before = credentials.certificate();
        world.authority.issue_file(&subject("host/h1"), HOUR, now()).unwrap();
        assert!(credentials.reload().unwrap());
        assert_ne!(credentials.certificate(), before);

        let other = world.authority.issue(&subject("host/h2"), HOUR, now()).unwrap();
        let error = credentials.replace(&other).unwrap_err();
        assert!(matches!(error, CredentialsError::OtherIdentity { .. }), "{error}");
        assert_eq!(credentials.certificate().identity().to_string(), "host/h1");
        assert!(!credentials.reload().unwrap(), "the file is as it was");
    }

    #[test]
    fn a_file_without_key_or_with_anothers_key_is_refused() {
        let world = World::new();
        let one = world.authority.issue(&subject("host/h1"), HOUR, now()).unwrap().pem;
        let two = world.authority.issue(&subject("host/h1"), HOUR, now()).unwrap().pem;
        let split = |pem: &str| {
            let (key, chain) = pem.split_at(pem.find("-----BEGIN CERT").unwrap());
            (key.to_owned(), chain.to_owned())
        };
        let ((key, chain), (_, other)) = (split(&one), split(&two));
        let load = |pem: &str| Credentials::load(&world.file("a.pem", pem)).unwrap_err();
        assert!(matches!(load(&chain), CredentialsError::Malformed { what: "a private key", .. }));
        assert!(matches!(load(&key), CredentialsError::Malformed { what: "a certificate", .. }));
        assert!(matches!(load(&format!("{key}{other}")), CredentialsError::Mismatch(_)));
        let nobody = world.with_uris(&[]).pem;
        assert!(matches!(load(&nobody), CredentialsError::Certificate { .. }));
    }
}
