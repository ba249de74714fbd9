//! Commands.

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, CommandId, CommandState, Counts, GroupPath, Kind, Outcome, PowerStep, Priority, Slot,
    Submission, Timestamp,
};

/// `POST /v1/commands`: a submission with its target, exactly one of `agent` and `group`.
///
/// The answer is 202 and a [`CommandView`]: the command is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// For this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// For all agents of this group's subtree; the empty path is the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPath>,
    /// What is asked.
    #[serde(flatten)]
    pub submission: Submission,
}

/// `GET /v1/commands/{id}?after=NEXT&limit=N`: a command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandView {
    /// The command.
    pub id: CommandId,
    /// What was asked.
    pub kind: Kind,
    /// Whom: an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Whom: all agents that were in this subtree when it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPath>,
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
    /// For a group: what it is for an agent of which nothing else is known, `queued` while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CommandState>,
    /// For a group: how many agents are in each state, counted for this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What became of it, by agent; for a group those of whom something is known, in order of their ids.
    pub outcomes: Vec<Outcome>,
    /// The evidence of a `power` command, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<PowerStep>,
    /// What to give as `after` for the next page of outcomes; `null` at the end.
    pub next: Option<AgentId>,
}

/// An agent that a command for a group still waits for, and of which nothing else is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingAgent {
    /// Its id.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
}

/// `GET /v1/commands/{id}/waiting?after=NEXT&limit=N`: a page of the agents that a command for a group still waits
/// for, by group and then by id.
///
/// A page may be shorter than `limit`, or empty, and not the last: `next` alone tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingPage {
    /// The agents.
    pub agents: Vec<WaitingAgent>,
    /// What to give as `after` for the next page, as it is; `null` at the end.
    pub next: Option<String>,
}
