//! `/v1/operators`

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use wakemq_protocol::OperatorName;
use wakemq_protocol::http::{OperatorAnswer, OperatorChange, OperatorPage, OperatorRequest, OperatorView};

use super::{Answered, PAGE_DEFAULT, to_its_end};
use crate::http::Shared;
use crate::http::extract::{Asking, Id, Json, Options};
use crate::http::problem::Refusal;

/// What `GET /v1/operators` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct OperatorOptions {
    after: Option<OperatorName>,
    limit: Option<usize>,
}

pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Options(options): Options<OperatorOptions>,
) -> Answered<OperatorPage> {
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.operators(&caller, options.after, limit).await?))
}

pub(in crate::http) async fn create(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<OperatorRequest>,
) -> Result<(StatusCode, Answer<OperatorAnswer>), Refusal> {
    let engine = shared.engine;
    let answer = to_its_end(async move { engine.create_operator(&caller, request).await }).await?;
    Ok((StatusCode::CREATED, Answer(answer)))
}

pub(in crate::http) async fn change(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(name): Id<OperatorName>,
    Json(change): Json<OperatorChange>,
) -> Answered<OperatorView> {
    let engine = shared.engine;
    Ok(Answer(to_its_end(async move { engine.change_operator(&caller, name, change).await }).await?))
}

pub(in crate::http) async fn revoke(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(name): Id<OperatorName>,
) -> Result<StatusCode, Refusal> {
    let engine = shared.engine;
    to_its_end(async move { engine.revoke_operator(&caller, name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
