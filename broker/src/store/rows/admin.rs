//! Agents, operators, tokens, and whom a secret belongs to.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wakemq_protocol::{AgentId, Facts, GroupPath, OperatorName, SecretHash, Timestamp};

use super::get;
use crate::store::kv::{ReadKv, Table};
use crate::store::{Principal, Role, StoreError};

/// An agent as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Agent {
    pub(in crate::store) agent: AgentId,
    pub(in crate::store) group: GroupPath,
    pub(in crate::store) inside_since: Vec<u64>,
    pub(in crate::store) secret: SecretHash,
    pub(in crate::store) created: Timestamp,
}

impl Agent {
    /// Tells whether the agent, and not another that had its id before, was there when something was given a sequence
    /// number. No move changes since when it is in the root.
    pub(in crate::store) fn existed_at(&self, sequence: u64) -> bool {
        self.inside_since.first().is_some_and(|&since| sequence > since)
    }
}

/// When an agent was seen: apart from [`Agent`], which is read whenever commands are handed out, because facts are
/// large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Seen {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) last_seen: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) facts: Option<Facts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) source: Option<IpAddr>,
}

/// An operator as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Operator {
    pub(in crate::store) secret: SecretHash,
    pub(in crate::store) role: Role,
    pub(in crate::store) group: GroupPath,
    pub(in crate::store) created: Timestamp,
}

/// An enrolment token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Token {
    pub(in crate::store) group: GroupPath,
    pub(in crate::store) uses: u32,
    pub(in crate::store) uses_left: u32,
    pub(in crate::store) expires: Timestamp,
    pub(in crate::store) by: String,
}

/// Whom a secret belongs to, complete, so that authenticating is one look-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::store) enum Owner {
    Agent { agent: AgentId, group: GroupPath },
    Operator { name: OperatorName, role: Role, scope: GroupPath },
}

/// Reads an agent.
pub(in crate::store) fn agent(kv: &dyn ReadKv, agent_key: &str) -> Result<Option<Agent>, StoreError> {
    get(kv, Table::Agents, agent_key.as_bytes())
}

impl From<Owner> for Principal {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Agent { agent, group } => Self::Agent { agent, group },
            Owner::Operator { name, role, scope } => Self::Operator { name, role, scope },
        }
    }
}
