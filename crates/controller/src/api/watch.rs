//! Changes as they come: one JSON value a line.
//!
//! A watcher that does not take its events holds back a few lines here and a bounded number of
//! events in the engine, and is then told to list again; it never slows others down.

use super::Api;
use super::body::EventBody;
use super::limits::{Permit, Use};
use super::problem::{Problem, ProblemKind};
use crate::engine::{Subscription, Version, Watch};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::StreamExt;
use mizar_identity::Identity;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// What the media type of a watch is.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson";
/// Lines that wait for the network.
const LINES: usize = 16;

/// Begins a watch.
pub(super) async fn watch(api: &Api, who: &Identity, watch: Watch) -> Result<Response, Problem> {
    let permit = api.usage.admit(Some(who), Use::Watch, api.limits.watches)?;
    let from = watch.from;
    let subscription = api.engine.watch(who, watch).await?;
    let (lines, taken) = mpsc::channel(LINES);
    tokio::spawn(forward(api.clone(), subscription, from, lines, permit));
    let mut answer =
        Response::new(Body::from_stream(ReceiverStream::new(taken).map(Ok::<_, Infallible>)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Writes events until the subscription ends, or nobody takes them.
async fn forward(
    api: Api,
    mut subscription: Subscription,
    mut seen: Option<Version>,
    lines: mpsc::Sender<Bytes>,
    _permit: Permit,
) {
    loop {
        let next = tokio::select! {
            next = timeout(api.limits.silence, subscription.next()) => next,
            () = lines.closed() => return,
        };
        let body = match next {
            Ok(Some(event)) => {
                seen = Some(event.resource_version);
                EventBody::from(&*event)
            }
            Ok(None) => EventBody::Error { problem: ended() },
            Err(_) => {
                seen = subscription.bookmark().or(seen);
                EventBody::Bookmark { resource_version: seen }
            }
        };
        let is_last = matches!(body, EventBody::Error { .. });
        let sent = timeout(api.limits.untaken, lines.send(line(&body))).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn line(body: &EventBody) -> Bytes {
    let mut line = serde_json::to_vec(body).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn ended() -> Problem {
    let detail = "the watch has ended, because its events were not taken fast enough or the \
                  controller stops: list again, and watch from the version of that list";
    Problem::new(ProblemKind::Gone, detail)
}
