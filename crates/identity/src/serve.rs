//! Accepting connections, and telling each request who its peer is.
//!
//! [`serve()`] gives a service (an axum `Router`, tonic's `Routes`) requests with a [`Peer`] among
//! their extensions. It speaks HTTP/1.1 and HTTP/2, whichever the peer begins with, or what TLS is
//! configured for.

mod accept;
mod conversation;
mod socket;

pub use accept::{Accepted, Acceptor, Incoming};
pub use socket::{BindError, bind};

use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use conversation::{Ends, converse};
use hyper::body::{Body, Incoming as RequestBody};
use hyper::{Request, Response};
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;

/// Who is at the other end of a connection. It is the same for all requests on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who, as far as he has proven it. `None`: nobody that is known, who may only join.
    pub identity: Option<Identity>,
    /// From where.
    pub address: PeerAddress,
    /// The certificate that proves it, if it is one.
    pub fingerprint: Option<Fingerprint>,
    /// When that was issued.
    pub issued: Option<SystemTime>,
    /// Until when it is known by that, or may stay unknown. The connection ends then.
    pub expires: Option<SystemTime>,
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over the network.
    Tcp(SocketAddr),
    /// A process of this machine.
    Unix {
        /// Its user.
        uid: u32,
        /// Itself, if the kernel says.
        pid: Option<i32>,
    },
}

/// Somebody has to be known for what he asks, and is not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} shows no certificate: without one it can only join")]
pub struct Unidentified(pub PeerAddress);

impl Peer {
    /// Who it is, for everything but joining.
    ///
    /// # Errors
    /// Nobody that is known.
    pub fn known(&self) -> Result<&Identity, Unidentified> {
        self.identity.as_ref().ok_or_else(|| Unidentified(self.address.clone()))
    }
}

/// What bounds those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes at a time; more wait in the kernel's queue.
    pub handshakes: usize,
    /// Whether, when there are as many, the oldest one is given up for the next that connects, so
    /// that many who do not shake hands cannot keep out one who does. Not where many connect at
    /// once who will all be served.
    pub oldest_goes: bool,
    /// How long a handshake may take, and after it the first request.
    pub patience: Duration,
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections of strangers, at a time; more are refused: of peers without a certificate, and
    /// of those who are not expected ([`Acceptor::expecting`]).
    pub strangers: usize,
    /// How long such a peer may stay.
    pub stay: Duration,
    /// How long anybody may stay; `None`: as long as his certificate lasts.
    pub age: Option<Duration>,
    /// Requests on one connection at a time, where HTTP/2 is spoken.
    pub requests: u32,
    /// Bytes of a request's headers, from 8,192.
    pub headers: usize,
    /// How long a request's headers may take, and how often a silent peer is asked for a sign of
    /// life.
    pub idle: Duration,
    /// How long what goes on may go on when it is to end.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            oldest_goes: false,
            patience: Duration::from_secs(10),
            connections: 65_536,
            strangers: 256,
            stay: Duration::from_secs(60),
            age: None,
            requests: 256,
            headers: 32 << 10,
            idle: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// An error of a service.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Serves until `shutdown` comes: no more connections then, and those that are there end when their
/// requests are answered, or after [`Limits::grace`].
pub async fn serve<I, S, B>(
    mut acceptor: Acceptor<I>,
    service: S,
    shutdown: impl Future<Output = ()>,
) where
    I: Incoming,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (limits, revocations) = (acceptor.limits(), acceptor.revocations());
    let speaks_http2 = acceptor.speaks_http2();
    let (stop, stopped) = watch::channel(false);
    let mut conversations = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = conversations.join_next(), if !conversations.is_empty() => {}
            accepted = acceptor.next(), if conversations.len() < limits.connections => {
                let (service, revocations) = (service.clone(), revocations.clone());
                let stopped = stopped.clone();
                let ends = Ends { limits, speaks_http2, stopped, revocations };
                conversations.spawn(converse(accepted, service, ends));
            }
        }
    }
    drop(acceptor);
    stop.send_replace(true);
    while conversations.join_next().await.is_some() {}
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { uid, pid: Some(pid) } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Unix { uid, pid: None } => write!(f, "unix:uid={uid}"),
        }
    }
}

#[cfg(test)]
mod tests;
