//! Who may send for whom.

use std::net::IpAddr;

use ipnet::IpNet;
use wakemq_protocol::{AgentId, GroupPath, Interface, MacAddr, Medium};

use super::site::{Place, Site, is_global, networks_of};

/// An agent that is connected and subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awake {
    /// Where it is.
    pub place: Place,
    /// It sends for its neighbours.
    pub relay: bool,
}

/// An agent that may send for a sleeper: there is no way to make one but [`judge`](Self::judge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    agent: AgentId,
    medium: Medium,
    networks: Vec<IpNet>,
}

/// Why an agent that is awake may not send for a sleeper.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is the sleeper.
    #[error("it is the endpoint itself")]
    Itself,
    /// It is outside the operator's right.
    #[error("it is outside your right")]
    NotYours,
    /// The first segments of their groups differ.
    #[error("it belongs to another tenant (the first segment of its group differs)")]
    OtherTenant,
    /// It was told not to.
    #[error("it does not relay (its agent was told not to, or is too old)")]
    DoesNotRelay,
    /// They have no network in common.
    #[error("it is on no subnet of the endpoint")]
    OtherSubnet,
    /// It has the same network at another site.
    #[error("its subnet {network} has the same number, but is another site's: {why}")]
    OtherSite {
        /// The network.
        network: IpNet,
        /// What tells the sites apart.
        why: String,
    },
    /// It has the same network behind another gateway.
    #[error("its subnet {network} is behind another gateway ({here} there, {there} at the endpoint)")]
    OtherGateway {
        /// The network.
        network: IpNet,
        /// What the agent's gateway is.
        here: String,
        /// What the sleeper's is.
        there: String,
    },
    /// Nothing tells whether their networks are the same.
    #[error(
        "it cannot be told whether its subnet {network} is the same: neither of the two knows its gateway's MAC"
    )]
    GatewayUnknown {
        /// The network.
        network: IpNet,
    },
}

impl Neighbour {
    /// Judges whether an awake agent may send for a sleeper, on behalf of an operator limited to `scope`.
    ///
    /// They share the first segment of their groups, a network with its length, the gateway's MAC behind it, and the
    /// site: both are seen by the broker under addresses of their own, or both under the same one of somebody else,
    /// or the network is a global one of IPv6. Where neither knows its gateway, both must be seen under addresses of
    /// their own.
    pub fn judge(sleeper: &Place, scope: &GroupPath, awake: &Awake) -> Result<Self, Unfit> {
        let place = &awake.place;
        if place.agent == sleeper.agent {
            return Err(Unfit::Itself);
        }
        if !scope.contains(&place.group) {
            return Err(Unfit::NotYours);
        }
        if place.tenant() != sleeper.tenant() {
            return Err(Unfit::OtherTenant);
        }
        if !awake.relay {
            return Err(Unfit::DoesNotRelay);
        }
        let mut found: Option<Self> = None;
        let mut unfit = Unfit::OtherSubnet;
        for own in &place.interfaces {
            for network in networks_of(own) {
                for other in &sleeper.interfaces {
                    if !networks_of(other).contains(&network) {
                        continue;
                    }
                    match same_subnet(network, (place, own), (sleeper, other)) {
                        Ok(()) => add(&mut found, &place.agent, own.medium, network),
                        Err(why) => unfit = why,
                    }
                }
            }
        }
        found.ok_or(unfit)
    }

    /// Returns the agent.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Tells by what it is connected to the sleeper's subnet.
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Returns the networks that it shares with the sleeper.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Sorts, best first: by cable before by radio, then by id.
    pub fn sort(neighbours: &mut [Self]) {
        neighbours.sort_by(|one, other| (one.medium, &one.agent).cmp(&(other.medium, &other.agent)));
    }
}

/// Notes a network that a neighbour shares with the sleeper.
fn add(found: &mut Option<Neighbour>, agent: &AgentId, medium: Medium, network: IpNet) {
    let new = || Neighbour { agent: agent.clone(), medium, networks: Vec::new() };
    let neighbour = found.get_or_insert_with(new);
    neighbour.medium = neighbour.medium.min(medium);
    if !neighbour.networks.contains(&network) {
        neighbour.networks.push(network);
    }
}

/// Tells whether the network of an interface of one is the same as that of an interface of another.
fn same_subnet(
    network: IpNet,
    relay: (&Place, &Interface),
    sleeper: (&Place, &Interface),
) -> Result<(), Unfit> {
    let (here, there) = (relay.0.site(), sleeper.0.site());
    match (here, there) {
        _ if is_global(network) => {}
        (Site::Direct, Site::Direct) => {}
        (Site::Behind(one), Site::Behind(other)) if one == other => {}
        (Site::Direct | Site::Behind(_) | Site::Unknown, _) => {
            let why = format!(
                "it connects from {}, and the endpoint did from {}",
                source_text(here, relay.0.source),
                source_text(there, sleeper.0.source)
            );
            return Err(Unfit::OtherSite { network, why });
        }
    }
    match (relay.1.gateway_mac, sleeper.1.gateway_mac) {
        (Some(one), Some(other)) if one == other => Ok(()),
        (None, None) if (here, there) == (Site::Direct, Site::Direct) => Ok(()),
        (None, None) => Err(Unfit::GatewayUnknown { network }),
        (one, other) => {
            let text = |mac: Option<MacAddr>| mac.map_or_else(|| "unknown".to_owned(), |mac| mac.to_string());
            Err(Unfit::OtherGateway { network, here: text(one), there: text(other) })
        }
    }
}

fn source_text(site: Site, source: Option<IpAddr>) -> String {
    match (site, source) {
        (Site::Direct, Some(address)) => format!("its own address {address}"),
        (Site::Behind(_), Some(address)) => format!("behind {address}"),
        (Site::Direct | Site::Behind(_) | Site::Unknown, _) => "an address that was not kept".to_owned(),
    }
}
