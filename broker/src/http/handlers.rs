//! What each path does.

use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::{Extension, Json as Answer};
use serde::Deserialize;
use wakemq_protocol::http::{
    AgentPage, AgentView, CommandView, EnrolAnswer, EnrolRequest, TokenAnswer, TokenRequest,
};
use wakemq_protocol::{AgentId, CommandId};

use super::extract::{Caller, Id, Json, Options, refuse_secret};
use super::problem::{Kind, Refusal};
use super::{Peer, Shared};
use crate::engine::EngineError;

/// How many agents a page shows if the request does not say.
const PAGE_DEFAULT: usize = 100;
/// How long the store may take to answer a health check.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

type Answered<T> = Result<Answer<T>, Refusal>;

pub(super) async fn enrol(
    State(shared): State<Shared>,
    peer: Option<Extension<Peer>>,
    Json(request): Json<EnrolRequest>,
) -> Answered<EnrolAnswer> {
    match shared.engine.enrol(request).await {
        Ok(answer) => Ok(Answer(answer)),
        Err(error @ EngineError::TokenUnknown) => {
            Err(refuse_secret(&shared, peer.map(|Extension(peer)| peer), error.into()).await)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn command(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Id(id): Id<CommandId>,
) -> Answered<CommandView> {
    Ok(Answer(shared.engine.command(&who, id).await?))
}

pub(super) async fn cancel(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Id(id): Id<CommandId>,
) -> Answered<CommandView> {
    Ok(Answer(shared.engine.cancel(&who, id).await?))
}

/// What `GET /v1/agents` takes behind the `?`.
#[derive(Deserialize)]
pub(super) struct PageOptions {
    after: Option<AgentId>,
    limit: Option<usize>,
}

pub(super) async fn agents(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Options(options): Options<PageOptions>,
) -> Answered<AgentPage> {
    let limit = options.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Answer(shared.engine.agents(&who, options.after, limit).await?))
}

pub(super) async fn agent(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Id(agent): Id<AgentId>,
) -> Answered<AgentView> {
    Ok(Answer(shared.engine.agent(&who, agent).await?))
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Id(agent): Id<AgentId>,
) -> Result<StatusCode, Refusal> {
    shared.engine.revoke_agent(&who, agent).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn create_token(
    State(shared): State<Shared>,
    Caller(who): Caller,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Answer<TokenAnswer>), Refusal> {
    Ok((StatusCode::CREATED, Answer(shared.engine.create_token(&who, request).await?)))
}

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can serve: it is not shutting down, and its store can be read.
pub(super) async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Refusal> {
    if *shared.draining.borrow() {
        return Err(Refusal::new(Kind::Draining, "connect to another broker, or wait for its return"));
    }
    match tokio::time::timeout(HEALTH_LIMIT, shared.engine.check_store()).await {
        Ok(checked) => checked?,
        Err(_) => return Err(Refusal::new(Kind::Unavailable, "the store does not answer")),
    }
    Ok("ready\n")
}

pub(super) async fn not_found(uri: Uri) -> Refusal {
    Refusal::new(Kind::NotFound, format!("there is nothing at {}", uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{method} is not possible at {}; see the header Allow", uri.path());
    Refusal::new(Kind::MethodNotAllowed, detail)
}
