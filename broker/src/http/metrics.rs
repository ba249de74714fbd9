//! `GET /metrics`, at the administrators' door.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Shared;
use super::problem::{Kind, Refusal};
use crate::metrics::CONTENT_TYPE as OPEN_METRICS;

/// Everything that is counted, as Prometheus reads it.
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<impl IntoResponse, Refusal> {
    let text = shared.engine.measure().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Refusal::new(Kind::Unavailable, "the metrics cannot be written")
    })?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}
