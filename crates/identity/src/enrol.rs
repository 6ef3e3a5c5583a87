//! Asking a controller for a certificate: what is said over HTTP, and the side that asks.
//!
//! A host without a certificate asks at [`JOIN`] with a token's secret; whoever has one gets the
//! next at [`CERTIFICATES`]. Neither request says whose certificate it shall be for the signer to
//! believe: that is the token's word, or the shown certificate's.

use crate::address::Address;
use crate::connect::{ConnectError, Connector, Dialled};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use mizar_vpc::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// Where a host joins.
pub const JOIN: &str = "/v1/join";
/// Where certificates are renewed.
pub const CERTIFICATES: &str = "/v1/certificates";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(35);
/// Longest answer, in bytes.
const LONGEST: usize = 64 << 10;

/// A host asks for its first certificate.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Which host.
    pub host: Name,
    /// The number of its token.
    pub token: Name,
    /// The token's secret, as text.
    pub secret: Zeroizing<String>,
    /// The certificate request, in PEM.
    pub request: String,
}

/// Somebody asks for a certificate in place of the one that he shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// The certificate request, in PEM.
    pub request: String,
}

/// What comes back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The certificate and its CA's, in PEM.
    pub chain: String,
    /// Whether the fleet has the host; true for whoever is none.
    pub in_fleet: bool,
}

/// Why nothing came back.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The controller refuses.
    #[error("the controller at {address} refuses: {detail}")]
    Refused {
        /// Where.
        address: Address,
        /// Its reason.
        detail: String,
    },
    /// The connection broke, or what came is no answer.
    #[error("the controller at {address} does not answer: {reason}")]
    Broken {
        /// Where.
        address: Address,
        /// Why.
        reason: String,
    },
}

/// Asks for a host's first certificate. The connector is made by [`Connector::joining`], for
/// HTTP/1.1.
///
/// # Errors
/// [`EnrolError`]; after a broken connection the token may be spent or not.
pub async fn join(connector: &Connector, join: &Join) -> Result<Signed, EnrolError> {
    ask(connector, JOIN, join).await
}

/// Asks for a certificate in place of the one that the connector shows. The connector is made for
/// HTTP/1.1.
///
/// # Errors
/// [`EnrolError`].
pub async fn renew(connector: &Connector, request: String) -> Result<Signed, EnrolError> {
    ask(connector, CERTIFICATES, &Renewal { request }).await
}

async fn ask(
    connector: &Connector,
    path: &'static str,
    body: &impl Serialize,
) -> Result<Signed, EnrolError> {
    let address = connector.address();
    let broken = |reason: String| EnrolError::Broken { address: connector.address(), reason };
    let body = serde_json::to_vec(body).map_err(|error| broken(error.to_string()))?;
    let dialled = connector.dial().await?;
    let spoken = tokio::time::timeout(PATIENCE, speak(dialled, &address, path, body)).await;
    let (is_well, answer) = spoken
        .map_err(|_| broken(format!("nothing came within {PATIENCE:?}")))?
        .map_err(|error| broken(error.to_string()))?;
    if is_well {
        return serde_json::from_slice(&answer)
            .map_err(|_| broken("what came is of another version".to_owned()));
    }
    let problem: Refusal = serde_json::from_slice(&answer)
        .map_err(|_| broken("what listens there is no controller".to_owned()))?;
    Err(EnrolError::Refused { address, detail: problem.detail })
}

/// The part of a problem (RFC 9457) that people read.
#[derive(Deserialize)]
struct Refusal {
    detail: String,
}

async fn speak(
    dialled: Dialled,
    address: &Address,
    path: &'static str,
    body: Vec<u8>,
) -> Result<(bool, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut send, connection) = hyper::client::conn::http1::handshake(dialled).await?;
    let connection = tokio::spawn(connection);
    let origin = address.origin();
    let host = origin.authority().map_or("controller.invalid", |authority| authority.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))?;
    let answered = async {
        let answer = send.send_request(request).await?;
        let is_well = answer.status().is_success();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await?;
        Ok((is_well, body.to_bytes()))
    };
    let answered = answered.await;
    connection.abort();
    answered
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Join");
        shown.field("host", &self.host).field("token", &self.token).finish_non_exhaustive()
    }
}
