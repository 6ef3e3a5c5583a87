//! The library's verifiers, and one more question each: who is it?

use crate::certificate::Certificate;
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::tls::provider;
use crate::trust::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use std::sync::Arc;
use thiserror::Error as ThisError;

#[derive(Debug, ThisError)]
enum Refusal {
    #[error("the server is {0}: it must be a controller")]
    NotController(Identity),
    #[error(
        "the server shows no certificate of the CA {0}: the token is another cloud's, or somebody \
         is in between"
    )]
    NotThatAuthority(Fingerprint),
}

/// Lets in nobody, and whoever a CA vouches for by exactly one identity.
#[derive(Debug)]
pub(super) struct Clients {
    signed: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    pub(super) fn new(trust: &Trust) -> Result<Self, Error> {
        Ok(Self { signed: trust.client_verifier()? })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(own, others, now)?;
        Certificate::read(own).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Believes controllers that a known CA vouches for.
#[derive(Debug)]
pub(super) struct Controllers {
    signed: Arc<WebPkiServerVerifier>,
}

impl Controllers {
    pub(super) fn new(trust: &Trust) -> Result<Self, Error> {
        let signed = WebPkiServerVerifier::builder_with_provider(trust.roots()?, provider());
        let signed = signed.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { signed })
    }
}

impl ServerCertVerifier for Controllers {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.signed.verify_server_cert(own, others, name, ocsp, now)?;
        match Certificate::read(own).map_err(refused)?.identity() {
            Identity::Controller => Ok(verified),
            other => Err(refused(Refusal::NotController(other.clone()))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Believes controllers of the one CA with a fingerprint, which they have to show.
#[derive(Debug)]
pub(super) struct AuthorityOf {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl AuthorityOf {
    pub(super) fn new(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, provider: provider() }
    }
}

impl ServerCertVerifier for AuthorityOf {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_it = |der: &&CertificateDer<'_>| {
            Fingerprint::of(der).equals(&self.fingerprint) && crate::pki::may_sign(der)
        };
        let authority = others.iter().find(is_it);
        let authority =
            authority.ok_or_else(|| refused(Refusal::NotThatAuthority(self.fingerprint)))?;
        let trust = Trust::of(authority.clone().into_owned());
        Controllers::new(&trust)?.verify_server_cert(own, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refused(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}
