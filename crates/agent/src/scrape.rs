//! The port where a monitoring system collects the metrics: TLS, and certificates on both sides.
//!
//! Whoever connects can take up little of this host, whatever he does: so many connections, of
//! which few may be of those whom the metrics are not for, so long, with so much to say. However
//! many ask at once, tables are looked at once, on a thread that nothing else waits for.

use crate::error_chain;
use crate::link::Proof;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use mizar_identity::pki::HOST_NAME;
use mizar_identity::role::{Action, Kind, Verb, allows};
use mizar_identity::serve::{Acceptor, Limits, serve};
use mizar_identity::tls::{self, TlsError};
use mizar_identity::{Identity, Peer};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tower::service_fn;
use tracing::{info, warn};

/// Where the metrics are.
const PATH: &str = "/metrics";
/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";
/// What is younger is told again rather than looked for again.
const FRESH: Duration = Duration::from_secs(1);

/// What bounds those who connect. A connection takes some tens of kilobytes at most. Monitors ask
/// every minute or more often, on connections that they keep.
const LIMITS: Limits = Limits {
    handshakes: 256,
    oldest_goes: true,
    patience: Duration::from_secs(5),
    connections: 16,
    strangers: 4,
    stay: Duration::from_secs(5),
    age: Some(Duration::from_secs(600)),
    requests: 1,
    headers: 8192,
    idle: Duration::from_secs(75),
    grace: Duration::from_secs(5),
};

/// Why nobody can collect the metrics.
#[derive(Debug, Error)]
pub enum ScrapeError {
    /// Nobody could know that this is the host that it says, nor could it know who asks.
    #[error(
        "--metrics {0} takes a certificate of this host, and a CA: with --controller \
         https://HOST:PORT give --credentials FILE and --ca FILE, as `mizar host join` writes \
         them; without, `mizar agent metrics` shows the metrics on this host"
    )]
    NoProof(SocketAddr),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port.
    #[error("cannot listen on {at} for those who collect metrics")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// What is to listen, and who it says it is.
#[derive(Debug)]
pub(crate) struct Scrape {
    at: SocketAddr,
    proof: Proof,
}

/// A port that is open.
#[derive(Debug)]
pub(crate) struct Listening(Acceptor<TcpListener>);

impl Scrape {
    /// # Errors
    /// There is nothing that proves who this host is.
    pub(crate) fn new(at: SocketAddr, proof: Option<&Proof>) -> Result<Self, ScrapeError> {
        let proof = proof.ok_or(ScrapeError::NoProof(at))?.clone();
        Ok(Self { at, proof })
    }

    /// Opens the port. Connections that are made from then on get the certificate that the host has
    /// at the time.
    ///
    /// # Errors
    /// It is taken, or this host does not have the address.
    pub(crate) async fn listen(self) -> Result<Listening, ScrapeError> {
        let Self { at, proof: Proof { credentials, trust } } = self;
        let config = tls::server_config(credentials, &trust)?;
        let failed = |source| ScrapeError::Listen { at, source };
        let listener = TcpListener::bind(at).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        info!(%at, server_name = HOST_NAME, "serving metrics over TLS");
        Ok(Listening(Acceptor::tls(listener, config, LIMITS).expecting(|who| may(who).is_ok())))
    }
}

impl Listening {
    /// Serves what a source makes, which may block, for ever.
    pub(crate) async fn serve<S, E>(self, source: S) -> Infallible
    where
        S: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: StdError + Send + 'static,
    {
        let page = Page::new(source);
        let service = service_fn(move |request| {
            let page = page.clone();
            async move { Ok::<_, Infallible>(answer(&page, &request).await) }
        });
        serve(self.0, service, std::future::pending()).await;
        std::future::pending().await
    }
}

/// Whether somebody may read the metrics; why not.
fn may(who: &Identity) -> Result<(), String> {
    let forbidden = allows(who, &Action::new(Verb::Read, Kind::Metrics));
    forbidden.map_err(|forbidden| forbidden.to_string())
}

async fn answer<S, E>(page: &Page<S>, request: &Request<Incoming>) -> Response<Full<Bytes>>
where
    S: Fn() -> Result<String, E> + Send + Sync + 'static,
    E: StdError + Send + 'static,
{
    let peer = request.extensions().get::<Peer>();
    let admitted = match peer.and_then(|peer| peer.identity.as_ref()) {
        Some(who) => may(who),
        None => Err("no certificate is shown: it takes a monitor's, or an operator's".to_owned()),
    };
    let path = request.uri().path();
    match (admitted, request.method()) {
        (Err(why), _) => said(StatusCode::FORBIDDEN, why),
        (Ok(()), _) if path != PATH => {
            said(StatusCode::NOT_FOUND, format!("there is no path {path:?}: there is {PATH}"))
        }
        (Ok(()), &Method::GET) => match page.text().await {
            Ok(text) => response(StatusCode::OK, METRICS, text),
            Err(why) => {
                warn!("cannot tell metrics: {why}");
                said(StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        },
        (Ok(()), method) => {
            let why = format!("{method} is not possible at {PATH}: GET is");
            let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, why);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            refused
        }
    }
}

fn said(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    response(status, WORDS, Bytes::from(words + "\n"))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What was told last, and what makes the next.
struct Page<S> {
    source: Arc<S>,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl<S> Clone for Page<S> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), last: self.last.clone() }
    }
}

impl<S, E> Page<S>
where
    S: Fn() -> Result<String, E> + Send + Sync + 'static,
    E: StdError + Send + 'static,
{
    fn new(source: S) -> Self {
        Self { source: Arc::new(source), last: Arc::default() }
    }

    /// The metrics as they are, or were within a second. Who asks while somebody looks waits for
    /// what he finds; who goes away meanwhile does not let another look too.
    async fn text(&self) -> Result<Bytes, String> {
        let mut last = self.last.clone().lock_owned().await;
        if let Some((_, text)) = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Ok(text.clone());
        }
        let source = self.source.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let made = source().map(Bytes::from).map_err(|error| error_chain(&error));
            *last = made.clone().ok().map(|text| (Instant::now(), text));
            made
        });
        looked.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn monitors_and_operators_may_read_and_nobody_else() {
        let may = |who: &str| may(&who.parse().unwrap());
        assert!(may("monitor/prometheus").is_ok() && may("operator/alice").is_ok());
        for who in ["tenant/acme/bob", "host/h1", "controller"] {
            assert!(may(who).unwrap_err().starts_with(who));
        }
    }

    #[test]
    fn without_a_certificate_nothing_listens_and_what_is_needed_is_said() {
        let refused = Scrape::new("192.0.2.7:6082".parse().unwrap(), None).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("--metrics 192.0.2.7:6082 takes a certificate"), "{told}");
        assert!(told.contains("--credentials FILE and --ca FILE"), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn however_many_ask_at_once_it_is_looked_once() {
        static LOOKED: AtomicU32 = AtomicU32::new(0);
        let page = Page::new(|| {
            std::thread::sleep(Duration::from_millis(200));
            let number = LOOKED.fetch_add(1, Ordering::Relaxed);
            if number == 1 { Err(io::Error::other("it is broken")) } else { Ok(number.to_string()) }
        });
        // Who goes away at once does not stop it.
        let asked = page.clone();
        let gone = tokio::spawn(async move { asked.text().await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        gone.abort();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let page = page.clone();
            asking.spawn(async move { page.text().await });
        }
        let told = asking.join_all().await;
        assert!(told.iter().all(|told| told.as_deref() == Ok(&b"0"[..])), "{told:?}");
        tokio::time::sleep(FRESH).await;
        assert_eq!(page.text().await.unwrap_err(), "it is broken");
        // What is broken is not kept.
        assert_eq!(page.text().await.unwrap(), "2");
        assert_eq!(LOOKED.load(Ordering::Relaxed), 3);
    }
}
