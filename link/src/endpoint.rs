//! Where a broker is, and in which order its doors are tried.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Ports that are tried, in this order, where an endpoint names none: MQTT over TLS, then HTTPS.
pub const DEFAULT_PORTS: [u16; 2] = [8883, HTTPS_PORT];
const HTTPS_PORT: u16 = 443;

/// A broker's host, with or without a port: `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: Box<str>,
    port: Option<u16>,
}

/// Says why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid endpoint: {why}; expected HOST or HOST:PORT, an IPv6 address in brackets")]
pub struct ParseEndpointError {
    why: &'static str,
}

impl Endpoint {
    /// Returns the host name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, if the endpoint names one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;
    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let err = |why| ParseEndpointError { why };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(err("the bracket is not closed"))?;
            host.parse::<Ipv6Addr>().map_err(|_| err("no IPv6 address in the brackets"))?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or(err("text behind the bracket"))?)),
            }
        } else {
            match text.split_once(':') {
                None => (text, None),
                Some((_, port)) if port.contains(':') => return Err(err("more than one colon")),
                Some((host, port)) => (host, Some(port)),
            }
        };
        if host.is_empty() {
            return Err(err("the host is empty"));
        }
        if host.len() > 253
            || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c))
        {
            return Err(err("the host is no name or address"));
        }
        let port = match port {
            None => None,
            Some(port) => match port.parse::<u16>() {
                Ok(0) | Err(_) => return Err(err("the port is not between 1 and 65535")),
                Ok(port) => Some(port),
            },
        };
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }
}

/// One host and port of a [`Ladder`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rung {
    /// Host name or address, an IPv6 address without its brackets.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
}

impl Rung {
    /// Tells whether it is the port of HTTPS, which most networks let through.
    pub fn is_https(&self) -> bool {
        self.port == HTTPS_PORT
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host)?;
        write!(f, ":{}", self.port)
    }
}

/// Endpoints in order of preference; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Endpoint>);

impl Ladder {
    /// Makes a ladder; `None` if there is no endpoint at all.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Option<Self> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        (!endpoints.is_empty()).then_some(Self(endpoints))
    }

    /// Parses every text as an endpoint; none at all is an error too.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, ParseEndpointError> {
        let endpoints = texts.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<_>, _>>()?;
        Self::new(endpoints).ok_or(ParseEndpointError { why: "there is none" })
    }

    /// Returns the endpoints as they were given.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0
    }

    /// Returns what is tried, in order: an endpoint without a port stands for 8883, then 443.
    pub fn rungs(&self) -> impl Iterator<Item = Rung> + '_ {
        self.0.iter().flat_map(|endpoint| {
            let rung = |port| Rung { host: endpoint.host.clone(), port };
            match endpoint.port {
                Some(port) => vec![rung(port)],
                None => DEFAULT_PORTS.into_iter().map(rung).collect(),
            }
        })
    }

    /// Returns what is tried through a proxy: the same, but 443 first, as most proxies allow no other port.
    pub fn proxied_rungs(&self) -> Vec<Rung> {
        let mut rungs: Vec<_> = self.rungs().collect();
        rungs.sort_by_key(|rung| !rung.is_https());
        rungs
    }
}

impl From<Endpoint> for Ladder {
    fn from(endpoint: Endpoint) -> Self {
        Self(vec![endpoint])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_and_printing_are_inverse() {
        for text in ["broker", "broker.example:8883", "127.0.0.1:1", "[::1]", "[fe80::1]:443"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]1",
            "a b",
            "https://a",
            "a/b",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_without_a_port_is_tried_on_8883_and_then_443() {
        let ladder = Ladder::parse(&["a", "b:1"]).unwrap();
        let rungs: Vec<_> = ladder.rungs().map(|rung| rung.to_string()).collect();
        assert_eq!(rungs, ["a:8883", "a:443", "b:1"]);
        assert!(Ladder::parse::<&str>(&[]).is_err());
    }

    #[test]
    fn through_a_proxy_443_comes_first() {
        let ladder = Ladder::parse(&["a", "b:1", "c:443"]).unwrap();
        let rungs: Vec<_> = ladder.proxied_rungs().iter().map(Rung::to_string).collect();
        assert_eq!(rungs, ["a:443", "c:443", "a:8883", "b:1"]);
    }
}
