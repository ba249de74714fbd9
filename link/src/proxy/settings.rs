//! Which proxy there is, for which hosts, and in which order it is tried.

use super::{NoProxy, ProxyUrl};
use crate::ladder::{ProxyUse, Ways};
use crate::{Ladder, Rung};

/// Who named a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxySource {
    /// The program's owner.
    #[default]
    Explicit,
    /// A variable of the environment.
    Environment(&'static str),
}

/// Which proxy there is, and in which order ways through it and direct ones are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxySettings {
    url: Option<ProxyUrl>,
    order: ProxyUse,
    no_proxy: NoProxy,
    source: ProxySource,
}

impl ProxySettings {
    /// Says that there is no proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// Names a proxy, and its place among the ways.
    pub fn new(url: ProxyUrl, order: ProxyUse) -> Self {
        match order {
            ProxyUse::None => Self::none(),
            ProxyUse::First | ProxyUse::Last | ProxyUse::Only => {
                Self { url: Some(url), order, ..Self::default() }
            }
        }
    }

    pub(super) fn from_environment(
        url: ProxyUrl,
        order: ProxyUse,
        no_proxy: NoProxy,
        variable: &'static str,
    ) -> Self {
        Self { no_proxy, source: ProxySource::Environment(variable), ..Self::new(url, order) }
    }

    /// Returns the proxy.
    pub fn url(&self) -> Option<&ProxyUrl> {
        self.url.as_ref()
    }

    /// Returns the order in which it is tried; `None` if there is none.
    pub fn order(&self) -> ProxyUse {
        self.order
    }

    /// Returns who named it.
    pub fn source(&self) -> ProxySource {
        self.source
    }

    /// Tells whether a host and port is reached without it.
    pub fn bypasses(&self, rung: &Rung) -> bool {
        self.no_proxy.matches(rung)
    }

    /// Lists the ways to a broker, the best first.
    pub fn ways(&self, ladder: &Ladder) -> Ways {
        Ways::bypassing(ladder, self.order, |rung| self.bypasses(rung))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(order: ProxyUse, no_proxy: &str) -> String {
        let settings =
            ProxySettings { no_proxy: no_proxy.parse().unwrap(), ..ProxySettings::new(proxy(), order) };
        let ways = settings.ways(&Ladder::parse(&["a:1", "b:443"]).unwrap());
        let mqtt = ways.iter().filter(|way| way.transport == crate::Transport::Mqtt);
        mqtt.map(|way| way.to_string().replace("mqtt ", "")).collect::<Vec<_>>().join(", ")
    }

    fn proxy() -> ProxyUrl {
        "http://proxy:3128".parse().unwrap()
    }

    #[test]
    fn hosts_that_need_no_proxy_have_direct_ways_alone_whatever_the_order() {
        assert_eq!(ways(ProxyUse::First, ""), "b:443 proxied, a:1 proxied, a:1, b:443");
        assert_eq!(ways(ProxyUse::First, "a"), "b:443 proxied, a:1, b:443");
        assert_eq!(ways(ProxyUse::Last, "a"), "a:1, b:443, b:443 proxied");
        assert_eq!(ways(ProxyUse::Only, "a"), "b:443 proxied, a:1");
        assert_eq!(ways(ProxyUse::Only, "*"), "a:1, b:443");
        assert_eq!(ways(ProxyUse::None, "a"), "a:1, b:443");
    }
}
