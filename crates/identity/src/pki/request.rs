//! Asking for a certificate: the side that has the key.

use super::{Issued, PkiError, joined};
use crate::identity::Identity;
use crate::trust::Trust;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::time::SystemTime;

/// A new key, and the request for a certificate that proves to have it. The key never leaves.
pub struct Request {
    key: KeyPair,
    pem: String,
}

impl Request {
    /// Longest request in PEM, in bytes.
    pub const LONGEST: usize = 8192;

    /// Makes a key and a request for it. It names nobody: the signer knows who asks.
    ///
    /// # Errors
    /// No randomness is to be had.
    pub fn new() -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { key, pem })
    }

    /// What to send, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Puts the chain that came back together with the key, if it is what was asked for.
    ///
    /// # Errors
    /// It is for another key or another identity, not valid, or not of a trusted CA.
    pub fn accept(
        &self,
        chain: &str,
        expected: &Identity,
        trust: &Trust,
        now: SystemTime,
    ) -> Result<Issued, PkiError> {
        let certificates = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_default();
        let certificate = trust.verify(&certificates, now)?;
        if certificate.public_key() != self.key.subject_public_key_info() {
            return Err(PkiError::OtherKey);
        }
        if certificate.identity() != expected {
            let (found, expected) = (certificate.identity().clone(), expected.clone());
            return Err(PkiError::OtherIdentity { found, expected });
        }
        // Written anew, so that nothing else that came along gets into the file.
        let chain: String = certificates.iter().map(|der| super::certificate_pem(der)).collect();
        Ok(Issued { pem: joined(&self.key, &chain), certificate })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}
