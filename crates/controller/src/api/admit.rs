//! What is done with every request before and after it is answered: who asks, under which id, and
//! within which limits.

use super::Api;
use super::limits::Use;
use super::monitor;
use super::problem::{Problem, ProblemKind};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mizar_identity::{Fingerprint, Identity, Peer, enrol};
use mizar_vpc::Name;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::Instrument;

/// The header with a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a peer may give.
const LONGEST_ID: usize = 64;

/// Whoever asks, for the handlers.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) Identity);

/// Whoever asks, and how, for what goes on record.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// Who; nobody that is known only where a host joins.
    who: Option<Identity>,
    /// From where.
    pub(super) from: String,
    /// The certificate that proves it, if it is one.
    pub(super) fingerprint: Option<Fingerprint>,
    /// The request's id.
    pub(super) request: String,
}

impl Asker {
    /// Who it is.
    ///
    /// # Errors
    /// Nobody that is known.
    pub(super) fn known(&self) -> Result<&Identity, Problem> {
        self.who.as_ref().ok_or_else(unknown)
    }
}

/// Answers a request, or says why not.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let id = id_of(request.headers());
    let span = tracing::info_span!(
        "request", id, method = %request.method(), path = request.uri().path()
    );
    let answered = answer(&api, &id, request, next).instrument(span.clone()).await;
    let mut answer = answered.unwrap_or_else(Problem::into_response);
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        span.in_scope(|| tracing::info!(status = problem.status, "{problem}"));
        let instance = Some(format!("{}{id}", Problem::INSTANCES));
        let told = Problem { instance, ..problem }.answer();
        // Headers that the router added, as Allow, stay.
        let (mut parts, _) = answer.into_parts();
        let (told_parts, body) = told.into_parts();
        parts.headers.extend(told_parts.headers);
        answer = Response::from_parts(parts, body);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

async fn answer(
    api: &Api,
    id: &str,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let asker = asker(&request, id)?;
    let path = request.uri().path();
    let most = match &asker.who {
        None if path != enrol::JOIN => return Err(unknown()),
        None => api.limits.strangers,
        Some(Identity::Monitor(name)) if path != monitor::PATH => return Err(elsewhere(name)),
        Some(Identity::Monitor(_)) => api.limits.monitors,
        Some(_) => api.limits.requests,
    };
    let _permit = api.usage.admit(asker.who.as_ref(), Use::Request, most)?;
    if let Some(who) = &asker.who {
        request.extensions_mut().insert(Who(who.clone()));
    }
    request.extensions_mut().insert(asker);
    let answered = tokio::time::timeout(api.limits.answer, next.run(request)).await;
    answered.map_err(|_| {
        let seconds = api.limits.answer.as_secs_f64();
        let detail = format!(
            "there was no answer within {seconds} s: what was asked may have been done or not, so \
             look before asking again"
        );
        Problem::new(ProblemKind::Timeout, detail)
    })
}

fn asker(request: &Request, id: &str) -> Result<Asker, Problem> {
    let peer = request.extensions().get::<Peer>().ok_or_else(unknown)?;
    Ok(Asker {
        who: peer.identity.clone(),
        from: peer.address.to_string(),
        fingerprint: peer.fingerprint,
        request: id.to_owned(),
    })
}

fn unknown() -> Problem {
    let detail = "nobody is known by this connection: connect with a certificate of this cloud, \
                  one that is not revoked, or by the controller's local socket; without one a \
                  host can only join";
    Problem::new(ProblemKind::Forbidden, detail)
}

fn elsewhere(monitor: &Name) -> Problem {
    let detail = format!(
        "monitor/{monitor} may read {} and nothing else: it takes an operator or a tenant",
        monitor::PATH
    );
    Problem::new(ProblemKind::Forbidden, detail)
}

/// The id that the peer gave, if it is one; otherwise a new one.
fn id_of(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_id = |text: &&str| {
        let is_of_id = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(is_of_id)
    };
    given.filter(is_id).map_or_else(
        || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            format!("{:x}-{number:x}", since.as_micros())
        },
        str::to_owned,
    )
}
