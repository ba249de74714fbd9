//! The endpoint's network interfaces as far as Wake-on-LAN goes, one module for each operating system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;
use wakemq_link::NetworkKey;
use wakemq_protocol::Interface;

#[cfg(target_os = "linux")]
pub(crate) use system::ChangeWatch;
pub(crate) use system::{CAN_SEND, bind_to_device, index_of};

/// More interfaces are left out: the facts have a limit.
pub(crate) const INTERFACES_MAX: usize = 16;
/// More addresses of an interface are left out.
#[cfg(any(target_os = "linux", test))]
const ADDRESSES_MAX: usize = 8;
/// Discard: whatever comes there is thrown away.
const DISCARD_PORT: u16 = 9;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapter {
    /// What is told of it.
    pub(crate) interface: Interface,
    /// Where its addresses are: itself, or the bridge or bond that it is a part of. Packets leave through that.
    pub(crate) device: String,
    /// The gateway behind it, if its MAC address is not known.
    pub(crate) unresolved: Option<SocketAddr>,
}

/// The network in which the endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Present {
    /// By what it is known again.
    pub(crate) key: NetworkKey,
    /// The endpoint's addresses in it. Where they change, connections are dead.
    pub(crate) addresses: Vec<IpNet>,
    /// The gateway, if its MAC address is not known.
    pub(crate) unresolved: Option<SocketAddr>,
}

/// Reads in which network the endpoint is; `None` if in none.
pub(crate) fn present() -> Option<Present> {
    system::present().unwrap_or_else(|error| {
        tracing::warn!(%error, "the present network cannot be read");
        Some(Present::default())
    })
}

/// Reads the physical interfaces and those that are named, the wired ones first. What cannot be read is left out.
pub(crate) fn read(named: &[String]) -> Vec<Adapter> {
    system::read(named).unwrap_or_else(|error| {
        tracing::warn!(%error, "the network interfaces cannot be read");
        Vec::new()
    })
}

/// Makes the system find out a gateway's MAC address, by an empty datagram to a port where nobody reads.
///
/// An endpoint whose broker is on its own network may never have sent anything through its gateway.
pub(crate) fn nudge(gateway: SocketAddr) -> io::Result<()> {
    let from = match gateway {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    UdpSocket::bind(from)?.send_to(&[], gateway).map(drop)
}
