//! Where magic packets go. Pure.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use wakemq_protocol::RelayJob;

use crate::network::Adapter;

/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What is sent from one address of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) device: String,
    pub(super) from: IpAddr,
    pub(super) to: Vec<IpAddr>,
}

/// Chooses the interfaces that fit, and on each the subnets' broadcast addresses, 255.255.255.255, and ff02::1 if
/// it speaks IPv6.
pub(super) fn plan(job: &RelayJob, adapters: &[Adapter]) -> Vec<Line> {
    let asked = |address: &IpNet| job.networks.iter().any(|network| network.contains(&address.addr()));
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for adapter in adapters {
        let addresses = &adapter.interface.addresses;
        let fits = job.networks.is_empty() || addresses.iter().any(asked);
        // The parts of a bridge are one network.
        if fits && seen.insert(&adapter.device) {
            // One that fits by IPv6 alone is the same wire for IPv4.
            let all =
                job.networks.is_empty() || !addresses.iter().any(|one| one.addr().is_ipv4() && asked(one));
            let chosen: Vec<_> = addresses.iter().filter(|one| all || asked(one)).copied().collect();
            lines.extend(broadcasts(&adapter.device, &chosen));
            lines.extend(all_nodes(&adapter.device, addresses));
        }
    }
    lines
}

fn broadcasts(device: &str, addresses: &[IpNet]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for address in addresses {
        let IpNet::V4(address) = address else { continue };
        // Once for each device: it is not routed anywhere.
        let mut to = if lines.is_empty() { vec![IpAddr::V4(Ipv4Addr::BROADCAST)] } else { Vec::new() };
        let subnet = IpAddr::V4(address.broadcast());
        // A network of one or two addresses has no broadcast address.
        if address.prefix_len() < 31 && !lines.iter().any(|line| line.to.contains(&subnet)) {
            to.insert(0, subnet);
        }
        if !to.is_empty() {
            lines.push(Line { device: device.to_owned(), from: address.addr().into(), to });
        }
    }
    lines
}

fn all_nodes(device: &str, addresses: &[IpNet]) -> Option<Line> {
    let speaks = addresses.iter().any(|address| address.addr().is_ipv6());
    // The system chooses the source, which is the link-local address.
    let line =
        || Line { device: device.to_owned(), from: Ipv6Addr::UNSPECIFIED.into(), to: vec![ALL_NODES.into()] };
    speaks.then(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::{Interface, MacAddr, Medium};

    fn adapter(name: &str, device: &str, addresses: &[&str]) -> Adapter {
        let interface = Interface {
            name: name.to_owned(),
            mac: MacAddr::new([0, 0x16, 0x3e, 0, 0, 1]),
            medium: Medium::Wired,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            gateway_mac: None,
        };
        Adapter { interface, device: device.to_owned(), unresolved: None }
    }

    fn job(networks: &[&str]) -> RelayJob {
        RelayJob {
            macs: vec![MacAddr::new([0, 0x16, 0x3e, 0, 0, 2])],
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ports: vec![9],
            secureon: None,
        }
    }

    fn planned(networks: &[&str], adapters: &[Adapter]) -> Vec<String> {
        let line = |line: &Line| {
            let to: Vec<_> = line.to.iter().map(ToString::to_string).collect();
            format!("{} {} > {}", line.device, line.from, to.join(" "))
        };
        plan(&job(networks), adapters).iter().map(line).collect()
    }

    #[test]
    fn only_interfaces_that_fit_send() {
        let adapters = [
            adapter("eno1", "eno1", &["192.168.1.5/24", "fe80::5/64"]),
            adapter("eno2", "eno2", &["10.0.0.5/8"]),
            adapter("wlan0", "wlan0", &[]),
        ];
        let first = ["eno1 192.168.1.5 > 192.168.1.255 255.255.255.255", "eno1 :: > ff02::1"];
        let second = "eno2 10.0.0.5 > 10.255.255.255 255.255.255.255";
        assert_eq!(planned(&["192.168.1.0/24"], &adapters), first);
        assert_eq!(planned(&["10.0.0.0/8"], &adapters), [second]);
        assert_eq!(planned(&[], &adapters), [first[0], first[1], second]);
        assert!(planned(&["172.16.0.0/12"], &adapters).is_empty());
    }

    #[test]
    fn each_subnet_of_an_interface_is_sent_to_once() {
        let adapters =
            [adapter("eno1", "eno1", &["192.168.1.5/24", "192.168.1.6/24", "10.0.0.5/30", "10.9.9.9/32"])];
        assert_eq!(
            planned(&[], &adapters),
            ["eno1 192.168.1.5 > 192.168.1.255 255.255.255.255", "eno1 10.0.0.5 > 10.0.0.7"]
        );
        assert_eq!(planned(&["10.9.9.9/32"], &adapters), ["eno1 10.9.9.9 > 255.255.255.255"]);
    }

    #[test]
    fn the_wire_of_an_ipv6_network_is_that_of_ipv4_too() {
        let adapters = [adapter("eno1", "eno1", &["192.168.1.5/24", "2001:db8::5/64"])];
        assert_eq!(planned(&["2001:db8::/64"], &adapters).len(), 2);
    }

    #[test]
    fn the_parts_of_a_bridge_send_once() {
        let parts = ["eno1", "eno2"].map(|name| adapter(name, "br0", &["192.168.1.5/24"]));
        assert_eq!(planned(&[], &parts), ["br0 192.168.1.5 > 192.168.1.255 255.255.255.255"]);
    }
}
