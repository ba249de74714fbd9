//! Where a proxy is, and how it is spoken to.

use std::fmt;
use std::str::FromStr;

use super::{Credentials, ParseCredentialsError};
use crate::{Endpoint, ParseEndpointError, Rung};

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyScheme {
    /// CONNECT of HTTP (RFC 9110 §9.3.6), in the clear.
    Http,
    /// CONNECT of HTTP, over TLS to the proxy.
    Https,
    /// SOCKS5 (RFC 1928); names are resolved by the proxy.
    Socks5,
}

impl ProxyScheme {
    /// Returns the scheme as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

/// A proxy: `http://`, `https://` or `socks5://`, then `[USER:PASSWORD@]HOST[:PORT]`.
///
/// It is printed without its credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    rung: Rung,
    credentials: Option<Credentials>,
}

/// Says why a text names no proxy that can be used. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProxyError {
    /// It is not a URL of a host and a port.
    #[error("not a valid proxy: {0}; expected {EXPECTED}")]
    Form(&'static str),
    /// The host or the port is none.
    #[error("not a valid proxy: {0}")]
    Host(#[from] ParseEndpointError),
    /// What stands before `@` is none.
    #[error("not a valid proxy: {0}, each percent-encoded")]
    Credentials(#[from] ParseCredentialsError),
    /// The proxy speaks something else.
    #[error("{0}:// proxies are not supported; expected {EXPECTED}")]
    Scheme(String),
}

/// What can be used.
const EXPECTED: &str = "http://, https:// or socks5://, and [USER:PASSWORD@]HOST[:PORT] behind it";
/// Longest scheme that an error repeats.
const SCHEME_MAX: usize = 16;

impl ProxyUrl {
    /// Returns how it is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// Returns the proxy's host name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.rung.host
    }

    /// Returns its TCP port.
    pub fn port(&self) -> u16 {
        self.rung.port
    }

    /// Returns what proves to it who asks.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Sets what proves to it who asks.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Writes it with its credentials, for a file that nobody else can read.
    pub fn expose(&self) -> String {
        match &self.credentials {
            Some(credentials) => format!("{}://{}@{}", self.scheme.as_str(), credentials.to_url(), self.rung),
            None => self.to_string(),
        }
    }
}

impl FromStr for ProxyUrl {
    type Err = ParseProxyError;
    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseProxyError::Form("the scheme is missing"))?;
        let scheme = match &*scheme.to_ascii_lowercase() {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            // curl tells by the name who resolves; here the proxy always does, since it may know names that the
            // endpoint's network does not.
            "socks5" | "socks5h" => ProxyScheme::Socks5,
            other => {
                let known = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                let is_one = !other.is_empty() && other.len() <= SCHEME_MAX && other.chars().all(known);
                return Err(if is_one {
                    ParseProxyError::Scheme(other.to_owned())
                } else {
                    ParseProxyError::Form("what stands before :// is no scheme")
                });
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(Credentials::from_url(credentials)?), rest),
            None => (None, rest),
        };
        let endpoint: Endpoint = rest.parse()?;
        let port = endpoint.port().unwrap_or(scheme.default_port());
        Ok(Self { scheme, rung: Rung { host: endpoint.host().into(), port }, credentials })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.rung)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.credentials.is_some() { ", with credentials" } else { "" };
        write!(f, "ProxyUrl({self}{with})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_and_printing_are_inverse() {
        for text in [
            "http://proxy:3128",
            "http://10.0.0.1:8080",
            "http://[fd00::1]:3128",
            "https://proxy:3129",
            "socks5://proxy:1080",
        ] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().to_string(), text);
        }
        for (text, printed) in [
            ("HTTP://proxy:3128/", "http://proxy:3128"),
            ("http://proxy", "http://proxy:80"),
            ("https://proxy", "https://proxy:443"),
            ("socks5h://proxy", "socks5://proxy:1080"),
        ] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn credentials_are_kept_and_never_printed() {
        let url: ProxyUrl = "http://m%40e:s3cret%3A%2F@proxy:3128".parse().unwrap();
        assert_eq!(url.credentials(), Some(&Credentials::new("m@e", "s3cret:/").unwrap()));
        assert_eq!(url.to_string(), "http://proxy:3128");
        assert_eq!(format!("{url:?}"), "ProxyUrl(http://proxy:3128, with credentials)");
        assert_eq!(url.expose(), "http://m%40e:s3cret%3A%2F@proxy:3128");
        assert_eq!(url.expose().parse::<ProxyUrl>().unwrap(), url);
        assert_eq!(url.with_credentials(None).expose(), "http://proxy:3128");
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (text, expected) in [
            ("ftp://proxy:3128", "ftp:// proxies are not supported; expected http://, https:// or socks5://"),
            ("socks4://proxy:1080", "socks4:// proxies are not supported"),
            ("proxy:3128", "the scheme is missing"),
            ("me:s3cret@x://proxy:3128", "no scheme"),
            ("http://:s3cret@proxy", "the user name is empty"),
            ("http://me:s3cret%@proxy", "hexadecimal"),
            ("http://:3128", "the host is empty"),
            ("http://proxy:0", "the port is not between 1 and 65535"),
            ("http://proxy:3128/x", "the port is not between"),
            ("http://", "the host is empty"),
            ("", "the scheme is missing"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
