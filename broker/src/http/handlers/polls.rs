//! What agents do that ask by long poll.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use wakemq_protocol::http::{PollAnswer, PollRequest};
use wakemq_protocol::{Facts, FactsError, Receipt, ReceiptError, Report, ReportError};

use crate::http::Shared;
use crate::http::extract::{AskingAgent, Document, Json};
use crate::http::later::Later;
use crate::http::problem::{Kind, Refusal};

pub(in crate::http) async fn poll(
    State(shared): State<Shared>,
    AskingAgent(who): AskingAgent,
    Json(request): Json<PollRequest>,
) -> Later {
    Later::new(async move {
        match shared.polls.poll(who, request).await {
            Ok(answer) => answered(answer),
            Err(error) => Refusal::from(error).into_response(),
        }
    })
}

fn answered(answer: PollAnswer) -> Response {
    let status = match &answer {
        PollAnswer::Commands { .. }
        | PollAnswer::Idle
        | PollAnswer::Superseded
        | PollAnswer::Retry { .. } => StatusCode::OK,
        PollAnswer::HeartbeatOutOfRange { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Answer(answer)).into_response()
}

pub(in crate::http) async fn receipt(
    State(shared): State<Shared>,
    AskingAgent(who): AskingAgent,
    Document(body): Document,
) -> Result<StatusCode, Refusal> {
    let receipt = Receipt::from_json(&body).map_err(|error| match &error {
        ReceiptError::TooLarge(_) => Refusal::new(Kind::TooLarge, error.to_string()),
        ReceiptError::Detail(_) => Refusal::new(Kind::Invalid, error.to_string()),
        ReceiptError::Json(cause) => Refusal::new(Kind::of_json(cause), error.to_string()),
    })?;
    shared.polls.receipt(who, receipt).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn facts(
    State(shared): State<Shared>,
    AskingAgent(who): AskingAgent,
    Document(body): Document,
) -> Result<StatusCode, Refusal> {
    let facts = Facts::from_json(&body).map_err(|error| match &error {
        FactsError::TooLarge(_) => Refusal::new(Kind::TooLarge, error.to_string()),
        FactsError::Json(cause) => Refusal::new(Kind::of_json(cause), error.to_string()),
    })?;
    shared.polls.facts(who, facts).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn report(
    State(shared): State<Shared>,
    AskingAgent(who): AskingAgent,
    Document(body): Document,
) -> Result<StatusCode, Refusal> {
    let report = Report::from_json(&body).map_err(|error| match &error {
        ReportError::TooLarge(_) => Refusal::new(Kind::TooLarge, error.to_string()),
        ReportError::Json(cause) => Refusal::new(Kind::of_json(cause), error.to_string()),
    })?;
    shared.polls.report(who, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
