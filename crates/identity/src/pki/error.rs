//! What can be wrong with a CA, and with what is asked of it.

use crate::certificate::CertificateError;
use crate::clock;
use crate::file::FileError;
use crate::identity::Identity;
use crate::trust::TrustError;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Why a CA cannot be made, opened or asked.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A CA is never overwritten: with its key goes the trust in everything it has signed.
    #[error(
        "a CA is in the way: {} exists. Use another folder, or, if nothing trusts that CA any \
         longer, remove its ca.crt and ca.key",
        .0.display()
    )]
    Exists(PathBuf),
    /// The folder.
    #[error("cannot make the folder {}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is not what its name says.
    #[error("{} is malformed: it must be {what}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// Two files of different CAs.
    #[error("{} is not the key of {}: one of them is another CA's", .key.display(),
        .certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The CA has ended.
    #[error("the CA in {} expired at {}: make a new one in another folder", .folder.display(),
        clock::text(*.at))]
    Expired {
        /// Where it is.
        folder: PathBuf,
        /// When.
        at: SystemTime,
    },
    /// No time, or one that no certificate can hold.
    #[error("lifetime {0:?} is out of range: it must be from 1 second to the year 9999")]
    Lifetime(Duration),
    /// A controller that nobody can dial.
    #[error(
        "the controller's certificate has no addresses: it needs at least one, as in localhost"
    )]
    NoAddress,
    /// An address of the controller, or a constraint, that is none.
    #[error("address {0:?} is malformed: it must be a DNS name or an IP address")]
    Address(String),
    /// A request too long.
    #[error("the certificate request has {0} bytes: it must have at most {longest}",
        longest = super::Request::LONGEST)]
    RequestLength(usize),
    /// A malformed request, or one that its own key has not signed.
    #[error("the certificate request is not to be trusted: {0}")]
    Request(String),
    /// Another kind of key.
    #[error("the certificate request is for another kind of key: it must be ECDSA on P-256")]
    RequestKey,
    /// A chain for another key than the requested one's.
    #[error("the certificate that came back is for another key than the requested one")]
    OtherKey,
    /// A chain for somebody else.
    #[error("the certificate that came back is for {found}: it must be for {expected}")]
    OtherIdentity {
        /// For whom it is.
        found: Identity,
        /// For whom it was asked.
        expected: Identity,
    },
    /// A chain that is not trusted.
    #[error("the certificate that came back is refused")]
    Untrusted(#[from] TrustError),
    /// What stands in a certificate.
    #[error(transparent)]
    Certificate(CertificateError),
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Library(#[from] rcgen::Error),
}
