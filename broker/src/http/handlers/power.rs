//! Switching on: whether an endpoint can be, and packets for machines without an agent.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use wakemq_protocol::AgentId;
use wakemq_protocol::http::{PowerView, WolRequest};

use super::{Answered, to_its_end};
use crate::http::Shared;
use crate::http::extract::{Asking, Id, Json};
use crate::http::problem::Refusal;

pub(in crate::http) async fn explain(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(agent): Id<AgentId>,
) -> Answered<PowerView> {
    Ok(Answer(shared.engine.explain_power(&caller, agent).await?))
}

/// Answers 202 with the agent's command where an agent sends, 200 where the broker has sent.
pub(in crate::http) async fn wol(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Json(request): Json<WolRequest>,
) -> Result<Response, Refusal> {
    let engine = shared.engine;
    let answer = to_its_end(async move { engine.wol(&caller, request).await }).await?;
    Ok(match answer.command {
        Some(id) => {
            let location = AppendHeaders([(LOCATION, format!("/v1/commands/{id}"))]);
            (StatusCode::ACCEPTED, location, Answer(answer)).into_response()
        }
        None => Answer(answer).into_response(),
    })
}
