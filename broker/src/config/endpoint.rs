//! Where a broker is, as an agent sees it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Longest name of a host, in bytes (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// A host name or IP address, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: Option<u16>,
}

/// Says that a text is no endpoint, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an endpoint; HOST or HOST:PORT is, as `broker.example`, `10.0.0.1:8883` or `[::1]:8883`"
)]
pub struct ParseEndpointError(String);

impl Endpoint {
    /// Makes an endpoint of a host that is known to be one.
    pub(super) fn host(host: &str) -> Self {
        Self { host: host.to_owned(), port: None }
    }

    /// Returns the host: a name, or an IP address without brackets.
    pub fn host_name(&self) -> &str {
        &self.host
    }

    /// Tells whether the endpoint names a port.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Writes the endpoint with its own port, or else once with each of `ports`.
    pub fn with_ports(&self, ports: &[u16]) -> Vec<String> {
        let own = self.port.as_slice();
        let ports = if own.is_empty() { ports } else { own };
        ports.iter().map(|&port| Self { host: self.host.clone(), port: Some(port) }.to_string()).collect()
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;
    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let wrong = || ParseEndpointError(text.to_owned());
        // An IPv6 address alone has colons of its own.
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?))
            }
            _ => (text, None),
        };
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) if inside.parse::<std::net::Ipv6Addr>().is_ok() => inside,
            Some(_) => return Err(wrong()),
            None if is_name(host) => host,
            None => return Err(wrong()),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

fn is_name(host: &str) -> bool {
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    host.len() <= HOST_MAX
        && host.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(letter))
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::value::text(deserializer)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, written) in [
            ("broker.example", "broker.example"),
            ("broker:1", "broker:1"),
            ("10.0.0.1:8883", "10.0.0.1:8883"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[fe80::1]:443", "[fe80::1]:443"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), written);
        }
        for text in ["", ":1", "a:", "a:0", "a:70000", "a b", "https://x", "[a]:1", "::1:x:y", "a..b", "a/b"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }
}
