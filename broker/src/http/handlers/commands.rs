//! `/v1/commands`

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::AppendHeaders;
use serde::Deserialize;
use wakemq_protocol::http::{CommandRequest, CommandView, WaitingPage};
use wakemq_protocol::{AgentId, CommandId, Target};

use super::{Answered, PAGE_DEFAULT, to_its_end};
use crate::engine::read_place;
use crate::http::Shared;
use crate::http::extract::{Asking, Id, Json, Options};
use crate::http::problem::{Kind, Refusal};

type Location = AppendHeaders<[(axum::http::HeaderName, String); 1]>;

pub(in crate::http) async fn submit(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<CommandRequest>,
) -> Result<(StatusCode, Location, Answer<CommandView>), Refusal> {
    let target = match (request.agent, request.group) {
        (Some(agent), None) => Target::Agent(agent),
        (None, Some(group)) => Target::Group(group),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refusal::new(Kind::Invalid, "give exactly one of `agent` and `group`"));
        }
    };
    let engine = shared.engine;
    let view =
        to_its_end(async move { engine.submit_one(&caller, target, request.submission).await }).await?;
    let location = AppendHeaders([(LOCATION, format!("/v1/commands/{}", view.id))]);
    Ok((StatusCode::ACCEPTED, location, Answer(view)))
}

/// What `GET /v1/commands/{id}` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct OutcomeOptions {
    after: Option<AgentId>,
    limit: Option<usize>,
}

pub(in crate::http) async fn command(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(id): Id<CommandId>,
    Options(options): Options<OutcomeOptions>,
) -> Answered<CommandView> {
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.command(&caller, id, options.after, limit).await?))
}

/// What `GET /v1/commands/{id}/waiting` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct WaitingOptions {
    after: Option<String>,
    limit: Option<usize>,
}

pub(in crate::http) async fn waiting(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(id): Id<CommandId>,
    Options(options): Options<WaitingOptions>,
) -> Answered<WaitingPage> {
    let after = options.after.as_deref().map(read_place).transpose()?;
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.waiting(&caller, id, after, limit).await?))
}

pub(in crate::http) async fn cancel(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(id): Id<CommandId>,
) -> Answered<CommandView> {
    let engine = shared.engine;
    Ok(Answer(to_its_end(async move { engine.cancel(&caller, id).await }).await?))
}
