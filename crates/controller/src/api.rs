//! The REST API: resources as manifests, for people and tools.
//!
//! ```text
//!  request ─► admit ─► resources, writes, watch ─► engine
//!             who, id,   path, query, body
//!             limits     checked one by one
//! ```
//!
//! Whatever is wrong is answered with a [`Problem`] (RFC 9457) that names the field, its value and
//! what would be right; there is no other form of error. What is in the paths and bodies stands in
//! `/openapi.json`, which is made from the same types.
//!
//! The API decides nothing: who may do what, and what is right, is the engine's affair.

mod admit;
mod backup;
pub mod body;
mod enrol;
mod json;
mod limits;
mod look;
mod monitor;
pub mod openapi;
pub mod problem;
mod query;
mod record;
mod resources;
mod revoke;
mod target;
mod watch;
mod writes;

use crate::engine::Engine;
use crate::office::Office;
use axum::Router;
use axum::http::Uri;
use axum::routing::{MethodRouter, delete, get, post};
use limits::Usage;
use mizar_identity::Audit;
use mizar_identity::enrol as paths;
use mizar_vpc::Kind;
use problem::{Problem, ProblemKind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use target::path_of;

/// What one peer may ask at once, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Requests of one peer that are being answered, without watches.
    pub requests: usize,
    /// The same for all who show no certificate: they come to join.
    pub strangers: usize,
    /// The same for a monitor, each of whose requests has the engine look at all hosts.
    pub monitors: usize,
    /// Watches of one peer.
    pub watches: usize,
    /// How long an answer may take.
    pub answer: Duration,
    /// How long a watcher may leave its events untaken.
    pub untaken: Duration,
    /// How long a watch may be silent: then a bookmark is sent.
    pub silence: Duration,
}

/// What every handler has.
#[derive(Clone, Debug)]
struct Api {
    engine: Engine,
    limits: Limits,
    usage: Arc<Usage>,
    audit: Option<Audit>,
    office: Option<Office>,
}

/// What an API is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What answers.
    pub engine: Engine,
    /// What bounds those who ask.
    pub limits: Limits,
    /// Where writes are put on record; simulators need none.
    pub audit: Option<Audit>,
    /// What gives out identities; without one, nobody joins and nothing is renewed.
    pub office: Option<Office>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            requests: 1024,
            strangers: 64,
            monitors: 4,
            watches: 64,
            answer: Duration::from_secs(30),
            untaken: Duration::from_secs(60),
            silence: Duration::from_secs(15),
        }
    }
}

/// Serves the API of an engine. Each request must carry a [`mizar_identity::Peer`].
pub fn router(engine: Engine) -> Router {
    router_with(engine, Limits::default())
}

/// As [`router`], with other limits.
pub fn router_with(engine: Engine, limits: Limits) -> Router {
    router_of(Parts { engine, limits, audit: None, office: None })
}

/// As [`router`], made of these.
pub fn router_of(parts: Parts) -> Router {
    let Parts { engine, limits, audit, office } = parts;
    let api = Api { engine, limits, usage: Arc::default(), audit, office };
    let mut router = Router::new()
        .route("/openapi.json", get(openapi::serve))
        .route(monitor::PATH, get(monitor::metrics))
        .route("/v1/backup", get(backup::backup))
        .route("/v1/apply", post(writes::apply))
        .route("/v1/batch", post(writes::batch))
        .route(look::PATH, post(look::look))
        .route("/v1/tokens", get(enrol::list_tokens).post(enrol::create_token))
        .route("/v1/tokens/{name}", delete(enrol::delete_token))
        .route("/v1/revocations", get(revoke::list).post(revoke::create))
        .route(paths::JOIN, post(enrol::join))
        .route(paths::CERTIFICATES, post(enrol::renew));
    for kind in Kind::ALL {
        for (path, methods) in routes(kind) {
            router = router.route(&path, methods);
        }
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(axum::middleware::from_fn_with_state(api.clone(), admit::admit))
        .with_state(api)
}

/// The paths of a kind, and what can be done there.
fn routes(kind: Kind) -> Vec<(String, MethodRouter<Api>)> {
    let many = get(resources::list);
    let one = get(resources::get);
    let written = |one: MethodRouter<Api>| one.put(resources::replace).delete(resources::delete);
    let plural = kind.plural();
    match kind {
        Kind::Fleet => {
            vec![(format!("/v1/{plural}"), written(get(resources::fleet)).post(resources::create))]
        }
        Kind::Host | Kind::Tenant | Kind::Vpc => vec![
            (format!("/v1/{plural}"), many.post(resources::create)),
            (format!("/v1/{plural}/{{name}}"), written(one)),
        ],
        Kind::Network | Kind::Endpoint => vec![
            (format!("/v1/{plural}"), many.clone()),
            (format!("/v1/vpcs/{{vpc}}/{plural}"), many.post(resources::create)),
            (format!("/v1/vpcs/{{vpc}}/{plural}/{{name}}"), written(one)),
        ],
        Kind::SlotMap => vec![
            (format!("/v1/{plural}"), many.clone()),
            (format!("/v1/vpcs/{{vpc}}/{plural}"), many),
            (format!("/v1/vpcs/{{vpc}}/{plural}/{{name}}"), one),
        ],
    }
}

/// The answer at a path that does not exist.
async fn nowhere(uri: Uri) -> Problem {
    let detail = format!(
        "there is no path {:?}: there are /openapi.json, /metrics, /v1/apply, /v1/batch, \
         /v1/backup, /v1/tokens, /v1/revocations, /v1/join, /v1/certificates, /v1/fleet, \
         /v1/hosts, /v1/tenants, /v1/vpcs, /v1/networks, /v1/endpoints, /v1/slotmaps and \
         /v1/vpcs/VPC/networks, endpoints and slotmaps, each also followed by /NAME where it is of \
         one VPC or of none, and /v1/vpcs/VPC/look",
        uri.path()
    );
    Problem::new(ProblemKind::Path, detail)
}

/// The answer to a method that does not exist at its path; the router adds which ones do.
async fn not_so(method: axum::http::Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {:?}: see the header Allow", uri.path());
    Problem::new(ProblemKind::Method, detail)
}
