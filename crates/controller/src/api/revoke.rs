//! Certificates that are not believed any more.

use super::Api;
use super::admit::Asker;
use super::body::{RevocationBody, RevocationListBody, RevokeBody};
use super::enrol::{away, check, object, office};
use super::json;
use super::problem::Problem;
use super::query::{self, Query};
use super::record::Done;
use super::writes::Json;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mizar_identity::Identity;
use mizar_identity::audit::Who;
use mizar_identity::role::{Action, Kind, Verb};

/// All certificates that somebody has now are revoked.
pub(super) async fn create(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let office = office(&api)?;
    let RevokeBody { identity } = json::value(&body)?;
    if identity == Identity::Controller {
        let problem = "a controller's certificate is not revoked: make a new CA, or restart it";
        return Err(Problem::of_field("identity", problem.to_owned()));
    }
    let who = asker.known()?.clone();
    let objects = vec![object("certificate", &identity)];
    let made = api.on_record(&asker, Who::Identity(who.clone()), "revoke", objects, async move {
        check(&who, &Action::new(Verb::Delete, Kind::Certificate))?;
        let of = identity.clone();
        let disowned = away(office, move |office| office.disown(&of)).await?;
        let (office, (issued_until, revision)) = disowned.transposed()?;
        let revision = revision.map(|revision| office.text(revision));
        Ok(Done { answer: RevocationBody { identity, issued_until }, revision, objects: None })
    });
    Ok((StatusCode::CREATED, axum::Json(made.await?)).into_response())
}

/// Whose certificates are revoked.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    check(asker.known()?, &Action::new(Verb::Read, Kind::Certificate))?;
    let all = office(&api)?.revocations().all();
    let body = |(identity, issued_until)| RevocationBody { identity, issued_until };
    Ok(axum::Json(RevocationListBody { items: all.into_iter().map(body).collect() })
        .into_response())
}
