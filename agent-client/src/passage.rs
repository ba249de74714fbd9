//! How an agent gets out of its network: through which proxy, and past whom who opens TLS.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wakemq_link::ladder::ProxyUse;
use wakemq_link::{
    ParseProxyError, ProxySettings, ProxyUrl, Trust, TrustError, WayDialer, proxy_from_environment,
};

use crate::CaSource;

/// Through which proxy an agent goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyChoice {
    /// The one that the environment names, if it does: `https_proxy`, `all_proxy` and `no_proxy`, in small letters or
    /// in capital ones.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one.
    Proxy(ProxyUrl),
}

impl FromStr for ProxyChoice {
    type Err = ParseProxyError;

    /// Parses a proxy, or `none`.
    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Proxy) }
    }
}

/// In which order ways through the proxy and direct ones are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyOrder {
    /// Through the proxy first, and directly if that fails.
    #[default]
    First,
    /// Directly first, and through the proxy if that fails.
    Last,
    /// Through the proxy, and never directly.
    Only,
}

/// Says that a word names no [`ProxyOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected first, last or only")]
pub struct ParseProxyOrderError;

impl ProxyOrder {
    fn as_use(self) -> ProxyUse {
        match self {
            Self::First => ProxyUse::First,
            Self::Last => ProxyUse::Last,
            Self::Only => ProxyUse::Only,
        }
    }

    fn is_first(&self) -> bool {
        *self == Self::First
    }
}

impl fmt::Display for ProxyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Only => "only",
        })
    }
}

impl FromStr for ProxyOrder {
    type Err = ParseProxyOrderError;
    fn from_str(text: &str) -> Result<Self, ParseProxyOrderError> {
        let all = [Self::First, Self::Last, Self::Only];
        all.into_iter().find(|order| order.to_string() == text).ok_or(ParseProxyOrderError)
    }
}

/// How an agent gets out of its network, as enrolment keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Passage {
    /// Through which proxy.
    #[serde(default, skip_serializing_if = "is_environment", with = "proxy_text")]
    pub proxy: ProxyChoice,
    /// In which order.
    #[serde(default, rename = "proxy_order", skip_serializing_if = "ProxyOrder::is_first")]
    pub order: ProxyOrder,
    /// A certificate authority in PEM, of whoever opens TLS between agent and broker: it is believed where the
    /// broker's own is not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_ca: Option<String>,
}

/// Says why a passage cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassageError {
    /// A certificate authority.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing is to be reached without a proxy, and there is none.
    #[error("nothing is to be reached but through a proxy, and there is none")]
    NoProxy,
}

impl Passage {
    /// Returns which proxy is tried, and in which order. What the environment names and cannot be used is told, and
    /// counts as none.
    ///
    /// # Errors
    /// If nothing is to be reached without a proxy, and there is none.
    pub fn proxies(&self) -> Result<ProxySettings, PassageError> {
        let order = self.order.as_use();
        let settings = match &self.proxy {
            ProxyChoice::None => ProxySettings::none(),
            ProxyChoice::Proxy(url) => ProxySettings::new(url.clone(), order),
            ProxyChoice::Environment => proxy_from_environment(|name| std::env::var(name).ok(), order)
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "the environment's proxy cannot be used");
                    ProxySettings::none()
                }),
        };
        if self.order == ProxyOrder::Only && settings.url().is_none() {
            return Err(PassageError::NoProxy);
        }
        Ok(settings)
    }

    /// Returns by what the broker is known, and whoever opens TLS before it.
    pub fn trust(&self, ca: &CaSource) -> Result<Trust, TrustError> {
        let trust = ca.trust()?;
        Ok(match &self.extra_ca {
            Some(pem) => trust.with_extra(&Trust::from_pem(pem.as_bytes())?),
            None => trust,
        })
    }

    /// Makes the dialer of all ways to a broker that is known by `ca`.
    pub fn dialer(&self, ca: &CaSource) -> Result<WayDialer, PassageError> {
        Ok(WayDialer::new(&self.trust(ca)?, self.proxies()?)?)
    }
}

fn is_environment(choice: &ProxyChoice) -> bool {
    *choice == ProxyChoice::Environment
}

/// A proxy in the identity file: its URL with its credentials, `none`, or nothing at all.
mod proxy_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ProxyChoice;

    pub(super) fn serialize<S: Serializer>(choice: &ProxyChoice, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match choice {
            ProxyChoice::Environment => None,
            ProxyChoice::None => Some("none".to_owned()),
            ProxyChoice::Proxy(url) => Some(url.expose()),
        };
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ProxyChoice, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map_or(Ok(ProxyChoice::Environment), |text| text.parse().map_err(D::Error::custom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_file_keeps_it_whole_and_nothing_of_what_is_not_set() {
        assert_eq!(serde_json::to_string(&Passage::default()).unwrap(), "{}");
        let passage = Passage {
            proxy: "http://me:s3cret%40@proxy:3128".parse().unwrap(),
            order: ProxyOrder::Only,
            extra_ca: Some("pem".into()),
        };
        let text = serde_json::to_string(&passage).unwrap();
        let expected = r#"{"proxy":"http://me:s3cret%40@proxy:3128","proxy_order":"only","extra_ca":"pem"}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Passage>(&text).unwrap(), passage);
        assert!(!format!("{passage:?}").contains("s3cret"));
        let none = r#"{"proxy":"none"}"#;
        let passage: Passage = serde_json::from_str(none).unwrap();
        assert_eq!(
            (&passage.proxy, serde_json::to_string(&passage).unwrap()),
            (&ProxyChoice::None, none.into())
        );
    }

    #[test]
    fn only_through_a_proxy_needs_one() {
        let passage = Passage { proxy: ProxyChoice::None, order: ProxyOrder::Only, extra_ca: None };
        assert!(matches!(passage.proxies(), Err(PassageError::NoProxy)));
        let passage = Passage { proxy: "socks5://p".parse().unwrap(), ..passage };
        assert_eq!(passage.proxies().unwrap().order(), ProxyUse::Only);
    }
}
