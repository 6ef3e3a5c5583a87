//! What a monitoring system collects.

use super::Api;
use super::admit::Who;
use super::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

/// Where. Monitors may go nowhere else.
pub(super) const PATH: &str = "/metrics";

/// The text format of Prometheus.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the controller.
pub(super) async fn metrics(
    State(api): State<Api>,
    Extension(Who(who)): Extension<Who>,
) -> Result<impl IntoResponse, Problem> {
    let text = api.engine.metrics(&who).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text))
}
