//! Which proxy a client goes through.

use std::fmt;
use std::str::FromStr;

use crate::ladder::{ProxyUse, Ways};
use crate::{Endpoint, Ladder, ParseEndpointError, Rung};

/// An HTTP proxy that lets CONNECT through without authentication: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyUrl(Rung);

/// Says why a text names no proxy that can be used. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProxyError {
    /// It is not a URL of a host and a port.
    #[error("not a valid proxy: {0}; expected http://HOST:PORT")]
    Form(&'static str),
    /// The host or the port is none.
    #[error("not a valid proxy: {0}")]
    Host(#[from] ParseEndpointError),
    /// The proxy speaks something else.
    #[error("{0}:// proxies are not supported: {ONLY}")]
    Scheme(String),
    /// The proxy wants a user name.
    #[error("a proxy's user name and password are not supported: {ONLY}")]
    Credentials,
}

/// What can be used.
const ONLY: &str = "this version speaks HTTP CONNECT without authentication only, http://HOST:PORT";
/// Longest scheme that an error repeats.
const SCHEME_MAX: usize = 16;

impl ProxyUrl {
    /// Returns the proxy's host name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns its TCP port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
}

impl FromStr for ProxyUrl {
    type Err = ParseProxyError;
    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseProxyError::Form("http:// is missing"))?;
        if !scheme.eq_ignore_ascii_case("http") {
            let known = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            return Err(if !scheme.is_empty() && scheme.len() <= SCHEME_MAX && scheme.chars().all(known) {
                ParseProxyError::Scheme(scheme.to_ascii_lowercase())
            } else {
                ParseProxyError::Form("what stands before :// is no scheme")
            });
        }
        if rest.contains('@') {
            return Err(ParseProxyError::Credentials);
        }
        let endpoint: Endpoint = rest.strip_suffix('/').unwrap_or(rest).parse()?;
        let port = endpoint.port().ok_or(ParseProxyError::Form("the port is missing"))?;
        Ok(Self(Rung { host: endpoint.host().into(), port }))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Which proxy there is, and in which order ways through it and direct ones are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxySettings {
    url: Option<ProxyUrl>,
    order: ProxyUse,
}

impl ProxySettings {
    /// Says that there is no proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// Names a proxy, and its place among the ways.
    pub fn new(url: ProxyUrl, order: ProxyUse) -> Self {
        if order == ProxyUse::None { Self::none() } else { Self { url: Some(url), order } }
    }

    /// Returns the proxy.
    pub fn url(&self) -> Option<&ProxyUrl> {
        self.url.as_ref()
    }

    /// Lists the ways to a broker, the best first.
    pub fn ways(&self, ladder: &Ladder) -> Ways {
        Ways::new(ladder, self.order)
    }

    /// Returns whether ways go through the proxy, in the order in which they are tried.
    pub(crate) fn order(&self) -> &'static [bool] {
        self.order.order()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_and_printing_are_inverse() {
        for text in ["http://proxy:3128", "http://10.0.0.1:8080", "http://[fd00::1]:3128"] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().to_string(), text);
        }
        assert_eq!("HTTP://proxy:3128/".parse::<ProxyUrl>().unwrap().to_string(), "http://proxy:3128");
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (text, expected) in [
            ("https://proxy:3128", "https:// proxies are not supported: this version speaks HTTP CONNECT"),
            ("socks5h://proxy:1080", "socks5h:// proxies are not supported"),
            ("http://me:s3cret@proxy:3128", "password are not supported: this version speaks HTTP CONNECT"),
            ("proxy:3128", "http:// is missing"),
            ("me:s3cret@x://proxy:3128", "no scheme"),
            ("http://proxy", "the port is missing"),
            ("http://:3128", "the host is empty"),
            ("http://proxy:0", "the port is not between 1 and 65535"),
            ("http://proxy:3128/x", "the port is not between"),
            ("http://", "the host is empty"),
            ("", "http:// is missing"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
