//! What an answer to a poll says.

use std::time::Duration;

use hyper::header::RETRY_AFTER;
use serde::Deserialize;
use wakemq_protocol::http::{PollAnswer, Problem};

use crate::http::{Answer, StatusCode};
use crate::mqtt::{ConnectError, ReasonCode, SessionError};
use crate::tunnel::shown;

/// What became of a poll.
#[derive(Debug)]
pub(super) enum Polled {
    /// Commands, as the broker wrote them: what this version does not understand is the agent's to refuse.
    Commands(Vec<serde_json::Value>),
    Idle,
    Superseded,
    Retry {
        after: u32,
    },
    OutOfRange {
        heartbeat: u32,
    },
    Refused(Refused),
}

/// A status that is no answer to a poll, in the terms of MQTT.
#[derive(Debug)]
pub(super) struct Refused {
    code: Option<ReasonCode>,
    reason: String,
    return_secs: Option<u32>,
}

/// The commands of an answer, before each is looked at.
#[derive(Deserialize)]
struct Page {
    commands: Vec<serde_json::Value>,
}

impl Polled {
    /// Reads an answer; what no broker says is an error.
    pub(super) fn read(answer: &Answer) -> Result<Self, SessionError> {
        match answer.status {
            StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => {}
            _ => return Ok(Self::Refused(Refused::read(answer))),
        }
        let strange = |error: serde_json::Error| {
            let begins = shown(&answer.body);
            SessionError::Protocol(format!(
                "the answer to a poll is not a broker's ({error}), and begins with {begins:?}"
            ))
        };
        if let Ok(Page { commands }) = serde_json::from_slice(&answer.body) {
            return Ok(Self::Commands(commands));
        }
        Ok(match serde_json::from_slice(&answer.body).map_err(strange)? {
            PollAnswer::Commands { .. } => Self::Commands(Vec::new()),
            PollAnswer::Idle => Self::Idle,
            PollAnswer::Superseded => Self::Superseded,
            PollAnswer::Retry { after } => Self::Retry { after },
            PollAnswer::HeartbeatOutOfRange { heartbeat } => Self::OutOfRange { heartbeat },
        })
    }
}

impl Refused {
    pub(super) fn read(answer: &Answer) -> Self {
        let status = answer.status;
        let code = match status.as_u16() {
            401 => Some(ReasonCode::BAD_CREDENTIALS),
            403 => Some(ReasonCode::NOT_AUTHORIZED),
            429 => Some(ReasonCode::CONNECTION_RATE_EXCEEDED),
            503 => Some(ReasonCode::SERVER_UNAVAILABLE),
            _ => None,
        };
        let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { code, reason: words(answer), return_secs: retry_after }
    }

    /// Returns the words and the code, for a session that had begun.
    pub(super) fn into_end(self) -> Result<(ReasonCode, String, Option<u32>), SessionError> {
        match self.code {
            Some(code) => Ok((code, self.reason, self.return_secs)),
            None => Err(SessionError::Protocol(self.reason)),
        }
    }
}

impl From<Refused> for ConnectError {
    fn from(refused: Refused) -> Self {
        match refused.into_end() {
            Ok((code, reason, return_secs)) => Self::Refused { code, reason: Some(reason), return_secs },
            Err(error) => Self::Session(error),
        }
    }
}

/// Says in words what a status means that is no success.
pub(super) fn words(answer: &Answer) -> String {
    let status = answer.status;
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => format!("{} ({status})", problem.detail),
        Err(_) if answer.body.is_empty() => format!("answered {status}, without the words of a broker"),
        Err(_) => format!("answered {status} with what is not a broker's: {:?}", shown(&answer.body)),
    }
}

/// Translates the status of what was posted to a reason code of MQTT: what is final has to look so.
///
/// The broker answers 204 and nothing else when it has taken a document: another success is the page of somebody
/// between. And 401, 403 or 407 may be such a one's too: what is posted is not given up for it.
pub(super) fn posted_code(status: StatusCode) -> ReasonCode {
    match status.as_u16() {
        204 => ReasonCode::SUCCESS,
        400 | 404 | 413 | 422 => ReasonCode::PAYLOAD_INVALID,
        _ => ReasonCode::IMPLEMENTATION_SPECIFIC,
    }
}

/// So much of the heartbeat has to pass before an idle answer shows that the network bears it.
const WHOLE: f64 = 0.9;

/// Tells whether an idle answer came after the whole heartbeat.
pub(super) fn is_whole(waited: Duration, heartbeat_secs: u32) -> bool {
    waited >= Duration::from_secs(heartbeat_secs.into()).mul_f64(WHOLE)
}
