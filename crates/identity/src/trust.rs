//! Whose signatures are believed.

use crate::certificate::{Certificate, CertificateError};
use crate::file::{self, FileError};
use crate::fingerprint::Fingerprint;
use crate::tls;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;

/// The certificates of one or several CAs: several while one takes over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    authorities: Vec<CertificateDer<'static>>,
}

/// Why something is not trusted, or cannot be.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No certificate in it.
    #[error("{origin} holds no certificate of a CA in PEM: it must be a ca.crt")]
    Empty {
        /// What was read.
        origin: String,
    },
    /// Not the CA that was agreed on.
    #[error("none of the certificates offered is the CA {0}: they are another cloud's")]
    Missing(Fingerprint),
    /// A chain that does not lead to a trusted CA.
    #[error("the certificate does not prove anything here: {0}")]
    Chain(rustls::Error),
    /// What stands in the certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Trust {
    /// Reads a `ca.crt`.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate of a CA.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        Self::read(&file::read(path)?, &path.display().to_string())
    }

    /// From the text of a `ca.crt`.
    ///
    /// # Errors
    /// It holds no certificate of a CA.
    pub fn from_pem(text: &str) -> Result<Self, TrustError> {
        Self::read(text, "the text")
    }

    /// The one CA of this fingerprint, out of certificates in PEM that somebody offers who is not
    /// trusted yet: a `ca.crt`, or the chain that a host gets when it joins.
    ///
    /// # Errors
    /// It is not among them.
    pub fn pinned(text: &str, expected: Fingerprint) -> Result<Self, TrustError> {
        let offered = certificates(text).unwrap_or_default();
        let is_it = |der: &CertificateDer<'_>| {
            Fingerprint::of(der).equals(&expected) && crate::pki::may_sign(der)
        };
        let found = offered.into_iter().find(is_it);
        found.map(Self::of).ok_or(TrustError::Missing(expected))
    }

    pub(crate) fn of(authority: CertificateDer<'static>) -> Self {
        Self { authorities: vec![authority] }
    }

    /// As a `ca.crt` has it.
    pub fn pem(&self) -> String {
        self.authorities.iter().map(|der| crate::pki::certificate_pem(der)).collect()
    }

    /// Writes it as a `ca.crt`, in place of what is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrustError> {
        Ok(file::replace(path, self.pem().as_bytes(), file::PUBLIC)?)
    }

    /// What the CAs are recognised by.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.authorities.iter().map(|der| Fingerprint::of(der))
    }

    /// Whose a chain is: signed by a trusted CA, and valid.
    ///
    /// # Errors
    /// It is not, or names nobody.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Certificate, TrustError> {
        let [own, others @ ..] = chain else {
            return Err(TrustError::Chain(rustls::Error::NoCertificatesPresented));
        };
        let at = rustls::pki_types::UnixTime::since_unix_epoch(crate::clock::unix(now));
        let verifier = self.client_verifier().map_err(TrustError::Chain)?;
        verifier.verify_client_cert(own, others, at).map_err(TrustError::Chain)?;
        Ok(Certificate::read(own)?)
    }

    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone())?;
        }
        Ok(Arc::new(roots))
    }

    pub(crate) fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.roots()?, tls::provider());
        let built = builder.allow_unauthenticated().build();
        built.map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn read(text: &str, origin: &str) -> Result<Self, TrustError> {
        let empty = || TrustError::Empty { origin: origin.to_owned() };
        let authorities = certificates(text).ok_or_else(empty)?;
        let all_sign = authorities.iter().all(|der| crate::pki::may_sign(der));
        if authorities.is_empty() || !all_sign {
            return Err(empty());
        }
        Ok(Self { authorities })
    }
}

fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

/// Where a folder keeps the certificate of its CA.
pub(crate) fn path_in(folder: &Path) -> PathBuf {
    folder.join("ca.crt")
}
