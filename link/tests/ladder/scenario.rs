//! What is true in a simulated run: the networks, what goes wrong in them, and when.

use fastrand::Rng;
use wakemq_link::ladder::{ProxyUse, WayId, Ways};
use wakemq_link::{Ladder, NetworkKey};

/// When each run starts, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What becomes of who tries a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    Works,
    /// Nothing listens, or the proxy lets nobody there.
    Refused,
    /// Packets vanish.
    Dropped,
    /// The proxy takes the connection and says nothing.
    ProxySilent,
    /// The proxy wants a password, or is not found.
    ProxyBroken,
    /// It takes connections, but TLS or the upgrade fails.
    NoTls,
    /// It is up, and CONNECT is never answered.
    Mute,
    /// It is up, and CONNECT ends it.
    Cuts,
}

#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) key: NetworkKey,
    /// Of each way.
    pub(crate) qualities: Vec<Quality>,
    pub(crate) one_way_ms: u64,
    /// After how long a quiet flow is forgotten without a word.
    pub(crate) forgets_after_ms: Option<u64>,
}

/// What the broker says to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Accepts,
    Busy { return_secs: Option<u32> },
    NotAllowed,
}

/// What happens to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is in this network now, or in none.
    Network(Option<usize>),
    Quality(usize, WayId, Quality),
    Mood(Mood),
    BrokerDown {
        for_ms: u64,
    },
    /// The broker ends the connection, and says when to come back.
    Drain {
        return_secs: u32,
    },
    /// Another connection of the same agent takes over.
    Clone,
    /// The connection dies without a word.
    HalfOpen,
    Suspend {
        for_ms: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) ways: Ways,
    pub(crate) networks: Vec<Network>,
    pub(crate) changes: Vec<(u64, Change)>,
    /// How many of a hundred attempts are lost, until all has changed.
    pub(crate) loss_percent: u32,
    /// When the run ends.
    pub(crate) end_ms: u64,
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())]
}

impl Scenario {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let hosts: &[&str] = pick(rng, &[&["a"][..], &["a"], &["a"], &["a", "b:8883"], &["a:1883", "a:443"]]);
        let proxy =
            pick(rng, &[ProxyUse::None, ProxyUse::First, ProxyUse::First, ProxyUse::Last, ProxyUse::Only]);
        let ways = Ways::new(&Ladder::parse(hosts).expect("hosts that are drawn"), proxy);
        let networks: Vec<_> = (0..rng.u8(1..=3)).map(|number| Network::draw(rng, number, &ways)).collect();
        let mut at_ms = START_MS;
        let mut changes = Vec::new();
        for _ in 0..rng.usize(0..=9) {
            at_ms +=
                pick(rng, &[300, 1_500, 6_000, MINUTE_MS, 20 * MINUTE_MS, HOUR_MS]) * rng.u64(1..=100) / 50;
            changes.push((at_ms, Change::draw(rng, &networks, &ways)));
        }
        // It ends well, but for some who are offline to the end.
        at_ms += rng.u64(1..=2 * MINUTE_MS);
        changes.push((at_ms, Change::Mood(Mood::Accepts)));
        if rng.u32(0..10) > 0 {
            at_ms += rng.u64(1..=MINUTE_MS);
            changes.push((at_ms, Change::Network(Some(rng.usize(0..networks.len())))));
        }
        let mut scenario =
            Self { ways, networks, changes, loss_percent: pick(rng, &[0, 0, 5, 25]), end_ms: at_ms };
        let over = |(at_ms, change): &(u64, Change)| {
            let lasts_ms = if let Change::Suspend { for_ms } | Change::BrokerDown { for_ms } = change {
                *for_ms
            } else {
                0
            };
            at_ms + lasts_ms
        };
        scenario.end_ms = scenario.changes.iter().map(over).max().unwrap_or(at_ms);
        // Each way that leads on and then nowhere costs an hour, and again after six.
        let traps = scenario.networks.iter().flat_map(|network| &network.qualities);
        let traps = traps.filter(|quality| matches!(quality, Quality::Mute | Quality::Cuts)).count() as u64;
        let drawn =
            scenario.changes.iter().filter(|(_, change)| matches!(change, Change::Quality(..))).count();
        scenario.end_ms += 9 * HOUR_MS + (traps + drawn as u64) * 5 * HOUR_MS / 2;
        scenario
    }

    /// When the last change takes place.
    pub(crate) fn last_ms(&self) -> u64 {
        self.changes.last().map_or(START_MS, |(at_ms, _)| *at_ms)
    }
}

impl Quality {
    fn of_door(rng: &mut Rng, proxied: bool) -> Self {
        match rng.u32(0..10) {
            0..=4 => Self::Works,
            5..=6 => Self::Refused,
            7..=8 => Self::Dropped,
            _ if proxied => Self::ProxySilent,
            _ => Self::Dropped,
        }
    }

    /// Tells whether it is of the host and port, or of the proxy: the same for all transports.
    fn is_of_door(self) -> bool {
        matches!(self, Self::Refused | Self::Dropped | Self::ProxySilent | Self::ProxyBroken)
    }

    fn of_way(rng: &mut Rng) -> Self {
        match rng.u32(0..20) {
            0..=1 => Self::NoTls,
            2 => Self::Mute,
            3 => Self::Cuts,
            _ => Self::Works,
        }
    }
}

impl Network {
    /// Changes what becomes of who tries a way, and of all that have no other quality than it; returns them.
    pub(crate) fn set_quality(&mut self, ways: &Ways, id: WayId, quality: Quality) -> Vec<WayId> {
        let (way, before) = (ways.get(id), self.qualities[id.index()]);
        let concerned = |other: &WayId| {
            let (of_all, of_door) =
                (before == Quality::ProxyBroken, before.is_of_door() || quality.is_of_door());
            let other_way = ways.get(*other);
            let same_door = other_way.proxied == way.proxied && other_way.rung == way.rung;
            *other == id || of_all && other_way.proxied || of_door && same_door
        };
        let concerned: Vec<_> = ways.ids().filter(concerned).collect();
        concerned.iter().for_each(|other| self.qualities[other.index()] = quality);
        concerned
    }

    fn draw(rng: &mut Rng, number: u8, ways: &Ways) -> Self {
        let proxy_broken = rng.u32(0..6) == 0;
        let mut doors = Vec::new();
        let qualities = ways.ids().map(|id| {
            let way = ways.get(id);
            let door = (way.rung.clone(), way.proxied);
            let known = doors.iter().find(|(other, _)| *other == door).map(|(_, quality)| *quality);
            let of_door = known.unwrap_or_else(|| {
                let quality = Quality::of_door(rng, way.proxied);
                doors.push((door, quality));
                quality
            });
            if way.proxied && proxy_broken {
                Quality::ProxyBroken
            } else if of_door == Quality::Works {
                Quality::of_way(rng)
            } else {
                of_door
            }
        });
        let qualities = qualities.collect();
        let mac = wakemq_protocol::MacAddr::new([0, 0x16, 0x3e, 0, 1, number]);
        Self {
            // One of them cannot be told from others.
            key: NetworkKey::new((number < 2).then_some(mac), None),
            qualities,
            one_way_ms: pick(rng, &[1, 5, 20, 80, 400, 2_400]),
            forgets_after_ms: rng.bool().then(|| rng.u64(9..40) * MINUTE_MS + 30_000),
        }
    }
}

impl Change {
    fn draw(rng: &mut Rng, networks: &[Network], ways: &Ways) -> Self {
        match rng.u32(0..16) {
            0..=1 => Self::Network(None),
            2..=5 => Self::Network(Some(rng.usize(0..networks.len()))),
            6..=7 => {
                let ids: Vec<_> = ways.ids().collect();
                let way = pick(rng, &ids);
                let of_door = rng.bool().then(|| Quality::of_door(rng, ways.get(way).proxied));
                let quality = of_door.unwrap_or_else(|| Quality::of_way(rng));
                Self::Quality(rng.usize(0..networks.len()), way, quality)
            }
            8 => Self::Mood(pick(
                rng,
                &[Mood::Busy { return_secs: Some(90) }, Mood::Busy { return_secs: None }, Mood::NotAllowed],
            )),
            9 => Self::Mood(Mood::Accepts),
            10 => Self::BrokerDown { for_ms: pick(rng, &[500, 10_000, 10 * MINUTE_MS]) },
            11 => Self::Drain { return_secs: pick(rng, &[0, 5, 60, 600]) },
            12 => Self::Clone,
            13 => Self::HalfOpen,
            _ => Self::Suspend { for_ms: pick(rng, &[3_000, 10 * MINUTE_MS, 5 * HOUR_MS]) },
        }
    }
}
