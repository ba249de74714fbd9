//! What a client remembers of the networks that it was in: which way led to the broker, and which heartbeat each way
//! bore.
//!
//! It is data alone: whoever keeps it writes it down as JSON, and gives the machines what they ask for.

mod network;

use serde::{Deserialize, Serialize};

use crate::Learned;

pub use network::NetworkKey;

/// Networks that are remembered; the one that was left longest ago makes room.
const NETWORKS_MAX: usize = 32;
/// Heartbeats that are remembered of one network; the one that was learned longest ago makes room.
const HEARTBEATS_MAX: usize = 8;
/// Version of the form.
const VERSION: u32 = 1;

/// What is remembered of networks, the latest last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Memory {
    networks: Vec<Known>,
    /// The network that cannot be told from others, for as long as the client is in it.
    unnamed: Option<Known>,
}

/// What is remembered of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    network: NetworkKey,
    /// The way that led to the broker last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heartbeats: Vec<WayHeartbeat>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WayHeartbeat {
    way: String,
    #[serde(flatten)]
    learned: Learned,
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    networks: Vec<Known>,
}

impl From<Form> for Memory {
    /// Takes no more than a memory may hold. One of another version is begun anew: it can be learned again.
    fn from(form: Form) -> Self {
        let mut networks = if form.version == VERSION { form.networks } else { Vec::new() };
        networks.drain(..networks.len().saturating_sub(NETWORKS_MAX));
        for known in &mut networks {
            known.heartbeats.drain(..known.heartbeats.len().saturating_sub(HEARTBEATS_MAX));
        }
        Self { networks, unnamed: None }
    }
}

impl From<Memory> for Form {
    fn from(memory: Memory) -> Self {
        Self { version: VERSION, networks: memory.networks }
    }
}

impl Memory {
    /// Returns the way that led to the broker last in `network`, by its name.
    pub fn way(&self, network: &NetworkKey) -> Option<&str> {
        self.known(network)?.way.as_deref()
    }

    /// Remembers that `way` led to the broker. Returns whether there is something new to write down.
    pub fn set_way(&mut self, network: &NetworkKey, way: &str) -> bool {
        self.change(network, |known| known.way = Some(way.to_owned()))
    }

    /// Returns what was learned of the heartbeat of `way` in `network`.
    pub fn heartbeat(&self, network: &NetworkKey, way: &str) -> Option<&Learned> {
        let heartbeats = &self.known(network)?.heartbeats;
        heartbeats.iter().find(|heartbeat| heartbeat.way == way).map(|heartbeat| &heartbeat.learned)
    }

    /// Remembers the heartbeat of `way`. Returns whether there is something new to write down.
    pub fn set_heartbeat(&mut self, network: &NetworkKey, way: &str, learned: Learned) -> bool {
        self.change(network, |known| {
            known.heartbeats.retain(|heartbeat| heartbeat.way != way);
            known.heartbeats.push(WayHeartbeat { way: way.to_owned(), learned });
            known.heartbeats.drain(..known.heartbeats.len().saturating_sub(HEARTBEATS_MAX));
        })
    }

    fn known(&self, network: &NetworkKey) -> Option<&Known> {
        self.networks.iter().chain(&self.unnamed).find(|known| known.network == *network)
    }

    /// Changes what is remembered of one network, which is the latest then. One that cannot be told from others is
    /// forgotten as soon as the client is in another.
    fn change(&mut self, network: &NetworkKey, change: impl FnOnce(&mut Known)) -> bool {
        let position = self.networks.iter().position(|known| known.network == *network);
        let unnamed = self.unnamed.take().filter(|known| known.network == *network);
        let before = position.map(|index| self.networks.remove(index)).or(unnamed);
        let mut known = before.clone().unwrap_or_else(|| Known {
            network: network.clone(),
            way: None,
            heartbeats: Vec::new(),
        });
        change(&mut known);
        if !network.is_known() {
            self.unnamed = Some(known);
            return false;
        }
        let changed = before.as_ref() != Some(&known) || position != Some(self.networks.len());
        self.networks.push(known);
        self.networks.drain(..self.networks.len().saturating_sub(NETWORKS_MAX));
        changed
    }
}

#[cfg(test)]
mod tests;
