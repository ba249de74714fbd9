//! Agents: pages, moves, imports.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Facts, GroupPath, Secret, Timestamp, Transport};

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
    /// How it speaks on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Its last facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// How many commands wait for it.
    pub pending: u32,
}

/// `GET /v1/agents?group=PATH&state=connected|away&transport=mqtt|websocket|poll&after=NEXT&limit=N`: a page of agents,
/// by group and then by id; with `transport` of those that are connected by it.
///
/// A page may be shorter than `limit`, or empty, and not the last: `next` alone tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPage {
    /// The agents.
    pub agents: Vec<AgentView>,
    /// What to give as `after` for the next page, as it is; `null` at the end.
    pub next: Option<String>,
}

/// `POST /v1/agents/{agent}/move`: takes an agent into another group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    /// The group that it joins.
    pub group: GroupPath,
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
