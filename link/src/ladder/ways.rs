//! All ways to a broker, the best first.

use std::fmt;

use wakemq_protocol::Transport;

use crate::{Ladder, Rung};

/// Whether ways go through a proxy, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyUse {
    /// There is no proxy.
    #[default]
    None,
    /// Every way through the proxy is better than any direct one: the default where a proxy is set.
    First,
    /// Every direct way is better than any through the proxy.
    Last,
    /// There is no direct way.
    Only,
}

impl ProxyUse {
    /// Returns the order in which ways are proxied or not.
    fn order(self) -> &'static [bool] {
        match self {
            Self::None => &[false],
            Self::First => &[true, false],
            Self::Last => &[false, true],
            Self::Only => &[true],
        }
    }
}

/// One way to the broker. It is printed as it is remembered: `poll broker.example:443 proxied`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Way {
    /// How they speak.
    pub transport: Transport,
    /// Which door of the broker.
    pub rung: Rung,
    /// Whether it goes through the proxy.
    pub proxied: bool,
}

impl Way {
    /// Tells whether both lead to the same host and port in the same manner.
    pub(super) fn same_door(&self, other: &Self) -> bool {
        self.proxied == other.proxied && self.rung == other.rung
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let through = if self.proxied { " proxied" } else { "" };
        write!(f, "{} {}{through}", self.transport, self.rung)
    }
}

/// The place of a way among all: the lesser, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WayId(usize);

impl WayId {
    /// Returns the place, from 0 on.
    pub fn index(self) -> usize {
        self.0
    }
}

/// All ways to a broker, the best first; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways(Vec<Way>);

impl Ways {
    /// Lists the ways to the doors of `ladder`: MQTT to each, then WebSocket and long poll to port 443, or to the
    /// ports of a host that names others. Through a proxy, port 443 comes first.
    pub fn new(ladder: &Ladder, proxy: ProxyUse) -> Self {
        Self::bypassing(ladder, proxy, |_| false)
    }

    /// Lists them where `bypass` names doors that are reached without the proxy.
    pub fn bypassing(ladder: &Ladder, proxy: ProxyUse, bypass: impl Fn(&Rung) -> bool) -> Self {
        let mut ways: Vec<Way> = Vec::new();
        let order = if ladder.rungs().all(|rung| bypass(&rung)) { &[false] } else { proxy.order() };
        for &proxied in order {
            let rungs: Vec<_> = if proxied { ladder.proxied_rungs() } else { ladder.rungs().collect() };
            for transport in Transport::ALL {
                let fits = |rung: &&Rung| {
                    transport == Transport::Mqtt
                        || rung.is_https()
                        || !rungs.iter().any(|other| other.host == rung.host && other.is_https())
                };
                for rung in rungs.iter().filter(fits) {
                    let way = Way { transport, rung: rung.clone(), proxied: proxied && !bypass(rung) };
                    if !ways.contains(&way) {
                        ways.push(way);
                    }
                }
            }
        }
        Self(ways)
    }

    /// Returns one of them.
    ///
    /// # Panics
    /// If `id` comes from other ways, of which there were more.
    pub fn get(&self, id: WayId) -> &Way {
        &self.0[id.0]
    }

    /// Returns every way, the best first.
    pub fn iter(&self) -> impl Iterator<Item = &Way> {
        self.0.iter()
    }

    /// Returns every id, the best first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = WayId> + use<> {
        (0..self.0.len()).map(WayId)
    }

    /// Finds a way by what it prints.
    pub fn find(&self, name: &str) -> Option<WayId> {
        self.0.iter().position(|way| way.to_string() == name).map(WayId)
    }
}
