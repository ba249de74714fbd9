//! For which hosts no proxy is used: the list that is commonly in `NO_PROXY`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::{Endpoint, Rung};

/// Hosts that are reached without a proxy.
///
/// Separated by commas or blanks: `*` for all; a name for itself and all below it, with or without `.` or `*.` before
/// it; an address, or a prefix like `10.0.0.0/8`. A name or an address may have a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    All,
    /// In small letters, and without a dot before it.
    Name {
        name: String,
        port: Option<u16>,
    },
    Network {
        network: IpNet,
        port: Option<u16>,
    },
}

/// Says which part of a list is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name, address or prefix")]
pub struct ParseNoProxyError(String);

impl NoProxy {
    /// Tells whether a host is reached without a proxy.
    pub fn matches(&self, rung: &Rung) -> bool {
        let host = rung.host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Name { name, port } => {
                let is_below = || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                port.is_none_or(|port| port == rung.port) && (host == *name || is_below())
            }
            Rule::Network { network, port } => {
                port.is_none_or(|port| port == rung.port)
                    && address.is_some_and(|address| network.contains(&address))
            }
        })
    }

    /// Reads a list that was written for other programs too, each with rules of its own: what is no rule here is
    /// returned beside the others.
    pub(super) fn lenient(text: &str) -> (Self, Vec<ParseNoProxyError>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for part in parts(text) {
            match Rule::parse(part) {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push(error),
            }
        }
        (Self(rules), errors)
    }

    /// Tells whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for NoProxy {
    type Err = ParseNoProxyError;
    fn from_str(text: &str) -> Result<Self, ParseNoProxyError> {
        parts(text).map(Rule::parse).collect::<Result<_, _>>().map(Self)
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t']).filter(|part| !part.is_empty())
}

impl Rule {
    fn parse(text: &str) -> Result<Self, ParseNoProxyError> {
        if text == "*" {
            return Ok(Self::All);
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network { network, port: None });
        }
        // An IPv6 address without brackets has no port.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network { network: address.to_canonical().into(), port: None });
        }
        let err = || ParseNoProxyError(text.to_owned());
        let name = text.strip_prefix('*').unwrap_or(text);
        let endpoint: Endpoint = name.strip_prefix('.').unwrap_or(name).parse().map_err(|_| err())?;
        let (host, port) = (endpoint.host(), endpoint.port());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Self::Network { network: address.to_canonical().into(), port });
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name.is_empty() || name.contains('*') {
            return Err(err());
        }
        Ok(Self::Name { name, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_reached_without_a_proxy() {
        for (list, matched, others) in [
            ("*", &["broker:443", "[::1]:1"][..], &[][..]),
            ("", &[], &["broker:443"]),
            (
                "Example.com",
                &["example.com:443", "BROKER.example.COM.:8883", "a.b.example.com:1"],
                &["badexample.com:443", "example.org:443", "com:1"],
            ),
            (".example.com", &["example.com:1", "a.example.com:1"], &["badexample.com:1"]),
            ("*.example.com", &["example.com:1", "a.example.com:1"], &["badexample.com:1"]),
            ("broker:8883", &["broker:8883", "a.broker:8883"], &["broker:443"]),
            ("10.0.0.0/8", &["10.1.2.3:1", "[::ffff:10.1.2.3]:1"], &["11.0.0.1:1", "ten:1"]),
            ("10.0.0.1", &["10.0.0.1:443"], &["10.0.0.11:443"]),
            ("10.0.0.1:443", &["10.0.0.1:443"], &["10.0.0.1:8883"]),
            ("fd00::/8 ::1", &["[fd00::1]:1", "[::1]:1"], &["[fe80::1]:1", "127.0.0.1:1"]),
            ("[::1]:443", &["[::1]:443"], &["[::1]:1"]),
            (" localhost,\t127.0.0.1 , .corp", &["localhost:1", "127.0.0.1:1", "x.corp:1"], &["corpx:1"]),
        ] {
            let parsed: NoProxy = list.parse().unwrap();
            let is_matched = |text: &&str| {
                let endpoint: Endpoint = text.parse().unwrap();
                parsed.matches(&Rung { host: endpoint.host().into(), port: endpoint.port().unwrap() })
            };
            assert!(matched.iter().all(is_matched), "{list}");
            assert!(!others.iter().any(is_matched), "{list}");
        }
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for list in ["a,b:0", "a,10.0.0.0/33", "a,b.*.c", "a,.", "a,http://b"] {
            let error = list.parse::<NoProxy>().unwrap_err().to_string();
            assert!(error.contains(&format!("{:?}", &list[2..])), "{error}");
        }
    }
}
