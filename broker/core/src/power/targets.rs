//! What magic packets for an endpoint carry, and on which networks it was last.

use std::collections::BTreeSet;

use ipnet::IpNet;
use wakemq_protocol::{Interface, MacAddr, Medium};

use super::site::networks_of;

/// How many MACs of one endpoint packets are sent for at most: what an agent tells must not make its neighbours flood.
pub const MACS_MAX: usize = 8;

/// Whose adapters are to wake, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// MACs for magic packets, the wired ones first.
    pub macs: Vec<MacAddr>,
    /// The networks where the endpoint was last.
    pub networks: Vec<IpNet>,
    /// MACs that name no adapter: made up by software, so that no adapter listens for them while it sleeps.
    pub unusable: Vec<MacAddr>,
}

impl Targets {
    /// Chooses among what an endpoint told of its interfaces.
    pub fn of(interfaces: &[Interface]) -> Self {
        let mut targets = Self::default();
        for medium in [Medium::Wired, Medium::Wireless] {
            for interface in interfaces.iter().filter(|interface| interface.medium == medium) {
                let mac = interface.mac;
                let usable = mac.is_unicast() && !mac.is_local();
                let list = if usable { &mut targets.macs } else { &mut targets.unusable };
                if !list.contains(&mac) {
                    list.push(mac);
                }
            }
        }
        targets.macs.truncate(MACS_MAX);
        let networks: BTreeSet<_> = interfaces.iter().flat_map(networks_of).collect();
        targets.networks = networks.into_iter().collect();
        targets
    }

    /// Returns the networks in words: `192.168.1.0/24 and 2001:db8::/64`.
    pub(super) fn networks_text(&self) -> String {
        join(&self.networks)
    }

    /// Says why there is no MAC, with what to do.
    pub(super) fn no_mac_text(&self) -> String {
        if self.unusable.is_empty() {
            return "no MAC known: the agent has never told of an interface; let it connect once while the endpoint \
                    is up"
                .to_owned();
        }
        format!(
            "no MAC known that can wake: {} is made up by software (randomised or virtual); switch off random \
             addresses, or use a cable",
            join(&self.unusable)
        )
    }
}

/// Enumerates: `a`, `a and b`, `a, b and c`.
pub(super) fn join(things: &[impl ToString]) -> String {
    let texts: Vec<_> = things.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(mac: &str, medium: Medium, addresses: &[&str]) -> Interface {
        Interface {
            name: "eth0".into(),
            mac: mac.parse().unwrap(),
            medium,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            gateway_mac: None,
        }
    }

    #[test]
    fn wired_ones_come_first_and_what_cannot_wake_is_left_out() {
        let targets = Targets::of(&[
            interface("00:16:3e:00:00:03", Medium::Wireless, &["192.168.1.9/24"]),
            interface("00:16:3e:00:00:01", Medium::Wired, &["192.168.1.8/24", "fe80::1/64"]),
            interface("00:16:3e:00:00:01", Medium::Wired, &["10.0.0.1/32"]),
            interface("02:16:3e:00:00:01", Medium::Wireless, &[]),
            interface("01:00:5e:00:00:01", Medium::Wired, &[]),
        ]);
        let macs: Vec<_> = targets.macs.iter().map(ToString::to_string).collect();
        assert_eq!(macs, ["00:16:3e:00:00:01", "00:16:3e:00:00:03"]);
        assert_eq!(targets.networks_text(), "192.168.1.0/24");
        assert_eq!(targets.unusable.len(), 2);
    }

    #[test]
    fn an_agent_cannot_make_its_neighbours_flood() {
        let many: Vec<_> =
            (10..99).map(|n| interface(&format!("00:16:3e:00:00:{n}"), Medium::Wired, &[])).collect();
        assert_eq!(Targets::of(&many).macs.len(), MACS_MAX);
    }

    #[test]
    fn why_there_is_no_mac() {
        assert!(Targets::default().no_mac_text().contains("never told"));
        let random = Targets::of(&[interface("02:16:3e:00:00:01", Medium::Wireless, &[])]);
        assert!(random.no_mac_text().contains("02:16:3e:00:00:01 is made up"));
    }
}
