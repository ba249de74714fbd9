//! `/v1/agents`, and how an agent makes itself known.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use serde::Deserialize;
use wakemq_protocol::http::{AgentPage, AgentView, EnrolAnswer, EnrolRequest, MoveRequest};
use wakemq_protocol::{AgentId, GroupPath, Transport};

use super::{Answered, PAGE_DEFAULT, to_its_end};
use crate::engine::{AgentFilter, EngineError, read_place};
use crate::http::extract::{Asking, Id, Json, Options, refuse_secret};
use crate::http::problem::Refusal;
use crate::http::{Peer, Shared};

pub(in crate::http) async fn enrol(
    State(shared): State<Shared>,
    peer: Option<Extension<Peer>>,
    Json(request): Json<EnrolRequest>,
) -> Answered<EnrolAnswer> {
    let peer = peer.map(|Extension(peer)| peer);
    match shared.engine.enrol(request, peer.map(|Peer(address)| address)).await {
        Ok(answer) => Ok(Answer(answer)),
        Err(error @ EngineError::TokenUnknown) => Err(refuse_secret(&shared, peer, error.into()).await),
        Err(error) => Err(error.into()),
    }
}

/// Whether an agent is there.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Presence {
    Connected,
    Away,
}

/// What `GET /v1/agents` takes behind the `?`.
#[derive(Deserialize)]
pub(in crate::http) struct AgentOptions {
    group: Option<GroupPath>,
    state: Option<Presence>,
    transport: Option<Transport>,
    after: Option<String>,
    limit: Option<usize>,
}

pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Options(options): Options<AgentOptions>,
) -> Answered<AgentPage> {
    let filter = AgentFilter {
        group: options.group,
        connected: options.state.map(|state| state == Presence::Connected),
        transport: options.transport,
        after: options.after.as_deref().map(read_place).transpose()?,
        limit: options.limit.unwrap_or(PAGE_DEFAULT),
    };
    Ok(Answer(shared.engine.agents(&caller, filter).await?))
}

pub(in crate::http) async fn agent(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(agent): Id<AgentId>,
) -> Answered<AgentView> {
    Ok(Answer(shared.engine.agent(&caller, agent).await?))
}

pub(in crate::http) async fn relocate(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(agent): Id<AgentId>,
    Json(request): Json<MoveRequest>,
) -> Answered<AgentView> {
    let engine = shared.engine;
    Ok(Answer(to_its_end(async move { engine.move_agent(&caller, agent, request.group).await }).await?))
}

pub(in crate::http) async fn revoke(
    State(shared): State<Shared>,
    Asking(caller): Asking,
    Id(agent): Id<AgentId>,
) -> Result<StatusCode, Refusal> {
    let engine = shared.engine;
    to_its_end(async move { engine.revoke_agent(&caller, agent).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
