//! `/v1/audit`

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use wakemq_protocol::Timestamp;
use wakemq_protocol::http::AuditPage;

use super::{Answered, PAGE_DEFAULT};
use crate::http::Shared;
use crate::http::extract::{Asking, Options};

/// What `GET /v1/audit` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct AuditOptions {
    since: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<usize>,
}

pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Options(options): Options<AuditOptions>,
) -> Answered<AuditPage> {
    let AuditOptions { since, after, limit } = options;
    Ok(Answer(shared.engine.audit(&caller, since, after, limit.unwrap_or(PAGE_DEFAULT)).await?))
}
