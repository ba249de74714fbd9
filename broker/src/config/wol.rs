//! Where the broker sends Wake-on-LAN packets itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use wakemq_protocol::WOL_PORTS;

use super::value::{ranged, text};

/// Most addresses: each gets three packets a port for each MAC.
const ADDRESSES_MAX: usize = 32;
/// Most ports.
const PORTS_MAX: usize = 4;

/// `[wol]`: what the broker sends where no agent can, and how long it waits for an endpoint to come up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wol {
    /// Where packets go: broadcast, subnet-directed and multicast addresses.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<WolAddress>,
    /// UDP ports for those addresses that name none.
    #[serde(deserialize_with = "ports")]
    pub ports: Vec<u16>,
    /// How many routers a multicast packet may pass, plus one.
    #[serde(deserialize_with = "ranged::<1, 255, _, _>")]
    pub multicast_ttl: u8,
    /// How long an endpoint may take to come up, from the first packet on.
    #[serde(deserialize_with = "ranged::<10, 3600, _, _>")]
    pub timeout_secs: u32,
}

impl Default for Wol {
    fn default() -> Self {
        Self { addresses: Vec::new(), ports: WOL_PORTS.to_vec(), multicast_ttl: 1, timeout_secs: 120 }
    }
}

/// An address that magic packets are sent to, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WolAddress {
    /// The address.
    pub ip: IpAddr,
    /// The interface behind the `%`, by name or number: a link-local address has one.
    pub zone: Option<String>,
    /// Its own port.
    pub port: Option<u16>,
}

/// Says that a text is no such address, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseWolAddressError {
    /// It is none at all.
    #[error(
        "`{0}` is not an address to send to; IP or IP:PORT is, as `192.168.1.255`, `10.0.5.255:9`, \
         `ff02::1%eth0` or `[ff02::1%eth0]:9`"
    )]
    Form(String),
    /// Nothing can be sent there.
    #[error("`{0}` stands for no address; the broadcast address of a network does, as `192.168.1.255`")]
    Unspecified(String),
    /// It is the same on every interface.
    #[error("`{0}` is on every interface; say on which one, as `{0}%eth0`")]
    NoZone(Ipv6Addr),
    /// It needs no interface.
    #[error("`{0}` names an interface, which only link-local IPv6 addresses do")]
    Zone(String),
}

impl FromStr for WolAddress {
    type Err = ParseWolAddressError;
    fn from_str(text: &str) -> Result<Self, ParseWolAddressError> {
        let wrong = || ParseWolAddressError::Form(text.to_owned());
        let (host, port) = split_port(text).ok_or_else(wrong)?;
        let (host, zone) = match host.split_once('%') {
            Some((host, zone)) if is_zone(zone) => (host, Some(zone.to_owned())),
            Some(_) => return Err(wrong()),
            None => (host, None),
        };
        let ip: IpAddr = host.parse().map_err(|_| wrong())?;
        match ip {
            _ if ip.is_unspecified() => Err(ParseWolAddressError::Unspecified(text.to_owned())),
            IpAddr::V6(v6) if is_link_local(v6) && zone.is_none() => Err(ParseWolAddressError::NoZone(v6)),
            IpAddr::V6(v6) if is_link_local(v6) => Ok(Self { ip, zone, port }),
            IpAddr::V4(_) | IpAddr::V6(_) if zone.is_some() => {
                Err(ParseWolAddressError::Zone(text.to_owned()))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Ok(Self { ip, zone, port }),
        }
    }
}

impl fmt::Display for WolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.as_ref().map(|zone| format!("%{zone}")).unwrap_or_default();
        match (self.ip, self.port) {
            (ip, None) => write!(f, "{ip}{zone}"),
            (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}{zone}]:{port}"),
        }
    }
}

impl<'de> Deserialize<'de> for WolAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

/// Takes the port off a text; an IPv6 address has one only behind brackets.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| text.parse().ok().filter(|&port: &u16| port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']')? {
            (host, "") => Some((host, None)),
            (host, rest) => Some((host, Some(port(rest.strip_prefix(':')?)?))),
        };
    }
    match text.split_once(':') {
        Some((host, rest)) if !rest.contains(':') => Some((host, Some(port(rest)?))),
        Some(_) | None => Some((text, None)),
    }
}

/// Tells whether an address means something only together with an interface (RFC 4291 §2.5.6, RFC 7346 §2).
fn is_link_local(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.octets();
    ip.is_unicast_link_local() || (first == 0xff && matches!(second & 0x0f, 1 | 2))
}

/// Tells whether a text can be the name or the number of an interface.
fn is_zone(zone: &str) -> bool {
    let letter = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '%' | '[' | ']');
    !zone.is_empty() && zone.len() <= 64 && zone.chars().all(letter)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WolAddress>, D::Error> {
    at_most(ADDRESSES_MAX, "addresses", Vec::deserialize(deserializer)?)
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let ports = Vec::<Port>::deserialize(deserializer)?;
    if ports.is_empty() {
        return Err(serde::de::Error::custom("at least one port is needed"));
    }
    at_most(PORTS_MAX, "ports", ports.into_iter().map(|port| port.0).collect())
}

fn at_most<T, E: serde::de::Error>(max: usize, what: &str, list: Vec<T>) -> Result<Vec<T>, E> {
    if list.len() <= max {
        return Ok(list);
    }
    Err(E::custom(format!("there are {} {what}; at most {max} are allowed", list.len())))
}

#[derive(Deserialize)]
struct Port(#[serde(deserialize_with = "ranged::<1, 65_535, _, _>")] u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("192.168.1.255", "192.168.1.255"),
            ("10.0.5.255:9", "10.0.5.255:9"),
            ("239.192.0.1", "239.192.0.1"),
            ("255.255.255.255", "255.255.255.255"),
            ("ff02::1%eth0", "ff02::1%eth0"),
            ("[ff02::1%2]:9", "[ff02::1%2]:9"),
            ("[ff02::1%eth0]", "ff02::1%eth0"),
            ("ff05::1", "ff05::1"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(text.parse::<WolAddress>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_meant() {
        for (text, word) in [
            ("", "IP or IP:PORT"),
            ("lan", "IP or IP:PORT"),
            ("192.168.1.0/24", "IP or IP:PORT"),
            ("192.168.1.255:0", "IP or IP:PORT"),
            ("192.168.1.255:70000", "IP or IP:PORT"),
            ("[ff02::1%eth0]9", "IP or IP:PORT"),
            ("[ff02::1%eth0", "IP or IP:PORT"),
            ("ff02::1%", "IP or IP:PORT"),
            ("0.0.0.0", "no address"),
            ("::", "no address"),
            ("ff02::1", "`ff02::1%eth0`"),
            ("fe80::1", "`fe80::1%eth0`"),
            ("192.168.1.255%eth0", "only link-local"),
            ("ff05::1%eth0", "only link-local"),
        ] {
            let error = text.parse::<WolAddress>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
