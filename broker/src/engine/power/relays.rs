//! Which agents are awake and send for their neighbours, by subnet.
//!
//! An agent is in here from the moment when it tells of itself until its connection ends or it unsubscribes. One that
//! tells of no interfaces, or does not relay, has no entry. Whoever is found here is judged once more before it is
//! asked: the index only makes the search short.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;
use parking_lot::Mutex;
use wakemq_core::power::{Place, SubnetKey, subnet_keys};
use wakemq_protocol::{AgentId, Medium};

use crate::registry::ConnectionId;

/// On how many subnets of an endpoint relays are looked for at most: an agent may tell of any number.
const SUBNETS_MAX: usize = 16;

/// The awake relays of this process.
#[derive(Debug, Default)]
pub(super) struct Relays {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// By the id of its key.
    subnets: HashMap<u64, Subnet>,
    relays: HashMap<AgentId, Relay>,
}

#[derive(Debug)]
struct Subnet {
    network: IpNet,
    /// By cable before by radio, then by id.
    relays: BTreeSet<(Medium, AgentId)>,
    /// There were two at a time: where there never were, nobody has lost a neighbour.
    was_shared: bool,
}

#[derive(Debug)]
struct Relay {
    connection: ConnectionId,
    subnets: Box<[(u64, Medium)]>,
}

/// A subnet that has one awake relay left, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fall {
    /// The id of its key.
    pub(super) subnet: u64,
    /// The subnet.
    pub(super) network: IpNet,
    /// Who is not an awake relay there any more.
    pub(super) gone: AgentId,
    /// The only one that is left.
    pub(super) last: Option<AgentId>,
}

impl Relays {
    /// Takes what an agent tells of itself; returns what it makes worse.
    pub(super) fn tells(&self, place: &Place, relay: bool, connection: ConnectionId) -> Vec<Fall> {
        let subnets: Vec<_> = if relay { subnets(place) } else { Vec::new() };
        let mut index = self.index.lock();
        let former = index.relays.remove(&place.agent);
        for (key, medium) in &subnets {
            let new = || Subnet { network: key.network(), relays: BTreeSet::new(), was_shared: false };
            let subnet = index.subnets.entry(key.id()).or_insert_with(new);
            subnet.relays.insert((*medium, place.agent.clone()));
            subnet.was_shared |= subnet.relays.iter().any(|(_, agent)| *agent != place.agent);
        }
        let subnets: Box<[_]> = subnets.into_iter().map(|(key, medium)| (key.id(), medium)).collect();
        let left = former.map(|former| former.subnets).unwrap_or_default();
        let left = left.iter().filter(|left| !subnets.contains(left));
        let stays = |id| subnets.iter().any(|(subnet, _)| *subnet == id);
        let falls =
            left.filter_map(|&(id, medium)| index.remove(&place.agent, id, medium, stays(id))).collect();
        if !subnets.is_empty() {
            index.relays.insert(place.agent.clone(), Relay { connection, subnets });
        }
        falls
    }

    /// Notes that a connection of an agent has ended, and which one has taken over if one has; returns what that makes
    /// worse.
    pub(super) fn leaves(
        &self,
        agent: &AgentId,
        connection: ConnectionId,
        successor: Option<ConnectionId>,
    ) -> Vec<Fall> {
        let mut index = self.index.lock();
        let Some(relay) = index.relays.get_mut(agent).filter(|relay| relay.connection == connection) else {
            return Vec::new();
        };
        if let Some(successor) = successor {
            // It will tell of itself anew, and is as good a relay until then.
            relay.connection = successor;
            return Vec::new();
        }
        let Some(relay) = index.relays.remove(agent) else { return Vec::new() };
        let subnets = relay.subnets.iter();
        subnets.filter_map(|&(id, medium)| index.remove(agent, id, medium, false)).collect()
    }

    /// Tells whether an agent is here.
    pub(super) fn knows(&self, agent: &AgentId) -> bool {
        self.index.lock().relays.contains_key(agent)
    }

    /// Returns relays on any of these subnets that fit, for each subnet at most `max`, by cable before by radio.
    pub(super) fn near(
        &self,
        subnets: &[SubnetKey],
        max: usize,
        fits: impl Fn(&AgentId) -> bool,
    ) -> Vec<AgentId> {
        let index = self.index.lock();
        let mut near: Vec<AgentId> = Vec::new();
        for subnet in subnets.iter().filter_map(|key| index.subnets.get(&key.id())).take(SUBNETS_MAX) {
            let relays = subnet.relays.iter().map(|(_, agent)| agent);
            let found: Vec<_> = relays.filter(|agent| fits(agent)).take(max).cloned().collect();
            near.extend(found.into_iter().filter(|agent| !near.contains(agent)).collect::<Vec<_>>());
        }
        near
    }
}

impl Index {
    /// Takes a relay off a subnet, unless it only changes its place there.
    fn remove(&mut self, agent: &AgentId, id: u64, medium: Medium, stays: bool) -> Option<Fall> {
        let subnet = self.subnets.get_mut(&id)?;
        subnet.relays.remove(&(medium, agent.clone()));
        let network = subnet.network;
        let last = match subnet.relays.len() {
            _ if stays => return None,
            0 => {
                if self.subnets.remove(&id).is_some_and(|subnet| !subnet.was_shared) {
                    return None;
                }
                None
            }
            1 => subnet.relays.first().map(|(_, agent)| agent.clone()),
            _ => return None,
        };
        Some(Fall { subnet: id, network, gone: agent.clone(), last })
    }
}

/// Returns the subnets of an agent, each with what it is connected to it by.
fn subnets(place: &Place) -> Vec<(SubnetKey, Medium)> {
    let medium_of = |network: IpNet| {
        let on_it =
            place.interfaces.iter().filter(|one| one.addresses.iter().any(|own| own.trunc() == network));
        on_it.map(|interface| interface.medium).min().unwrap_or(Medium::Wireless)
    };
    let keys = subnet_keys(place).into_iter();
    keys.map(|key| (medium_of(key.network()), key)).map(|(medium, key)| (key, medium)).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use wakemq_protocol::Interface;

    use super::*;

    fn place(name: &str, medium: Medium, addresses: &[&str]) -> Place {
        let interface = Interface {
            name: "eth0".into(),
            mac: "00:16:3e:00:00:01".parse().unwrap(),
            medium,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            gateway_mac: Some("00:16:3e:00:00:fe".parse().unwrap()),
        };
        Place {
            agent: name.parse().unwrap(),
            group: "a".parse().unwrap(),
            source: Some([192, 0, 2, 1].into()),
            interfaces: vec![interface],
        }
    }

    fn connection(number: u64) -> ConnectionId {
        ConnectionId(NonZeroU64::new(number).unwrap())
    }

    fn names(relays: &Relays, at: &Place) -> String {
        let near = relays.near(&subnet_keys(at), 10, |_| true);
        near.iter().map(AgentId::as_str).collect::<Vec<_>>().join(" ")
    }

    fn said(falls: Vec<Fall>) -> Vec<String> {
        let text = |fall: Fall| match fall.last {
            Some(last) => format!("{} {}: {last} is left", fall.gone, fall.network),
            None => format!("{} {}: nobody is left", fall.gone, fall.network),
        };
        falls.into_iter().map(text).collect()
    }

    #[test]
    fn relays_are_found_by_subnet_and_wired_ones_first() {
        let relays = Relays::default();
        for (number, name, medium) in
            [(1, "a", Medium::Wireless), (2, "c", Medium::Wired), (3, "b", Medium::Wired)]
        {
            let place = place(name, medium, &["10.0.0.9/24", "10.0.1.9/24"]);
            assert_eq!(relays.tells(&place, true, connection(number)), []);
        }
        let sleeper = place("s", Medium::Wired, &["10.0.0.3/24"]);
        assert_eq!(names(&relays, &sleeper), "b c a");
        let not_c = |agent: &AgentId| agent.as_str() != "c";
        let both = place("s", Medium::Wired, &["10.0.0.3/24", "10.0.1.3/24"]);
        assert_eq!(relays.near(&subnet_keys(&both), 1, not_c), ["b".parse().unwrap()]);
        assert_eq!(names(&relays, &place("s", Medium::Wired, &["10.0.0.3/25"])), "");

        // It is on the cable now.
        assert_eq!(relays.tells(&place("a", Medium::Wired, &["10.0.0.9/24"]), true, connection(1)), []);
        assert_eq!(names(&relays, &sleeper), "a b c");
    }

    #[test]
    fn who_goes_is_forgotten_and_the_last_ones_are_told_of() {
        let relays = Relays::default();
        let at = |name| place(name, Medium::Wired, &["10.0.0.9/24"]);
        for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
            relays.tells(&at(name), true, connection(number));
        }
        assert_eq!(said(relays.leaves(&"a".parse().unwrap(), connection(9), None)), [""; 0], "an older one");
        assert_eq!(said(relays.leaves(&"a".parse().unwrap(), connection(1), None)), [""; 0]);
        // Told not to relay any more.
        assert_eq!(said(relays.tells(&at("b"), false, connection(2))), ["b 10.0.0.0/24: c is left"]);
        // A newer connection has taken over.
        assert_eq!(relays.leaves(&"c".parse().unwrap(), connection(3), Some(connection(4))), []);
        assert_eq!(names(&relays, &at("s")), "c");
        assert_eq!(relays.leaves(&"c".parse().unwrap(), connection(3), None), []);
        let falls = relays.leaves(&"c".parse().unwrap(), connection(4), None);
        assert_eq!(said(falls), ["c 10.0.0.0/24: nobody is left"]);
        let index = relays.index.lock();
        assert!(index.subnets.is_empty() && index.relays.is_empty(), "{index:?}");
    }

    #[test]
    fn who_is_alone_on_a_subnet_goes_without_a_word() {
        let relays = Relays::default();
        let at = |medium| place("laptop", medium, &["10.0.0.9/24"]);
        assert_eq!(relays.tells(&at(Medium::Wired), true, connection(1)), []);
        assert_eq!(relays.tells(&at(Medium::Wireless), true, connection(1)), []);
        assert_eq!(relays.leaves(&"laptop".parse().unwrap(), connection(1), None), []);
        assert!(relays.index.lock().subnets.is_empty());
    }

    #[test]
    fn who_tells_of_no_interfaces_has_no_entry() {
        let relays = Relays::default();
        let quiet = Place { interfaces: Vec::new(), ..place("a", Medium::Wired, &[]) };
        assert_eq!(relays.tells(&quiet, true, connection(1)), []);
        assert!(relays.index.lock().relays.is_empty());
    }
}
