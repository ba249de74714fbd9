//! `/v1/tokens`

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use wakemq_protocol::http::{TokenAnswer, TokenPage, TokenRequest};

use super::{Answered, PAGE_DEFAULT};
use crate::http::Shared;
use crate::http::extract::{Asking, Id, Json, Options};
use crate::http::problem::Refusal;

/// What `GET /v1/tokens` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct TokenOptions {
    after: Option<String>,
    limit: Option<usize>,
}

pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Options(options): Options<TokenOptions>,
) -> Answered<TokenPage> {
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.tokens(&caller, options.after, limit).await?))
}

pub(in crate::http) async fn create(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Answer<TokenAnswer>), Refusal> {
    Ok((StatusCode::CREATED, Answer(shared.engine.create_token(&caller, request).await?)))
}

pub(in crate::http) async fn revoke(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(id): Id<String>,
) -> Result<StatusCode, Refusal> {
    shared.engine.revoke_token(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
