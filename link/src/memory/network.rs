//! By what a network is known again.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wakemq_protocol::MacAddr;

/// By what a network is known again: the MAC address of its gateway, and its own addresses, since virtual routers have
/// the same MAC address in many networks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct NetworkKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<MacAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<IpNet>,
}

impl NetworkKey {
    /// Makes the key of the network with this gateway, in which the endpoint has an address of this prefix.
    pub fn new(gateway: Option<MacAddr>, address: Option<IpNet>) -> Self {
        Self { gateway, prefix: address.map(|address| address.trunc()) }
    }

    /// Tells whether the network can be told from others: not without a gateway, nor by a virtual router's MAC alone.
    pub fn is_known(&self) -> bool {
        self.gateway.is_some_and(|mac| self.prefix.is_some() || !mac.is_virtual_router())
    }
}
