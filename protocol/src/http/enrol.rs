//! Enrolment.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Facts, GroupPath, Secret, SecretHash};

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
