//! A certificate authority in a folder.
//!
//! `ca.crt` is for everybody; `ca.key` is whoever holds it. An identity's key and chain are one
//! file, `host-h1.pem`, so that no crash leaves a key beside another key's certificate.

mod error;
mod profile;
mod request;

pub use error::PkiError;
pub(crate) use profile::BACKDATED;
pub use profile::{Constraints, HOST_NAME, Lifetimes, Subject, lifetime};
pub use request::Request;

use crate::certificate::{Certificate, CertificateError};
use crate::clock;
use crate::file;
use crate::fingerprint::Fingerprint;
use crate::trust::{self, Trust};
use rcgen::{
    CertificateSigningRequestParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// A CA that can sign.
pub struct Authority {
    folder: PathBuf,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    not_after: SystemTime,
    names_hosts: bool,
}

/// A key and the chain that says whose it is, as one file holds them.
#[derive(Clone)]
pub struct Issued {
    /// The private key, the certificate and its CA's, in PEM.
    pub pem: Zeroizing<String>,
    /// What stands in it.
    pub certificate: Certificate,
}

impl Authority {
    /// Makes a CA in a folder, which is made if need be.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written.
    pub fn init(
        folder: &Path,
        constraints: &Constraints,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, PkiError> {
        let (crt, key_file) = (trust::path_in(folder), key_path(folder));
        for path in [&crt, &key_file] {
            if path.exists() {
                return Err(PkiError::Exists(path.clone()));
            }
        }
        make_folder(folder)?;
        let params = profile::authority(constraints, lifetime, now)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let secret = Zeroizing::new(key.serialize_pem());
        // The key first: until the certificate is there too, nothing has been signed with it.
        file::create(&key_file, secret.as_bytes(), file::SECRET)?;
        file::create(&crt, certificate.pem().as_bytes(), file::PUBLIC)?;
        Self::load(folder)
    }

    /// Opens the CA in a folder.
    ///
    /// # Errors
    /// Either file is missing or malformed, others may read the key, or the two do not belong
    /// together.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let (crt, key_file) = (trust::path_in(folder), key_path(folder));
        let malformed = |path: &Path, what| PkiError::Malformed { path: path.to_owned(), what };
        let text = file::read(&crt)?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|_| malformed(&crt, "one certificate of a CA in PEM"))?;
        let key = KeyPair::from_pem(&file::read_secret(&key_file)?)
            .map_err(|_| malformed(&key_file, "one private key in PEM"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| malformed(&crt, "one certificate of a CA in PEM"))?;
        if !may_sign(&certificate) {
            return Err(malformed(&crt, "the certificate of a CA, not of somebody"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::Mismatch { certificate: crt, key: key_file });
        }
        let not_after = clock::from_unix(parsed.validity().not_after.timestamp());
        let names_hosts = profile::names_hosts(&parsed);
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let certificate = certificate.clone().into_owned();
        Ok(Self { folder: folder.to_owned(), issuer, certificate, not_after, names_hosts })
    }

    /// What its certificate is recognised by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Believing what it signs.
    pub fn trust(&self) -> Trust {
        Trust::of(self.certificate.clone())
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// Names that the subject may not have, or the CA has expired.
    pub fn issue(
        &self,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let (chain, certificate) = self.certify(&key, subject, lifetime, now)?;
        let pem = joined(&key, &chain);
        Ok(Issued { pem, certificate })
    }

    /// Makes a key and a certificate and writes them to the folder, in place of what is there.
    ///
    /// # Errors
    /// As [`Self::issue`], or the file cannot be written.
    pub fn issue_file(
        &self,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<PathBuf, PkiError> {
        let issued = self.issue(subject, lifetime, now)?;
        let path = self.folder.join(format!("{}.pem", subject.identity().file_stem()));
        file::replace(&path, issued.pem.as_bytes(), file::SECRET)?;
        Ok(path)
    }

    /// Signs a request in PEM: the chain, in PEM, for the key that has signed the request. Whatever
    /// else the request asks for is ignored: who it is for is the caller's to know.
    ///
    /// # Errors
    /// The request is malformed, not signed by its own key, or of an unsuitable key.
    pub fn sign(
        &self,
        request: &str,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        if request.len() > Request::LONGEST {
            return Err(PkiError::RequestLength(request.len()));
        }
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|source| PkiError::Request(source.to_string()))?;
        // Where the curve's points are 65 bytes long is said by the algorithm, which is the
        // requester's word; the length is not.
        let point = request.public_key.der_bytes();
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 || point.len() != 65 {
            return Err(PkiError::RequestKey);
        }
        let (chain, _) = self.certify(&request.public_key, subject, lifetime, now)?;
        Ok(chain)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(String, Certificate), PkiError> {
        if now >= self.not_after {
            return Err(PkiError::Expired { folder: self.folder.clone(), at: self.not_after });
        }
        let not_after = profile::later(now, lifetime)?.min(self.not_after);
        let params = profile::certificate(subject, self.names_hosts, not_after, now)?;
        let made = params.signed_by(key, &self.issuer)?;
        let certificate = Certificate::read(made.der())?;
        Ok((format!("{}{}", made.pem(), certificate_pem(&self.certificate)), certificate))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Authority");
        shown.field("folder", &self.folder).field("fingerprint", &self.fingerprint());
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Issued");
        shown.field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl From<CertificateError> for PkiError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

pub(crate) fn certificate_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
}

pub(crate) fn joined(key: &KeyPair, chain: &str) -> Zeroizing<String> {
    let key = Zeroizing::new(key.serialize_pem());
    Zeroizing::new(format!("{}{chain}", *key))
}

/// Whether a certificate is a CA's.
pub(crate) fn may_sign(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, parsed)| parsed.is_ca())
}

fn key_path(folder: &Path) -> PathBuf {
    folder.join("ca.key")
}

fn make_folder(folder: &Path) -> Result<(), PkiError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| PkiError::Folder { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests;
