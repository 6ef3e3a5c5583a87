//! What stands in a certificate, read strictly.

use crate::clock;
use crate::fingerprint::Fingerprint;
use crate::identity::{Identity, IdentityError};
use crate::pki::BACKDATED;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::SystemTime;
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What Mizar reads in a certificate. That somebody trusted has signed it is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    identity: Identity,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: Fingerprint,
    public_key: Vec<u8>,
}

/// What people are told of a certificate, trusted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is; `None`: a CA's.
    pub identity: Option<Identity>,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// What it is recognised by.
    pub fingerprint: Fingerprint,
}

/// All certificates in a text in PEM, whatever else is in it.
///
/// # Errors
/// There are none, or one is malformed, or that of nobody and no CA.
pub fn summaries(pem: &str) -> Result<Vec<Summary>, CertificateError> {
    let ders = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let ders = ders.ok().filter(|ders| !ders.is_empty()).ok_or(CertificateError::Malformed)?;
    ders.iter().map(|der| summary(der)).collect()
}

fn summary(der: &[u8]) -> Result<Summary, CertificateError> {
    let malformed = |_| CertificateError::Malformed;
    let (_, parsed) = X509Certificate::from_der(der).map_err(malformed)?;
    let identity = if parsed.is_ca() { None } else { Some(Certificate::read(der)?.identity) };
    Ok(Summary {
        identity,
        not_before: clock::from_unix(parsed.validity().not_before.timestamp()),
        not_after: clock::from_unix(parsed.validity().not_after.timestamp()),
        fingerprint: Fingerprint::of(der),
    })
}

/// Why a certificate says nothing to Mizar.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// No X.509 certificate.
    #[error("the certificate is malformed: it must be one X.509 certificate in DER")]
    Malformed,
    /// Nobody's.
    #[error("the certificate names nobody: it must carry one URI, as in mizar://host/h1")]
    Nobody,
    /// More than one name.
    #[error(
        "the certificate carries {count} URIs, of which {first:?} and {second:?}: it must be 1"
    )]
    Several {
        /// How many.
        count: usize,
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// One URI that is no identity.
    #[error("the certificate's URI names no identity")]
    Identity(#[from] IdentityError),
}

/// Why a certificate proves nothing at some time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValidityError {
    /// It has ended.
    #[error("the certificate of {who} expired at {}", clock::text(*.at))]
    Expired {
        /// Whose.
        who: Identity,
        /// When.
        at: SystemTime,
    },
    /// It has not begun.
    #[error(
        "the certificate of {who} is valid from {} only: this clock is slow, or the signer's fast",
        clock::text(*.at)
    )]
    NotYet {
        /// Whose.
        who: Identity,
        /// From when.
        at: SystemTime,
    },
}

impl Certificate {
    /// Reads one from DER.
    ///
    /// # Errors
    /// It is malformed, or does not carry exactly one URI, an identity.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |_| CertificateError::Malformed;
        let (rest, parsed) = X509Certificate::from_der(der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let names = parsed.subject_alternative_name();
        let names = names.map_err(|_| CertificateError::Malformed)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let uris: Vec<_> = names.iter().filter_map(uri).collect();
        let identity = match uris.as_slice() {
            [] => return Err(CertificateError::Nobody),
            [uri] => Identity::from_uri(uri)?,
            [first, second, ..] => {
                let (first, second) = ((*first).to_owned(), (*second).to_owned());
                return Err(CertificateError::Several { count: uris.len(), first, second });
            }
        };
        Ok(Self {
            identity,
            not_before: clock::from_unix(parsed.validity().not_before.timestamp()),
            not_after: clock::from_unix(parsed.validity().not_after.timestamp()),
            fingerprint: Fingerprint::of(der),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Whose it is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when it is valid.
    pub const fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When it was issued, if by this crate: it is valid from a little earlier, for clocks that are
    /// behind.
    pub fn issued(&self) -> SystemTime {
        self.not_before + BACKDATED
    }

    /// Until when it is valid.
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// What it is recognised by.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The key it speaks for, as SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// # Errors
    /// It is expired, or not yet valid.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), ValidityError> {
        let who = || self.identity.clone();
        if now > self.not_after {
            return Err(ValidityError::Expired { who: who(), at: self.not_after });
        }
        if now < self.not_before {
            return Err(ValidityError::NotYet { who: who(), at: self.not_before });
        }
        Ok(())
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, now};
    use std::time::Duration;

    #[test]
    fn an_issued_certificate_reads_as_it_was_asked_for() {
        let world = testing::World::new();
        let chain = world.chain("host/h1", now(), Duration::from_secs(3600));
        let read = Certificate::read(&chain[0]).unwrap();
        assert_eq!(read.identity().to_string(), "host/h1");
        assert_eq!(read.check_validity(now()), Ok(()));
        let late = now() + Duration::from_secs(3601);
        let error = read.check_validity(late).unwrap_err().to_string();
        assert!(error.contains("host/h1") && error.contains("expired at 20"), "{error}");
        let early = now() - Duration::from_secs(3600);
        assert!(matches!(read.check_validity(early), Err(ValidityError::NotYet { .. })));
    }

    #[test]
    fn two_uris_no_uri_and_foreign_uris_are_refused() {
        let world = testing::World::new();
        let read = |uris: &[&str]| Certificate::read(&world.with_uris(uris).chain[0]).unwrap_err();
        let two = read(&["mizar://host/h1", "mizar://operator/alice"]);
        assert!(matches!(two, CertificateError::Several { count: 2, .. }), "{two}");
        let foreign = read(&["mizar://host/h1", "https://a.example"]);
        assert!(matches!(foreign, CertificateError::Several { .. }), "{foreign}");
        assert_eq!(read(&[]), CertificateError::Nobody);
        assert!(matches!(read(&["spiffe://host/h1"]), CertificateError::Identity(_)));
        assert!(matches!(read(&["mizar://host/H1"]), CertificateError::Identity(_)));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        assert_eq!(Certificate::read(b"no"), Err(CertificateError::Malformed));
        let world = testing::World::new();
        let mut der = world.chain("host/h1", now(), Duration::from_secs(60))[0].to_vec();
        der.push(0);
        assert_eq!(Certificate::read(&der), Err(CertificateError::Malformed));
    }
}
