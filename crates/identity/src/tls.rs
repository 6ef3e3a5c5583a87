//! How the two sides of a connection prove themselves: TLS 1.3 and nothing older.
//!
//! A server is believed if a trusted CA says that it is a controller, at the address that was
//! dialled. Hosts serve too, but only those who collect metrics, who are no part of Mizar. A client
//! without a certificate is let in as nobody, since a host that joins has none; one with a
//! certificate that proves nothing is refused. Sessions are not resumed: a resumed one would
//! outlive its certificate.

mod verifier;

use crate::certificate::{Certificate, CertificateError};
use crate::credentials::Credentials;
use crate::errors;
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::trust::Trust;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, CommonState, ServerConfig};
use std::sync::Arc;
use thiserror::Error;
use verifier::{AuthorityOf, Clients, Controllers};

/// Why there can be no configuration.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The certificates of the CA, or the library's own.
    #[error("cannot set TLS up: {0}")]
    Setup(#[from] rustls::Error),
    /// Somebody else's certificate where one is needed of somebody who is dialled.
    #[error("the certificate is for {0}: a server's must be for controller or host/NAME")]
    Server(Identity),
}

/// What the application speaks, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 only, for gRPC.
    Http2,
    /// HTTP/1.1 only.
    Http1,
    /// Either.
    Http,
}

impl Protocol {
    pub(crate) fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http2 => &[b"h2"],
            Self::Http1 => &[b"http/1.1"],
            Self::Http => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// For a controller, or for a host whose metrics are collected: that takes one request at a time,
/// so a host speaks HTTP/1.1 only.
///
/// # Errors
/// The credentials are somebody else's, or the CA's certificates are unusable.
pub fn server_config(
    credentials: Arc<Credentials>,
    trust: &Trust,
) -> Result<Arc<ServerConfig>, TlsError> {
    let protocol = match credentials.certificate().identity() {
        Identity::Controller => Protocol::Http,
        Identity::Host(_) => Protocol::Http1,
        other => return Err(TlsError::Server(other.clone())),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Clients::new(trust)?))
        .with_cert_resolver(credentials);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocol.names();
    Ok(Arc::new(config))
}

/// For whoever dials a controller, with or without credentials.
///
/// # Errors
/// The CA's certificates are unusable.
pub fn client_config(
    credentials: Option<Arc<Credentials>>,
    trust: &Trust,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Controllers::new(trust)?));
    Ok(match credentials {
        Some(credentials) => never_resumed(builder.with_client_cert_resolver(credentials)),
        None => never_resumed(builder.with_no_client_auth()),
    })
}

/// For a host that joins: it knows the fingerprint of the controller's CA, from its token.
///
/// # Errors
/// The library's own.
pub fn enrolment_config(authority: Fingerprint) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AuthorityOf::new(authority)));
    Ok(never_resumed(builder.with_no_client_auth()))
}

/// Who is at the other end of a connection whose handshake is done. `None`: nobody that is known.
///
/// # Errors
/// The certificate, which a trusted CA has signed, names nobody.
pub fn peer_certificate(connection: &CommonState) -> Result<Option<Certificate>, CertificateError> {
    let chain: Option<&[CertificateDer<'_>]> = connection.peer_certificates();
    chain.and_then(<[_]>::first).map(|der| Certificate::read(der)).transpose()
}

/// As [`peer_certificate`], the identity only.
///
/// # Errors
/// As [`peer_certificate`].
pub fn peer_identity(connection: &CommonState) -> Result<Option<Identity>, CertificateError> {
    Ok(peer_certificate(connection)?.map(|certificate| certificate.identity().clone()))
}

/// Why a handshake has failed, in words: the library shows other people's reasons as code.
pub fn reason(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            errors::chain(other.0.as_ref())
        }
        Some(inner) => inner.to_string(),
        None => error.to_string(),
    }
}

/// The cryptography that everything here uses; there is no process-wide default to depend on.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn never_resumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

#[cfg(test)]
mod tests;
