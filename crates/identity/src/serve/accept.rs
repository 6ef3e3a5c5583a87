//! From a listening socket to peers whose handshake is done.

use super::{Limits, Peer, PeerAddress};
use crate::connect::Io;
use crate::identity::Identity;
use crate::revocation::Revocations;
use crate::tls::{self, Protocol};
use rustls::ServerConfig;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How long accepting rests after an error that does not go away at once, as when there are no more
/// file descriptors.
const REST: Duration = Duration::from_millis(500);

/// Where connections come from.
pub trait Incoming: Send + 'static {
    /// What they are.
    type Io: Io + 'static;

    /// The next one. Cancelling loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, PeerAddress)>> + Send;
}

/// Makes peers of those who connect.
pub struct Acceptor<I> {
    incoming: I,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    handshakes: JoinSet<Option<Accepted>>,
    /// Those that go on, the oldest first, where that one may be given up.
    begun: VecDeque<AbortHandle>,
    expected: fn(&Identity) -> bool,
    strangers: Arc<Semaphore>,
    revocations: Revocations,
}

/// A connection, and who is at the other end.
pub struct Accepted {
    /// To speak over.
    pub io: Box<dyn Io>,
    /// Who.
    pub peer: Peer,
    /// A stranger's place among the strangers, given back when he goes.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

impl<I: Incoming> Acceptor<I> {
    /// Those who connect prove who they are by certificates, or are nobody.
    pub fn tls(incoming: I, config: Arc<ServerConfig>, limits: Limits) -> Self {
        Self::new(incoming, Some(TlsAcceptor::from(config)), limits)
    }

    /// Whoever connects is the local operator: for a socket that only he may open.
    pub fn local(incoming: I, limits: Limits) -> Self {
        Self::new(incoming, None, limits)
    }

    fn new(incoming: I, tls: Option<TlsAcceptor>, limits: Limits) -> Self {
        let strangers = Arc::new(Semaphore::new(limits.strangers));
        let (handshakes, begun, revocations) = Default::default();
        let expected = |_: &Identity| true;
        Self { incoming, tls, limits, handshakes, begun, expected, strangers, revocations }
    }

    /// Who shows what is revoked is nobody: he may join.
    #[must_use]
    pub fn believing_none_of(self, revocations: Revocations) -> Self {
        Self { revocations, ..self }
    }

    /// Whoever is not expected is a stranger, though he is known: he is heard, among few, and does
    /// not stay.
    #[must_use]
    pub fn expecting(self, expected: fn(&Identity) -> bool) -> Self {
        Self { expected, ..self }
    }

    pub(super) fn revocations(&self) -> Revocations {
        self.revocations.clone()
    }

    pub(super) fn speaks_http2(&self) -> bool {
        let is_http2 = |name: &Vec<u8>| Protocol::Http2.names().contains(name);
        self.tls.as_ref().is_none_or(|tls| tls.config().alpn_protocols.iter().any(is_http2))
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// The next one whose handshake is done. Cancelling loses none.
    pub async fn next(&mut self) -> Accepted {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
                accepted = self.incoming.accept(),
                    if self.limits.oldest_goes || self.handshakes.len() < self.most_handshakes() =>
                {
                    match accepted {
                        Ok((io, address)) => self.greet(io, address),
                        Err(error) => rest(&error).await,
                    }
                }
            }
        }
    }

    fn most_handshakes(&self) -> usize {
        self.limits.handshakes.max(1)
    }

    fn greet(&mut self, io: I::Io, address: PeerAddress) {
        let (tls, limits, strangers) = (self.tls.clone(), self.limits, self.strangers.clone());
        let (revocations, expected) = (self.revocations.clone(), self.expected);
        self.make_room();
        let begun = self.handshakes.spawn(async move {
            let Some(tls) = tls else { return Some(local(io, address)) };
            let from = address.to_string();
            let shaken = tokio::time::timeout(limits.patience, shake(io, address, tls)).await;
            let shaken = shaken.map(|shaken| shaken.map(|it| it.unless_revoked(&revocations)));
            let refused = match shaken {
                Ok(Ok(accepted)) if accepted.peer.identity.as_ref().is_some_and(expected) => {
                    return Some(accepted.for_at_most(limits.age));
                }
                // Who only comes to join, or to be refused, takes no time, and may not crowd out
                // those who are expected.
                Ok(Ok(accepted)) => match strangers.try_acquire_owned() {
                    Ok(place) => {
                        let place = Some(place);
                        return Some(Accepted { place, ..accepted.for_at_most(Some(limits.stay)) });
                    }
                    Err(_) => "too many strangers are here".to_owned(),
                },
                Ok(Err(error)) => tls::reason(&error),
                Err(_) => format!("no handshake within {:?}", limits.patience),
            };
            // What strangers do is no reason for anybody to get up at night.
            tracing::info!(from, refused, "connection refused");
            None
        });
        if limits.oldest_goes {
            self.begun.push_back(begun);
        }
    }

    /// Gives up the oldest handshake if there are as many as there may be and it may be.
    fn make_room(&mut self) {
        self.begun.retain(|begun| !begun.is_finished());
        if self.begun.len() >= self.most_handshakes()
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.abort();
        }
    }
}

impl Accepted {
    fn unless_revoked(mut self, revocations: &Revocations) -> Self {
        if revocations.is_revoked(&self.peer) {
            let (from, who) = (&self.peer.address, &self.peer.identity);
            tracing::warn!(%from, who = ?who, "a revoked certificate is shown");
            self.peer.identity = None;
        }
        self
    }

    /// Ends it after so long, if not sooner.
    fn for_at_most(mut self, most: Option<Duration>) -> Self {
        let end = most.and_then(|most| SystemTime::now().checked_add(most));
        self.peer.expires = self.peer.expires.into_iter().chain(end).min();
        self
    }
}

async fn shake(
    io: impl Io + 'static,
    address: PeerAddress,
    tls: TlsAcceptor,
) -> io::Result<Accepted> {
    let stream = tls.accept(io).await?;
    let certificate = tls::peer_certificate(stream.get_ref().1).map_err(io::Error::other)?;
    let peer = Peer {
        identity: certificate.as_ref().map(|certificate| certificate.identity().clone()),
        address,
        fingerprint: certificate.as_ref().map(|certificate| certificate.fingerprint()),
        issued: certificate.as_ref().map(|certificate| certificate.issued()),
        expires: certificate.as_ref().map(|certificate| certificate.not_after()),
    };
    Ok(Accepted { io: Box::new(stream), peer, place: None })
}

fn local(io: impl Io + 'static, address: PeerAddress) -> Accepted {
    let identity = Some(Identity::local());
    let peer = Peer { identity, address, fingerprint: None, issued: None, expires: None };
    Accepted { io: Box::new(io), peer, place: None }
}

async fn rest(error: &io::Error) {
    let passing = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ];
    if !passing.contains(&error.kind()) {
        tracing::warn!(%error, "cannot accept connections for a moment");
        tokio::time::sleep(REST).await;
    }
}

impl Incoming for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, PeerAddress)> {
        let (stream, address) = Self::accept(self).await?;
        // A peer that is gone already is found out about by the handshake.
        let _ = stream.set_nodelay(true);
        Ok((stream, PeerAddress::Tcp(address)))
    }
}

impl Incoming for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, PeerAddress)> {
        loop {
            let (stream, _) = Self::accept(self).await?;
            // Without it nobody could say who it was.
            let Ok(peer) = stream.peer_cred() else { continue };
            return Ok((stream, PeerAddress::Unix { uid: peer.uid(), pid: peer.pid() }));
        }
    }
}

impl<I> fmt::Debug for Acceptor<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Acceptor");
        shown
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).finish_non_exhaustive()
    }
}
