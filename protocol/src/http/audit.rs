//! The audit trail.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{GroupPath, Timestamp};

/// One line of the audit trail: who did what, from where, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number; later lines have higher ones.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: `op:` and the operator's name, `agent:` and the agent's id, or `system`.
    pub by: String,
    /// From which address; `null` where it came over no connection.
    pub address: Option<String>,
    /// What was done: `agent.move`, `operator.create`, …
    pub action: String,
    /// To what: an agent's id, a group's path, a name.
    pub target: String,
    /// In which group: operators limited to another part of the hierarchy do not see the line.
    pub group: GroupPath,
    /// How it was before; `null` if it was not.
    pub before: Option<Value>,
    /// How it is now; `null` if it is no more.
    pub after: Option<Value>,
}

/// `GET /v1/audit?since=TIME&after=SEQ&limit=N`: a page of the audit trail, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<AuditEntry>,
    /// What to give as `after` for the next page; `null` at the end.
    pub next: Option<u64>,
}
