//! Bodies of the HTTP interface, all JSON.

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, CommandId, Facts, GroupPath, Kind, OperatorName, Outcome, Priority, Secret, SecretHash, Slot,
    Timestamp,
};

/// `POST /v1/enrol`: an agent makes itself known. Sent again with the same token and hash, it is the same use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The enrolment token.
    pub token: Secret,
    /// The id that the agent wishes; without it the broker gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// SHA-256 of the agent's own secret, which it keeps to itself.
    pub secret_sha256: SecretHash,
    /// What the agent tells of itself.
    pub facts: Facts,
}

/// The answer to [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The agent's id from now on.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
    /// Where to connect, `HOST:PORT`, in order of preference.
    pub endpoints: Vec<String>,
    /// The broker's CA in PEM; `null` where the system's roots are to be used.
    pub ca: Option<String>,
}

/// `GET /v1/commands/{id}`: a command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandView {
    /// The command.
    pub id: CommandId,
    /// What was asked.
    pub kind: Kind,
    /// Whom: an agent.
    pub agent: AgentId,
    /// Coalescing key.
    pub slot: Option<Slot>,
    /// Order within the inbox.
    pub priority: Priority,
    /// Why.
    pub reason: Option<String>,
    /// When it was accepted.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// Who published it.
    pub by: String,
    /// What became of it, by agent.
    pub outcomes: Vec<Outcome>,
}

/// One agent, as `GET /v1/agents` and `GET /v1/agents/{agent}` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its id.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
    /// Whether it is connected and subscribed now.
    pub connected: bool,
    /// When it was enrolled or imported.
    pub created: Timestamp,
    /// When it was last seen to connect or leave; `null` if never.
    pub last_seen: Option<Timestamp>,
    /// Address of its present connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its last facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// How many commands wait for it.
    pub pending: u32,
}

/// `GET /v1/agents?after=ID&limit=N`: a page of agents in order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPage {
    /// The agents.
    pub agents: Vec<AgentView>,
    /// What to give as `after` for the next page; `null` at the end.
    pub next: Option<AgentId>,
}

/// One line of the body of `POST /v1/agents/import` (JSON lines).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLine {
    /// The agent's id.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
}

/// One line of the answer to an import, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImportResult {
    /// Created; the secret is shown this once.
    Created {
        /// The agent.
        agent: AgentId,
        /// Its secret.
        secret: Secret,
    },
    /// Not created.
    Failed {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        error: String,
    },
}

/// `POST /v1/tokens`: asks for an enrolment token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it; 1 if not said.
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it is valid, in seconds; a day if not said.
    #[serde(default = "a_day")]
    pub expires_in: u32,
}

fn one() -> u32 {
    1
}

fn a_day() -> u32 {
    86_400
}

/// The answer to [`TokenRequest`]; the token is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// The token.
    pub token: Secret,
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it.
    pub uses: u32,
    /// Until when.
    pub expires: Timestamp,
}

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
