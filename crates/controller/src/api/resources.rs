//! Resources one by one, and pages of them.

use super::Api;
use super::admit::{Asker, Who};
use super::body::{ListBody, WrittenBody};
use super::problem::{Problem, ProblemKind};
use super::query::{self, Query, Reading};
use super::target::{Target, path_of};
use super::writes::Json;
use super::{json, watch};
use crate::engine::{Change, Outcome, Write, Written};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mizar_vpc::{Manifest, Ref};

/// A page of resources, or their changes.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(Who(who)): Extension<Who>,
    uri: Uri,
) -> Result<Response, Problem> {
    let target = Target::of(&uri)?;
    match Query::of(&uri, query::OF_LISTS)?.reading(&target)? {
        Reading::Watch(watch) => watch::watch(&api, &who, watch).await,
        Reading::List(list) => {
            let page = api.engine.list(&who, list).await?;
            Ok(axum::Json(ListBody::from(page)).into_response())
        }
    }
}

/// One resource.
pub(super) async fn get(
    State(api): State<Api>,
    Extension(Who(who)): Extension<Who>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, query::NONE)?;
    let manifest = api.engine.get(&who, one(&uri)?).await?;
    Ok(answer(StatusCode::OK, manifest))
}

/// The fleet, or its changes: it has no list to watch.
pub(super) async fn fleet(
    State(api): State<Api>,
    Extension(Who(who)): Extension<Who>,
    uri: Uri,
) -> Result<Response, Problem> {
    let target = Target::of(&uri)?;
    match Query::of(&uri, query::OF_FLEET)?.reading(&target)? {
        Reading::Watch(watch) => watch::watch(&api, &who, watch).await,
        Reading::List(_) => {
            let manifest = api.engine.get(&who, one(&uri)?).await?;
            Ok(answer(StatusCode::OK, manifest))
        }
    }
}

/// A new resource.
pub(super) async fn create(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    let dry_run = Query::of(&uri, query::OF_WRITES)?.dry_run()?;
    let target = Target::of(&uri)?;
    let mut manifest = json::manifest(&body, Some(target.kind()))?;
    target.complete(&mut manifest)?;
    let location = path_of(&manifest.reference());
    let write = Write { changes: vec![Change::Create(manifest)], dry_run };
    let made = only(api.write(&asker, "create", write).await?)?;
    if dry_run {
        return Ok(answer(StatusCode::OK, made));
    }
    let mut answer = answer(StatusCode::CREATED, made);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// Another one in place of a resource.
pub(super) async fn replace(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    let dry_run = Query::of(&uri, query::OF_WRITES)?.dry_run()?;
    let version = query::if_match(&headers)?;
    let target = Target::of(&uri)?;
    let mut manifest = json::manifest(&body, Some(target.kind()))?;
    target.complete(&mut manifest)?;
    query::expect(&mut manifest, version)?;
    let write = Write { changes: vec![Change::Replace(manifest)], dry_run };
    let written = api.write(&asker, "update", write).await;
    let written = written.map_err(|problem| conditional(problem, version.is_some()))?;
    Ok(answer(StatusCode::OK, only(written)?))
}

/// A resource goes.
pub(super) async fn delete(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::of(&uri, query::OF_DELETIONS)?;
    let dry_run = query.dry_run()?;
    let resource_version = query::if_match(&headers)?;
    let change =
        Change::Delete { reference: one(&uri)?, cascade: query.cascade()?, resource_version };
    let write = Write { changes: vec![change], dry_run };
    let written = api.write(&asker, "delete", write).await;
    let is_conditional = resource_version.is_some();
    let written = written.map_err(|problem| conditional(problem, is_conditional))?;
    Ok(axum::Json(WrittenBody::new(written, dry_run)).into_response())
}

fn one(uri: &Uri) -> Result<Ref, Problem> {
    match Target::of(uri)? {
        Target::One(reference) => Ok(reference),
        Target::All { .. } => Err(Problem::new(ProblemKind::Path, "the path names no resource")),
    }
}

/// A conflict with what `If-Match` asked for has a status of its own (RFC 9110, 13.1.1).
fn conditional(problem: Problem, is_conditional: bool) -> Problem {
    if is_conditional && problem.kind() == Some(ProblemKind::Conflict) {
        return Problem {
            errors: problem.errors,
            ..Problem::new(ProblemKind::Precondition, problem.detail)
        };
    }
    problem
}

/// The resource that a write of one left.
fn only(written: Written) -> Result<Manifest, Problem> {
    let after = written.outcomes.into_iter().find_map(|Outcome { after, .. }| after);
    let detail = "the controller does not say what became of the resource: read it";
    after.ok_or_else(|| Problem::new(ProblemKind::Unavailable, detail))
}

fn answer(status: StatusCode, manifest: Manifest) -> Response {
    let version = manifest.metadata().resource_version;
    let tag = version.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
    let mut answer = (status, axum::Json(manifest)).into_response();
    if let Some(tag) = tag {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
