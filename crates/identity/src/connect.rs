//! Dialling a controller, for gRPC and for HTTP clients alike.

use crate::address::{Address, HostPort};
use crate::credentials::{Credentials, CredentialsError};
use crate::fingerprint::Fingerprint;
use crate::tls::{self, Protocol, TlsError};
use crate::trust::Trust;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// How long it may take until a connection stands, handshake included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Dials one controller: a tower service from a URI, which it ignores, to a connection. Give it to
/// `tonic::transport::Endpoint::connect_with_connector` or to a hyper client, with requests to
/// [`Address::origin`].
#[derive(Clone)]
pub struct Connector {
    way: Way,
    credentials: Option<Arc<Credentials>>,
}

#[derive(Clone)]
enum Way {
    Tls { at: HostPort, config: Arc<ClientConfig> },
    Unix(PathBuf),
}

/// A connection to a controller.
pub struct Dialled {
    io: TokioIo<Box<dyn Io>>,
    http2: bool,
}

/// What can be spoken over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The own certificate proves nothing.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answers.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens on a local socket.
    #[error("no controller listens on {}: start it, or name its socket", .0.display())]
    Nobody(PathBuf),
    /// The socket is somebody else's.
    #[error("the controller's socket {} is its own user's: try sudo", .0.display())]
    Denied(PathBuf),
    /// One side does not believe the other.
    #[error("no TLS connection to {address}: {reason}")]
    Handshake {
        /// Where.
        address: Address,
        /// Why.
        reason: String,
    },
    /// Nothing happens.
    #[error("{0} does not answer within {PATIENCE:?}")]
    Silence(Address),
}

impl Connector {
    /// For whoever has a certificate, or (with `None`) is content to be nobody. On a local socket
    /// neither it nor the CA is used.
    ///
    /// # Errors
    /// The CA's certificates are unusable.
    pub fn new(
        address: &Address,
        credentials: Option<Arc<Credentials>>,
        trust: &Trust,
        protocol: Protocol,
    ) -> Result<Self, ConnectError> {
        let config = tls::client_config(credentials.clone(), trust)?;
        Ok(Self::with(address, config, credentials, protocol))
    }

    /// For a host that joins: believes the controllers of this one CA.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn joining(
        address: &Address,
        authority: Fingerprint,
        protocol: Protocol,
    ) -> Result<Self, ConnectError> {
        Ok(Self::with(address, tls::enrolment_config(authority)?, None, protocol))
    }

    /// For a local socket, where neither side needs a certificate.
    pub fn local(socket: &Path) -> Self {
        Self { way: Way::Unix(socket.to_owned()), credentials: None }
    }

    /// Where it dials.
    pub fn address(&self) -> Address {
        match &self.way {
            Way::Tls { at, .. } => Address::Https(at.clone()),
            Way::Unix(path) => Address::Unix(path.clone()),
        }
    }

    /// Dials.
    ///
    /// # Errors
    /// Nobody is there, the two do not believe each other, or the own certificate has expired: the
    /// file, the time and what to do are in the error then.
    pub async fn dial(&self) -> Result<Dialled, ConnectError> {
        let dialled = tokio::time::timeout(PATIENCE, self.connect()).await;
        dialled.unwrap_or_else(|_| Err(ConnectError::Silence(self.address())))
    }

    async fn connect(&self) -> Result<Dialled, ConnectError> {
        let (at, config) = match &self.way {
            Way::Unix(path) => return unix(path).await,
            Way::Tls { at, config } => (at, config),
        };
        if let Some(credentials) = &self.credentials {
            // The other side would only say that something is wrong with it.
            credentials.check(SystemTime::now())?;
        }
        let failed = |source| ConnectError::Connect { address: self.address(), source };
        let stream = tcp(at).await.map_err(failed)?;
        let secured = secure(stream, at.host(), config.clone()).await;
        secured.map_err(|error| ConnectError::Handshake {
            address: self.address(),
            reason: tls::reason(&error),
        })
    }

    fn with(
        address: &Address,
        mut config: ClientConfig,
        credentials: Option<Arc<Credentials>>,
        protocol: Protocol,
    ) -> Self {
        config.alpn_protocols = protocol.names();
        let way = match address {
            Address::Https(at) => Way::Tls { at: at.clone(), config: Arc::new(config) },
            Address::Unix(path) => Way::Unix(path.clone()),
        };
        Self { way, credentials }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connector");
        shown.field("address", &self.address()).field("credentials", &self.credentials).finish()
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = Dialled;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.dial().await })
    }
}

/// TLS on what stands, from the side that has dialled.
pub(crate) async fn secure(
    stream: impl Io + 'static,
    host: &ServerName<'static>,
    config: Arc<ClientConfig>,
) -> io::Result<Dialled> {
    let stream = TlsConnector::from(config).connect(host.clone(), stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Dialled { io: TokioIo::new(Box::new(stream)), http2 })
}

async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let stream = match at.host() {
        ServerName::IpAddress(address) => {
            TcpStream::connect((IpAddr::from(*address), at.port())).await?
        }
        name => TcpStream::connect((&*name.to_str(), at.port())).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn unix(path: &Path) -> Result<Dialled, ConnectError> {
    let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ConnectError::Nobody(path.to_owned())
        }
        io::ErrorKind::PermissionDenied => ConnectError::Denied(path.to_owned()),
        _ => ConnectError::Connect { address: Address::Unix(path.to_owned()), source },
    })?;
    Ok(Dialled { io: TokioIo::new(Box::new(stream)), http2: false })
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").field("http2", &self.http2).finish_non_exhaustive()
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOUR, World, now};

    #[tokio::test]
    async fn a_socket_where_nobody_listens_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = Connector::local(&folder.path().join("a.sock")).dial().await.unwrap_err();
        assert!(error.to_string().contains("a.sock: start it"), "{error}");
    }

    #[tokio::test]
    async fn an_expired_certificate_is_found_before_anybody_is_dialled() {
        let world = World::new();
        let expired = world.credentials_at("host/h1", now() - 2 * HOUR, HOUR);
        let address = "https://controller.invalid:6443".parse().unwrap();
        let trust = world.authority.trust();
        let connector = Connector::new(&address, Some(expired), &trust, Protocol::Http2).unwrap();
        let error = connector.dial().await.unwrap_err();
        assert!(matches!(error, ConnectError::Credentials(_)), "{error}");
        assert!(error.to_string().contains("host-h1.pem"), "{error}");
    }
}
