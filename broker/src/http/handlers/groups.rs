//! `/v1/groups`; a path of several segments is given in the body, not in the request's path.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use wakemq_protocol::GroupPath;
use wakemq_protocol::http::{GroupPage, GroupRename, GroupRequest, GroupView};

use super::{Answered, PAGE_DEFAULT};
use crate::http::Shared;
use crate::http::extract::{Asking, Json, Options};
use crate::http::problem::Refusal;

/// What `GET /v1/groups` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct GroupOptions {
    after: Option<GroupPath>,
    limit: Option<usize>,
}

pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Options(options): Options<GroupOptions>,
) -> Answered<GroupPage> {
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.groups(&caller, options.after, limit).await?))
}

pub(in crate::http) async fn create(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<GroupRequest>,
) -> Result<(StatusCode, Answer<GroupView>), Refusal> {
    Ok((StatusCode::CREATED, Answer(shared.engine.create_group(&caller, request.group).await?)))
}

pub(in crate::http) async fn rename(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<GroupRename>,
) -> Answered<GroupView> {
    Ok(Answer(shared.engine.rename_group(&caller, request.group, request.to).await?))
}

pub(in crate::http) async fn remove(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<GroupRequest>,
) -> Result<StatusCode, Refusal> {
    shared.engine.remove_group(&caller, request.group).await?;
    Ok(StatusCode::NO_CONTENT)
}
