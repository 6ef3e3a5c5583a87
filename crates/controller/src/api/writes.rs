//! Bodies, and many changes at once.

use super::Api;
use super::admit::Asker;
use super::body::WrittenBody;
use super::json;
use super::problem::{Problem, ProblemKind};
use super::query::{self, Query};
use crate::engine::{Change, Write};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The body of a request, which must be JSON and not too large.
#[derive(Debug)]
pub(super) struct Json(pub(super) Bytes);

/// Manifests are applied together.
pub(super) async fn apply(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    let dry_run = Query::of(&uri, query::OF_WRITES)?.dry_run()?;
    let changes = json::manifests(&body)?.into_iter().map(Change::Apply).collect();
    write(&api, &asker, "apply", Write { changes, dry_run }).await
}

/// Changes are made together.
pub(super) async fn batch(
    State(api): State<Api>,
    Extension(asker): Extension<Asker>,
    uri: Uri,
    Json(body): Json,
) -> Result<Response, Problem> {
    let dry_run = Query::of(&uri, query::OF_WRITES)?.dry_run()?;
    let changes = json::changes(&body)?.into_iter().map(Change::from).collect();
    write(&api, &asker, "batch", Write { changes, dry_run }).await
}

async fn write(api: &Api, asker: &Asker, verb: &str, write: Write) -> Result<Response, Problem> {
    let dry_run = write.dry_run;
    let written = api.write(asker, verb, write).await?;
    Ok(axum::Json(WrittenBody::new(written, dry_run)).into_response())
}

impl FromRequest<Api> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let most = api.limits.body;
        let collected = Limited::new(request.into_body(), most).collect().await;
        let body = collected.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let detail = format!(
                    "the body is larger than {most} bytes: send less at once, as with several \
                     requests to /v1/apply"
                );
                Problem::new(ProblemKind::TooLarge, detail)
            } else {
                Problem::new(ProblemKind::Malformed, "the body ended too early: send it again")
            }
        })?;
        Ok(Self(body.to_bytes()))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = text.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim());
    if essence.is_some_and(|found| found.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let found =
        text.map_or_else(|| "is missing".to_owned(), |text| format!("{text:?} is not known"));
    let detail = format!("Content-Type {found}: it must be application/json");
    Err(Problem::new(ProblemKind::ContentType, detail))
}
