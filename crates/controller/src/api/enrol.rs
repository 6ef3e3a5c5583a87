//! Identities: join tokens for operators, first certificates for hosts, and the next ones.

use super::Api;
use super::admit::Asker;
use super::body::{TokenBody, TokenListBody, TokenMadeBody, TokenOrderBody};
use super::json;
use super::problem::{Problem, ProblemKind};
use super::query::{self, Query};
use super::record::{Done, chain};
use super::writes::Json;
use crate::engine::Engine;
use crate::office::{Office, Order, OrderError, SpendError};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mizar_identity::Identity;
use mizar_identity::audit::{Object, Who};
use mizar_identity::enrol::{Join, Renewal, Signed};
use mizar_identity::pki::{PkiError, Subject};
use mizar_identity::role::{Action, Kind, Verb, allows};
use mizar_identity::token::{HostPattern, Secret, TokenRecord};
use mizar_store::StoreError;
use mizar_vpc::{Manifest, Name, Ref};
use std::time::{Duration, SystemTime};

/// Most hosts that may join with one token.
const MOST_USES: u32 = 10_000;
/// How long a token may be good for, in seconds: from a minute to 30 days.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3600;

/// A new join token.
pub(super) async fn create_token(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let office = office(&api)?;
    let order = order(json::value(&body)?)?;
    let who = asker.known()?.clone();
    let objects = vec![object("token", &order.host)];
    let made = api.on_record(&asker, Who::Identity(who.clone()), "create", objects, async move {
        check(&who, &Action::new(Verb::Create, Kind::Token))?;
        let (office, (token, record, revision)) =
            away(office, move |office| office.order(order)).await?.transposed()?;
        let objects = Some(vec![
            Object { kind: "token".to_owned(), name: record.id.to_string() },
            object("host", &record.host),
        ]);
        let made = TokenMadeBody { token: token.reveal().to_string(), record: body_of(&record) };
        Ok(Done { answer: made, revision: Some(office.text(revision)), objects })
    });
    Ok((StatusCode::CREATED, axum::Json(made.await?)).into_response())
}

/// All join tokens, without their secrets, which nobody has.
pub(super) async fn list_tokens(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    check(asker.known()?, &Action::new(Verb::Read, Kind::Token))?;
    let (_, all) = away(office(&api)?, |office| office.tokens()).await?.transposed()?;
    let items = all.iter().map(body_of).collect();
    Ok(axum::Json(TokenListBody { items }).into_response())
}

/// A join token is good for nobody any longer.
pub(super) async fn delete_token(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let office = office(&api)?;
    let id: Name = id.parse().map_err(|_| no_token(&id))?;
    let who = asker.known()?.clone();
    let objects = vec![object("token", &id)];
    let gone = api.on_record(&asker, Who::Identity(who.clone()), "delete", objects, async move {
        check(&who, &Action::new(Verb::Delete, Kind::Token))?;
        let of = id.clone();
        let (office, (found, revision)) = away(office, move |office| {
            Ok::<_, StoreError>((office.token(&of)?, office.revoke(&of)?))
        })
        .await?
        .transposed()?;
        let (found, revision) = found.zip(revision).ok_or_else(|| no_token(id.as_str()))?;
        let answer = body_of(&found.record);
        Ok(Done { answer, revision: Some(office.text(revision)), objects: None })
    });
    Ok(axum::Json(gone.await?).into_response())
}

/// A host's first certificate, for its token. Whoever asks may be nobody.
pub(super) async fn join(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let office = office(&api)?;
    let join: Join = json::value(&body)?;
    let secret: Secret = join.secret.parse().map_err(|_| {
        Problem::of_field("secret", "it is none: it must be 43 letters and digits, of a token")
    })?;
    let id = join.token.clone();
    let (office, found) = away(office, move |office| office.token(&id)).await?.transposed()?;
    // Strangers who guess leave no trace in the audit log, or they could fill it: the number of
    // a token cannot be guessed, so whoever knows one has had a token.
    let found = found.ok_or_else(|| refused(&SpendError::Unknown))?;
    let objects = vec![object("host", &join.host)];
    let engine = api.engine.clone();
    let who = Who::Token(join.token.clone());
    let joined = api.on_record(&asker, who, "join", objects, async move {
        let checked = found.record.check(&secret, &join.host, SystemTime::now());
        checked.map_err(|reason| refused(&SpendError::Refused(reason)))?;
        let host = host_in_fleet(&engine, &join.host).await?;
        let is_there = host.as_ref().is_some_and(is_connected);
        if is_there && found.record.host != HostPattern::Exactly(join.host.clone()) {
            let detail = format!(
                "host {0} is connected, and the token is for {1}: to let it join anew, make one \
                 for {0} alone, with `mizar host token {0}`",
                join.host, found.record.host
            );
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        let (office, (chain, revision)) =
            away(office, move |office| office.admit(&join, &secret)).await?.transposed()?;
        let answer = Signed { chain, in_fleet: host.is_some() };
        Ok(Done { answer, revision: Some(office.text(revision)), objects: None })
    });
    Ok(axum::Json(joined.await?).into_response())
}

/// A certificate in place of the one that is shown.
pub(super) async fn renew(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let office = office(&api)?;
    let renewal: Renewal = json::value(&body)?;
    let who = asker.known()?.clone();
    if asker.fingerprint.is_none() {
        let detail = "no certificate is shown on this connection, so there is none to renew: \
                      connect by https:// with one";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    let engine = api.engine.clone();
    let objects = vec![object("certificate", &who)];
    let signed = api.on_record(&asker, Who::Identity(who.clone()), "renew", objects, async move {
        let action = Action::new(Verb::Renew, Kind::Certificate);
        match &who {
            Identity::Host(host) => {
                check(&who, &action.on(host))?;
                // This is how a host that was taken out of the fleet loses its identity.
                if host_in_fleet(&engine, host).await?.is_none() {
                    return Err(Problem::new(ProblemKind::Forbidden, gone(host)));
                }
            }
            _ => check(&who, &action)?,
        }
        let sign = move |office: &Office| office.sign(&renewal.request, &Subject::new(who));
        let (_, chain) = away(office, sign).await?.transposed()?;
        let answer = Signed { chain, in_fleet: true };
        Ok(Done { answer, revision: None, objects: None })
    });
    Ok(axum::Json(signed.await?).into_response())
}

fn gone(host: &Name) -> String {
    format!(
        "host {host} is not in the fleet, so its certificate is not renewed: apply its manifest"
    )
}

pub(super) fn office(api: &Api) -> Result<Office, Problem> {
    api.office.clone().ok_or_else(|| {
        let detail = "this controller has no CA: start it with --listen ADDRESS:PORT --pki FOLDER";
        Problem::new(ProblemKind::Unavailable, detail)
    })
}

fn order(body: TokenOrderBody) -> Result<Order, Problem> {
    let TokenOrderBody { host, uses, valid_seconds, controller } = body;
    let host = host.parse().map_err(|error: mizar_identity::token::HostPatternError| {
        Problem::of_field("host", error.to_string())
    })?;
    if !(1..=MOST_USES).contains(&uses) {
        let problem = format!("{uses} is out of range: it must be from 1 to {MOST_USES}");
        return Err(Problem::of_field("uses", problem));
    }
    if !SECONDS.contains(&valid_seconds) {
        let (least, most) = SECONDS.into_inner();
        let problem = format!("{valid_seconds} is out of range: it must be from {least} to {most}");
        return Err(Problem::of_field("validSeconds", problem));
    }
    let controller = controller.map(|text| text.parse()).transpose();
    let controller = controller.map_err(|error: mizar_identity::AddressError| {
        Problem::of_field("controller", error.to_string())
    })?;
    Ok(Order { host, uses, lifetime: Duration::from_secs(valid_seconds), controller })
}

fn body_of(record: &TokenRecord) -> TokenBody {
    let TokenRecord { id, host, expires, uses_left, .. } = record;
    let (id, host) = (id.clone(), host.to_string());
    TokenBody { id, host, expires: *expires, uses_left: *uses_left }
}

pub(super) fn object(kind: &str, name: &impl ToString) -> Object {
    Object { kind: kind.to_owned(), name: name.to_string() }
}

pub(super) fn check(who: &Identity, action: &Action<'_>) -> Result<(), Problem> {
    allows(who, action).map_err(|no| Problem::new(ProblemKind::Forbidden, no.to_string()))
}

async fn host_in_fleet(engine: &Engine, host: &Name) -> Result<Option<Manifest>, Problem> {
    let kind = mizar_vpc::Kind::Host;
    let reference = Ref { kind, vpc: None, name: host.clone() };
    match engine.get(&Identity::local(), reference).await.map_err(Problem::from) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(problem) if problem.kind() == Some(ProblemKind::NotFound) => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn is_connected(manifest: &Manifest) -> bool {
    match manifest {
        Manifest::Host(host) => host.status.as_ref().is_some_and(|status| status.connected),
        _ => false,
    }
}

fn no_token(id: &str) -> Problem {
    let detail =
        format!("there is no join token {id:?}: GET /v1/tokens lists those that there are");
    Problem::new(ProblemKind::NotFound, detail)
}

/// The office, and what it has answered.
pub(super) struct Answered<T, E>(Office, Result<T, E>);

impl<T, E: Into<Problem>> Answered<T, E> {
    pub(super) fn transposed(self) -> Result<(Office, T), Problem> {
        let Self(office, result) = self;
        result.map(|answer| (office, answer)).map_err(Into::into)
    }
}

/// Asks the office, which waits for the disk, where waiting holds up nobody.
pub(super) async fn away<T: Send + 'static, E: Send + 'static>(
    office: Office,
    ask: impl FnOnce(&Office) -> Result<T, E> + Send + 'static,
) -> Result<Answered<T, E>, Problem> {
    let asked = tokio::task::spawn_blocking(move || {
        let answer = ask(&office);
        Answered(office, answer)
    });
    let interrupted = |_| Problem::new(ProblemKind::Unavailable, "it was interrupted: try again");
    asked.await.map_err(interrupted)
}

fn refused(error: &SpendError) -> Problem {
    Problem::new(ProblemKind::Forbidden, error.to_string())
}

impl From<SpendError> for Problem {
    fn from(error: SpendError) -> Self {
        match error {
            SpendError::Unknown | SpendError::Refused(_) => refused(&error),
            SpendError::Crowded => Self::new(ProblemKind::Limit, error.to_string()),
            SpendError::Store(error) => error.into(),
            SpendError::Pki(error) => error.into(),
        }
    }
}

impl From<PkiError> for Problem {
    fn from(error: PkiError) -> Self {
        match &error {
            PkiError::Request(_) | PkiError::RequestKey | PkiError::RequestLength(_) => {
                Self::of_field("request", error.to_string())
            }
            _ => Self::new(ProblemKind::Unavailable, chain(&error)),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match &error {
            OrderError::Token(reason) => Self::of_field("controller", reason.to_string()),
            OrderError::TooMany(_) => Self::new(ProblemKind::Limit, error.to_string()),
            OrderError::Store(_) => Self::new(ProblemKind::Unavailable, chain(&error)),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(ProblemKind::Unavailable, chain(&error))
    }
}
