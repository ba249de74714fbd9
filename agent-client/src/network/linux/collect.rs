//! From the kernel's tables to interfaces.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

use ipnet::IpNet;
use wakemq_link::NetworkKey;
use wakemq_protocol::{Interface, MacAddr, Medium};

use super::super::{ADDRESSES_MAX, Adapter, DISCARD_PORT, INTERFACES_MAX, Present};
use super::message::{Address, Gateway, Link, Message, Neighbour};

/// What the kernel told.
#[derive(Debug, Default)]
pub(super) struct Tables {
    links: Vec<Link>,
    addresses: Vec<Address>,
    gateways: Vec<Gateway>,
    neighbours: Vec<Neighbour>,
}

impl Tables {
    pub(super) fn take(&mut self, message: Message) {
        // An answer that is given again replaces what it said before.
        match message {
            Message::Link(link) => {
                self.links.retain(|known| known.index != link.index);
                self.links.push(link);
            }
            Message::Address(address) => {
                self.addresses
                    .retain(|known| (known.index, known.address) != (address.index, address.address));
                self.addresses.push(address);
            }
            Message::Gateway(gateway) if !self.gateways.contains(&gateway) => self.gateways.push(gateway),
            Message::Neighbour(neighbour) => self.neighbours.push(neighbour),
            Message::Gateway(_) | Message::Done { .. } | Message::Refused(_) | Message::Other => {}
        }
    }

    #[cfg(test)]
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Returns a device's addresses, those first that are told if there are too many.
    pub(super) fn addresses_of(&self, device: u32) -> Vec<IpNet> {
        let mut addresses: Vec<_> = self.addresses.iter().filter(|known| known.index == device).collect();
        addresses.sort_by_key(|known| {
            (known.address.is_ipv6(), known.deprecated, is_link_local(known.address), known.address)
        });
        let with_prefix = |known: &Address| IpNet::new(known.address, known.prefix_len).ok();
        addresses.into_iter().filter_map(with_prefix).take(ADDRESSES_MAX).collect()
    }

    /// Returns the default gateway behind a device, by IPv4 if there is one.
    fn gateway(&self, device: u32) -> Option<&Gateway> {
        let behind = self.gateways.iter().filter(|gateway| gateway.index == device);
        behind.min_by_key(|gateway| (gateway.address.is_ipv6(), gateway.metric))
    }

    fn mac_of(&self, device: u32, address: IpAddr) -> Option<MacAddr> {
        let found = self.neighbours.iter().find(|known| known.index == device && known.address == address);
        found.map(|neighbour| neighbour.mac)
    }
}

/// Tells in which network the endpoint is: that of its best default gateway, or without any that of its first address.
/// There is none where no link that works has an address that is of use beyond it.
pub(super) fn present(tables: &Tables) -> Option<Present> {
    let is_running = |index: u32| tables.links.iter().any(|link| link.index == index && link.running);
    let gateways = tables.gateways.iter().filter(|gateway| is_running(gateway.index));
    let gateway = gateways.min_by_key(|gateway| (gateway.address.is_ipv6(), gateway.metric));
    let useful = |device: u32| -> Vec<IpNet> {
        let mut all = tables.addresses_of(device);
        all.retain(|address| !address.addr().is_loopback() && !is_link_local(address.addr()));
        all
    };
    if let Some(gateway) = gateway {
        let addresses = useful(gateway.index);
        let mac = tables.mac_of(gateway.index, gateway.address);
        let own = addresses.iter().find(|own| own.addr().is_ipv6() == gateway.address.is_ipv6());
        return Some(Present {
            key: NetworkKey::new(mac, own.or(addresses.first()).copied()),
            unresolved: mac.is_none().then(|| gateway.to_ask()),
            addresses,
        });
    }
    let mut links: Vec<_> = tables.links.iter().filter(|link| link.running).collect();
    links.sort_by_key(|link| link.index);
    let addresses = links.iter().map(|link| useful(link.index)).find(|addresses| !addresses.is_empty())?;
    Some(Present { key: NetworkKey::new(None, addresses.first().copied()), addresses, unresolved: None })
}

impl Gateway {
    /// Returns where to send something, so that its MAC address is found out.
    fn to_ask(&self) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => (address, DISCARD_PORT).into(),
            IpAddr::V6(address) => SocketAddr::V6(SocketAddrV6::new(address, DISCARD_PORT, 0, self.index)),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Makes interfaces of the tables; `sys` is `/sys/class/net`.
pub(super) fn collect(tables: &Tables, sys: &Path, named: &[String]) -> Vec<Adapter> {
    // What is there in hardware is the child of a device.
    let wanted = |link: &&Link| {
        link.ethernet && (sys.join(&link.name).join("device").exists() || named.contains(&link.name))
    };
    let mut found: Vec<_> =
        tables.links.iter().filter(wanted).map(|link| (link, medium(sys, link))).collect();
    found.sort_by_key(|(link, medium)| (*medium, link.index));
    found
        .into_iter()
        .filter_map(|(link, medium)| adapter(tables, link, medium))
        .take(INTERFACES_MAX)
        .collect()
}

fn medium(sys: &Path, link: &Link) -> Medium {
    let radio = ["phy80211", "wireless"].iter().any(|name| sys.join(&link.name).join(name).exists());
    if radio { Medium::Wireless } else { Medium::Wired }
}

fn adapter(tables: &Tables, link: &Link, medium: Medium) -> Option<Adapter> {
    // The parts of a bridge or bond have no addresses of their own.
    let master = link.master.and_then(|master| tables.links.iter().find(|other| other.index == master));
    let device = master.unwrap_or(link);
    let gateway = tables.gateway(device.index);
    let gateway_mac = gateway.and_then(|gateway| tables.mac_of(device.index, gateway.address));
    let unresolved = gateway.filter(|_| gateway_mac.is_none()).map(Gateway::to_ask);
    let interface = Interface {
        name: link.name.clone(),
        mac: mac(link, medium, master.is_some())?,
        medium,
        addresses: tables.addresses_of(device.index),
        gateway_mac,
    };
    Some(Adapter { interface, device: device.name.clone(), unresolved })
}

/// A cabled adapter that was given another address, by software or by the bond that it is a part of, wakes by its own.
fn mac(link: &Link, medium: Medium, has_master: bool) -> Option<MacAddr> {
    let given = link.mac.is_none_or(MacAddr::is_local) || has_master;
    match link.permanent {
        Some(permanent) if given && medium == Medium::Wired && !permanent.is_local() => Some(permanent),
        _ => link.mac,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac_addr(last: u8) -> MacAddr {
        MacAddr::new([0, 0x16, 0x3e, 0, 0, last])
    }

    fn link(index: u32, name: &str) -> Link {
        let mac = Some(mac_addr(u8::try_from(index).unwrap()));
        Link {
            index,
            name: name.to_owned(),
            ethernet: true,
            running: true,
            mac,
            permanent: None,
            master: None,
        }
    }

    fn address(index: u32, address: &str, prefix_len: u8) -> Address {
        Address { index, address: address.parse().unwrap(), prefix_len, deprecated: false }
    }

    /// Makes `/sys/class/net`, with a directory for each path.
    fn sys(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        paths.iter().for_each(|path| std::fs::create_dir_all(dir.path().join(path)).unwrap());
        dir
    }

    #[test]
    fn wired_ones_come_first_and_virtual_ones_only_by_name() {
        let tables = Tables {
            links: vec![
                Link { ethernet: false, ..link(1, "lo") },
                link(2, "wlan0"),
                link(3, "docker0"),
                link(4, "eno1"),
            ],
            ..Tables::default()
        };
        let sys = sys(&["lo", "wlan0/device", "wlan0/phy80211", "docker0", "eno1/device"]);
        let names = |named: &[String]| -> Vec<_> {
            let found = collect(&tables, sys.path(), named);
            found.into_iter().map(|adapter| (adapter.interface.name, adapter.interface.medium)).collect()
        };
        let physical = [("eno1".to_owned(), Medium::Wired), ("wlan0".to_owned(), Medium::Wireless)];
        assert_eq!(names(&[]), physical);
        assert_eq!(names(&["docker0".to_owned()])[0].0, "docker0");
        assert_eq!(names(&["nowhere".to_owned()]), physical);
    }

    #[test]
    fn the_gateway_is_known_by_its_mac_or_has_to_be_found_out() {
        let mut tables = Tables {
            links: vec![link(4, "eno1")],
            gateways: vec![
                Gateway { index: 4, address: "fe80::1".parse().unwrap(), metric: 1 },
                Gateway { index: 4, address: "10.0.0.253".parse().unwrap(), metric: 200 },
                Gateway { index: 4, address: "10.0.0.254".parse().unwrap(), metric: 100 },
            ],
            ..Tables::default()
        };
        let sys = sys(&["eno1/device"]);
        let adapter = collect(&tables, sys.path(), &[]).remove(0);
        assert_eq!(adapter.unresolved, Some("10.0.0.254:9".parse().unwrap()));
        let neighbour =
            |index, last| Neighbour { index, address: "10.0.0.254".parse().unwrap(), mac: mac_addr(last) };
        tables.neighbours = vec![neighbour(5, 0xaa), neighbour(4, 0xbb)];
        let adapter = collect(&tables, sys.path(), &[]).remove(0);
        assert_eq!((adapter.interface.gateway_mac, adapter.unresolved), (Some(mac_addr(0xbb)), None));
    }

    #[test]
    fn a_part_of_a_bridge_has_the_addresses_of_the_bridge() {
        let part = Link { master: Some(5), ..link(4, "eno1") };
        let addresses =
            vec![address(5, "fe80::5", 64), address(5, "2001:db8::5", 64), address(5, "10.0.0.5", 24)];
        let tables = Tables { links: vec![part, link(5, "br0")], addresses, ..Tables::default() };
        let adapter = collect(&tables, sys(&["eno1/device", "br0"]).path(), &[]).remove(0);
        assert_eq!((adapter.device.as_str(), adapter.interface.mac), ("br0", mac_addr(4)));
        let told: Vec<_> = adapter.interface.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.5/24", "2001:db8::5/64", "fe80::5/64"]);
    }

    #[test]
    fn a_wired_adapter_wakes_by_the_address_that_it_was_made_with() {
        let random = MacAddr::new([0x02, 1, 2, 3, 4, 5]);
        let permanent = Some(mac_addr(0xee));
        let mut link = Link { mac: Some(random), permanent, ..link(4, "eno1") };
        assert_eq!(mac(&link, Medium::Wired, false), permanent);
        assert_eq!(mac(&link, Medium::Wireless, false), Some(random));
        link.mac = Some(mac_addr(1));
        assert_eq!(mac(&link, Medium::Wired, false), Some(mac_addr(1)));
        assert_eq!(mac(&link, Medium::Wired, true), permanent, "a bond gives its parts one address");
    }

    #[test]
    fn the_network_is_that_of_the_best_gateway_and_is_gone_with_its_link() {
        let gateway =
            |index, address: &str, metric| Gateway { index, address: address.parse().unwrap(), metric };
        let mut tables = Tables {
            links: vec![Link { ethernet: false, ..link(1, "lo") }, link(2, "eth0"), link(3, "wlan0")],
            addresses: vec![address(1, "127.0.0.1", 8), address(2, "169.254.1.2", 16)],
            ..Tables::default()
        };
        assert_eq!(present(&tables), None, "an address that is only of use on its link");
        tables.addresses.extend([address(3, "10.0.3.7", 24), address(3, "2001:db8::7", 64)]);
        let alone = present(&tables).unwrap();
        assert_eq!(alone.key, NetworkKey::new(None, "10.0.3.0/24".parse().ok()));
        assert_eq!((alone.addresses.len(), alone.unresolved), (2, None));

        tables.addresses.push(address(2, "10.0.2.7", 24));
        tables.gateways = vec![gateway(3, "10.0.3.1", 600), gateway(2, "10.0.2.1", 100)];
        tables.neighbours =
            vec![Neighbour { index: 3, address: "10.0.3.1".parse().unwrap(), mac: mac_addr(0xaa) }];
        let wired = present(&tables).unwrap();
        assert_eq!(wired.key, NetworkKey::new(None, "10.0.2.0/24".parse().ok()));
        assert_eq!(wired.unresolved, Some("10.0.2.1:9".parse().unwrap()));
        tables.links[1].running = false;
        let wireless = present(&tables).unwrap();
        assert_eq!(wireless.key, NetworkKey::new(Some(mac_addr(0xaa)), "10.0.3.0/24".parse().ok()));
        tables.links[2].running = false;
        assert_eq!(present(&tables), None);
    }

    #[test]
    fn there_are_limits() {
        let tables = Tables {
            links: (1..=40).map(|index| link(index, &format!("eth{index}"))).collect(),
            addresses: (1..=40).map(|last| address(1, &format!("10.0.0.{last}"), 24)).collect(),
            ..Tables::default()
        };
        let names: Vec<_> = (1..=40).map(|index| format!("eth{index}/device")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let found = collect(&tables, sys(&names).path(), &[]);
        assert_eq!((found.len(), found[0].interface.addresses.len()), (INTERFACES_MAX, ADDRESSES_MAX));
    }
}
