//! Who is who: identities in certificates, and what follows from them.
//!
//! ```text
//!  pki: a CA signs ──► one file: key and chain ──► tls: handshake ──► Identity ──► role: may it?
//!   ▲         ▲           (renew keeps it fresh)        (serve, connect)   │
//!   │         └── token: a host without a certificate asks for its first   └──► audit: it did
//!   └── mizar pki init
//! ```
//!
//! - [`Identity`] is a role and a name: `operator/alice`, `tenant/acme/bob`, `monitor/prometheus`,
//!   `host/h1`, `controller`. A certificate carries exactly one, as a URI.
//! - [`pki`] makes a development CA, certificates, and signs what hosts request. Who a request is
//!   for is decided by whoever signs, never by the request.
//! - [`token`] lets a host without a certificate ask for its first one; [`enrol`] is how it asks.
//! - [`tls`] makes rustls configurations: TLS 1.3 only, both sides proven. [`credentials`] are a
//!   file with a key and a chain that can be replaced under live connections; [`renew`] does it.
//! - [`serve`] accepts connections and tells each request who its [`Peer`] is; [`connect`] dials.
//! - [`revocation`] remembers whose certificates are not believed though they have not expired.
//! - [`role`] says who may do what; [`audit`] remembers who did.
//!
//! Time is an argument wherever it decides something. This crate refuses to know what a VPC, a
//! request or a stored record is: whoever serves them tells it.

#![forbid(unsafe_code)]

pub mod address;
pub mod audit;
pub mod certificate;
pub mod clock;
pub mod connect;
pub mod credentials;
pub mod enrol;
mod errors;
mod file;
pub mod fingerprint;
pub mod identity;
pub mod pki;
pub mod renew;
pub mod revocation;
pub mod role;
pub mod serve;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;
pub mod trust;

pub use address::{Address, AddressError};
pub use audit::Audit;
pub use certificate::Certificate;
pub use connect::Connector;
pub use credentials::Credentials;
pub use file::FileError;
pub use fingerprint::Fingerprint;
pub use identity::{Identity, IdentityError};
pub use renew::Renewer;
pub use revocation::Revocations;
pub use serve::Peer;
pub use trust::Trust;
