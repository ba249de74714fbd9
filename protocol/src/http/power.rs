//! Power: whether an endpoint can be woken, and magic packets for machines without an agent.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{AgentId, CommandId, MacAddr, SecureOn};

/// `GET /v1/agents/{agent}/power`: whether an endpoint can be switched on now, how, and if not why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerView {
    /// The endpoint.
    pub agent: AgentId,
    /// Whether it is connected and subscribed now.
    pub connected: bool,
    /// Whether magic packets for it could be sent now.
    pub can_wake: bool,
    /// The MACs that packets would carry, in order.
    pub macs: Vec<MacAddr>,
    /// The subnets where it was last.
    pub subnets: Vec<IpNet>,
    /// The awake relays there that the operator may use, best first, at most ten.
    pub relays: Vec<AgentId>,
    /// The same in sentences.
    pub findings: Vec<String>,
    /// What to do about it, in sentences.
    pub advice: Vec<String>,
}

/// `POST /v1/wol`: sends magic packets for a machine without an agent, through one agent or from the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WolRequest {
    /// Whose adapter is to wake.
    pub mac: MacAddr,
    /// Through this agent, on all its physical interfaces; without it the broker sends, to the addresses that it is
    /// configured with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<AgentId>,
    /// The adapter's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secureon: Option<SecureOn>,
}

/// The answer to a [`WolRequest`]; it says what was sent, not whether the machine came up, which nobody can know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WolAnswer {
    /// The `relay` command of the agent that was asked: `GET /v1/commands/{id}` tells what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// To where the broker sent, `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<String>,
    /// What went wrong, a line for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}
