//! Facts: what an agent tells of itself at each connection.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::json::Brief;
use crate::limits::FACTS_MAX;
use crate::{MacAddr, Reach};

/// What an agent tells of itself at each connection, in at most 8 KiB of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Random for each process of the agent.
    pub instance: String,
    /// Changes at each boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Changes at each resume from suspend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_id: Option<String>,
    /// Seconds since boot, by a clock that counts suspend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_boot: Option<u64>,
    /// Seconds since the last resume, by a clock that counts suspend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_resume: Option<u64>,
    /// The endpoint's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Operating system and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its physical network interfaces, the wired ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// It sends Wake-on-LAN packets for its neighbours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relay: bool,
    /// By which way it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

/// A physical network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name on the endpoint.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Wired or wireless.
    pub medium: Medium,
    /// Its addresses, each with the length of its prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// The MAC address of the gateway behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_mac: Option<MacAddr>,
}

/// What an interface is connected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// A cable.
    Wired,
    /// Radio.
    Wireless,
}

/// Says why a payload is no facts document.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// Larger than 8 KiB.
    #[error("the facts have {0} bytes; at most {FACTS_MAX} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not of the form of facts.
    #[error("the payload is not a facts document: {}", Brief(.0))]
    Json(#[from] serde_json::Error),
}

impl Facts {
    /// Parses a payload and checks its limits.
    pub fn from_json(payload: &[u8]) -> Result<Self, FactsError> {
        if payload.len() > FACTS_MAX {
            return Err(FactsError::TooLarge(payload.len()));
        }
        Ok(serde_json::from_slice(payload)?)
    }
}
