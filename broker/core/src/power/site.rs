//! Where an endpoint is, as far as that can be known: which subnets at which site.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;
use wakemq_protocol::{AgentId, GroupPath, Interface, MacAddr};

/// What is known of where an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The agent.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
    /// The address that its present or last connection came from.
    pub source: Option<IpAddr>,
    /// Its interfaces, as it told.
    pub interfaces: Vec<Interface>,
}

impl Place {
    /// Returns the first segment of its group: the tenant. Those in the root itself share one.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.group.segments().next()
    }

    /// Returns how the broker sees it.
    pub(super) fn site(&self) -> Site {
        let Some(source) = self.source.map(|source| source.to_canonical()) else { return Site::Unknown };
        let own = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        if own.into_iter().any(|own| own.addr() == source) { Site::Direct } else { Site::Behind(source) }
    }
}

/// How the broker sees an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Site {
    /// Under an address of its own.
    Direct,
    /// Under the address of somebody else, which translates for its site.
    Behind(IpAddr),
    /// It has not connected since such things are kept.
    Unknown,
}

/// A subnet at a site of a tenant: agents that have one in common may relay for each other, others may not.
///
/// An index of awake relays keeps [`id`](Self::id), which is compact; that two ids are equal by accident is harmless,
/// because [`Neighbour::judge`](super::Neighbour::judge) decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubnetKey {
    tenant: Option<Box<str>>,
    network: IpNet,
    gateway: Option<MacAddr>,
    site: KeySite,
}

/// What tells apart two sites with the same network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum KeySite {
    /// The network itself, which there is once in the world.
    Global,
    /// The broker reaches it without translation, and so there is one of it.
    Direct,
    /// The address that translates for it.
    Behind(IpAddr),
}

impl SubnetKey {
    /// Returns the network.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Returns a hash, the same as long as the process lives.
    pub fn id(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Returns the subnets where an agent is, none of them twice; none for an agent that tells of no interfaces.
pub fn subnet_keys(place: &Place) -> Vec<SubnetKey> {
    let site = place.site();
    let mut keys = Vec::new();
    for interface in &place.interfaces {
        for network in networks_of(interface) {
            let Some(site) = key_site(site, network, interface.gateway_mac) else { continue };
            let tenant = place.tenant().map(Into::into);
            let key = SubnetKey { tenant, network, gateway: interface.gateway_mac, site };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// Returns what tells this subnet from its like elsewhere; `None` if nothing does.
fn key_site(site: Site, network: IpNet, gateway: Option<MacAddr>) -> Option<KeySite> {
    match (gateway, site) {
        // Without a gateway's MAC only those that the broker sees under addresses of their own are told apart.
        (None, Site::Behind(_) | Site::Unknown) => None,
        (Some(_) | None, _) if is_global(network) => Some(KeySite::Global),
        (Some(_) | None, Site::Direct) => Some(KeySite::Direct),
        (Some(_), Site::Behind(address)) => Some(KeySite::Behind(address)),
        (Some(_), Site::Unknown) => None,
    }
}

/// Returns the networks of an interface in which neighbours may be.
///
/// Link-local addresses are the same at every site, and an address that is its whole network has no neighbours.
/// Loopback counts: agents leave it out of what they read, so that where it stands it was declared.
pub(super) fn networks_of(interface: &Interface) -> BTreeSet<IpNet> {
    let counts = |network: &&IpNet| {
        let usable = match network.addr() {
            IpAddr::V4(address) => !address.is_link_local() && !address.is_multicast(),
            IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_multicast(),
        };
        usable
            && !network.addr().is_unspecified()
            && network.prefix_len() > 0
            && network.prefix_len() < network.max_prefix_len()
    };
    interface.addresses.iter().filter(counts).map(IpNet::trunc).collect()
}

/// Tells whether there is one network of this number in the world (2000::/3).
pub(super) fn is_global(network: IpNet) -> bool {
    match network {
        IpNet::V4(_) => false,
        IpNet::V6(network) => network.prefix_len() >= 3 && network.addr().segments()[0] & 0xe000 == 0x2000,
    }
}
