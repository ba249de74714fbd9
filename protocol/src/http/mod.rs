//! Bodies of the HTTP interface, all JSON.

mod agents;
mod audit;
mod commands;
mod enrol;
mod groups;
mod operators;
mod poll;
mod power;
mod tokens;

use serde::{Deserialize, Serialize};

use crate::{OperatorName, Secret};

pub use agents::{AgentPage, AgentView, ImportLine, ImportResult, MoveRequest};
pub use audit::{AuditEntry, AuditPage};
pub use commands::{CommandRequest, CommandView, WaitingAgent, WaitingPage};
pub use enrol::{EnrolAnswer, EnrolRequest};
pub use groups::{GroupPage, GroupRename, GroupRequest, GroupView};
pub use operators::{OperatorAnswer, OperatorChange, OperatorPage, OperatorRequest, OperatorView};
pub use poll::{PollAnswer, PollRequest};
pub use power::{PowerView, WolAnswer, WolRequest};
pub use tokens::{TokenAnswer, TokenPage, TokenRequest, TokenView};

/// The operator's profile, as `wakemqd init` writes it and `wakemq` reads it (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The operator.
    pub operator: OperatorName,
    /// Its secret.
    pub secret: Secret,
    /// Where the broker is, `HOST[:PORT]`, in order of preference.
    pub endpoints: Vec<String>,
    /// The broker's CA in PEM; without it the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// An error, as a problem document (RFC 9457), `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// A stable name for the kind of problem, `urn:wakemq:problem:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
}
