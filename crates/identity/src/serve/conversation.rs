//! One connection, from its first request to its end.

use super::{Accepted, BoxError, Limits, Peer};
use crate::revocation::Revocations;
use hyper::body::{Body, Incoming as RequestBody};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

/// The wall clock is looked at this often: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(60);

/// What ends a connection, beside its peer.
pub(super) struct Ends {
    pub(super) limits: Limits,
    pub(super) speaks_http2: bool,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) revocations: Revocations,
}

pub(super) async fn converse<S, B>(
    accepted: Accepted,
    service: S,
    Ends { limits, speaks_http2, stopped, revocations }: Ends,
) where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Accepted { io, peer, place: _place } = accepted;
    let asked = Arc::new(AtomicBool::new(false));
    let answering = service_fn({
        let (peer, asked) = (peer.clone(), asked.clone());
        move |mut request: Request<RequestBody>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            service.clone().oneshot(request)
        }
    });
    let builder = builder(limits, speaks_http2);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), answering));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        // It has asked for nothing, so nothing of it is lost.
        () = silence(&asked, limits.patience) => return,
        () = revocations.revoked(&peer) => {
            tracing::info!(from = %peer.address, "connection cut: the certificate is revoked");
            return;
        }
        () = stop(stopped) => None,
        () = expiry(&peer) => {
            tracing::debug!(from = %peer.address, "connection ends: its peer's time is over");
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.grace, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(from = %peer.address, error, "connection broken");
    }
}

fn builder(limits: Limits, speaks_http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if !speaks_http2 {
        builder = builder.http1_only();
    }
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(limits.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.requests)
        .max_header_list_size(u32::try_from(limits.headers).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(limits.idle);
    builder
}

/// Comes if the first request does not.
async fn silence(asked: &AtomicBool, patience: Duration) {
    tokio::time::sleep(patience).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    // An error says that whoever could stop it is gone: that is the end, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Comes when the peer's certificate has expired.
async fn expiry(peer: &Peer) {
    let Some(expires) = peer.expires else { return std::future::pending().await };
    while let Ok(left) = expires.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK) + Duration::from_millis(1)).await;
    }
}
