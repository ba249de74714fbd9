//! What is true in a simulated run: the machine, those around it, and what goes wrong.

use std::net::IpAddr;

use fastrand::Rng;
use wakemq_core::power::{Awake, Place, PowerSettings};
use wakemq_protocol::{GroupPath, Interface, MacAddr, Medium};

/// When each run starts, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
/// The cable that the sleeper is connected to; packets that are sent elsewhere do not reach it.
pub(crate) const WIRE: u32 = 0;
/// The sleeper's only adapter that listens.
pub(crate) const MAC: &str = "00:16:3e:00:00:07";

/// What the machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// It is off, or suspended, and comes up so long after a packet.
    Wakes { after_ms: u64 },
    /// It comes up by itself at a time, whatever is sent.
    ByItself { at_ms: u64 },
    /// It has been running all the time, and reaches the broker again at a time, or never.
    CutOff { back_ms: Option<u64> },
    /// It is off, and no packet changes that.
    Dead,
    /// It runs and is connected; it answers so long after it was asked.
    Answers { after_ms: u64 },
}

/// What the machine tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    Ages,
    IdsAlone,
    Nothing,
}

#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) nature: Nature,
    /// What sleeps is suspended, not off.
    pub(crate) suspended: bool,
    /// It is connected at the start, or its dead connection looks so.
    pub(crate) looks_connected: bool,
    pub(crate) tells: Tells,
    pub(crate) has_mac: bool,
    /// From coming up to its CONNECT.
    pub(crate) connect_ms: u64,
    /// From its CONNECT to the sending and the arrival of what it tells.
    pub(crate) tell_ms: (u64, u64),
    pub(crate) booted_ms: u64,
    pub(crate) resumed_ms: Option<u64>,
}

/// What a relay does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    Silent,
    SilentButSends,
    SaysDoneSendsNothing,
    SaysFailedButSends,
    Refuses,
    AcknowledgesLate,
    LeavesBefore,
    LeavesAfter,
}

/// Why an agent may or may not send for the sleeper, in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// On its cable, and to be known as such.
    Beside,
    /// On its cable, but another tenant's.
    OtherTenant,
    /// On its cable, but in another group: outside the operator's right, if that is limited.
    OutsideRight,
    /// On its cable, but told not to relay.
    Unwilling,
    /// Another site with the same numbers and the same virtual router, under another public address.
    OtherSite,
    /// Another cable of the same site, behind a router with the same MAC.
    OtherSubnet,
    /// Another site with the same numbers under the same public address; the gateway differs.
    OtherGateway,
}

#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) place: Where,
    pub(crate) awake: Awake,
    pub(crate) wire: u32,
    pub(crate) manner: Manner,
    pub(crate) connected: bool,
    /// When it goes, and when it comes.
    pub(crate) goes_ms: Option<u64>,
    pub(crate) comes_ms: Option<u64>,
}

/// What the broker's own packets do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnPackets {
    None,
    Arrive,
    Lost,
    Fail,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) sleeper: Place,
    pub(crate) machine: Machine,
    pub(crate) agents: Vec<Agent>,
    pub(crate) settings: PowerSettings,
    pub(crate) own_packets: OwnPackets,
    /// The operator's right, and when it shrinks to nothing of use.
    pub(crate) scope: GroupPath,
    pub(crate) right_lost_ms: Option<u64>,
    /// The broker is killed when it carries out its nth action, and is back after so long.
    pub(crate) crashes: Vec<(usize, u64)>,
    pub(crate) cancelled_ms: Option<u64>,
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())]
}

pub(crate) fn interface(mac: &str, medium: Medium, address: &str, gateway: Option<MacAddr>) -> Interface {
    Interface {
        name: "eth0".into(),
        mac: mac.parse().unwrap(),
        medium,
        addresses: vec![address.parse().unwrap()],
        gateway_mac: gateway,
    }
}

/// The numbers of a site.
struct Numbers {
    direct: bool,
    gateway: Option<MacAddr>,
}

impl Numbers {
    fn source(&self, own: &str) -> IpAddr {
        if self.direct { own.parse().unwrap() } else { "203.0.113.7".parse().unwrap() }
    }
}

impl Scenario {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let direct = rng.bool();
        let gateway = match rng.u32(0..3) {
            0 => "00:00:5e:00:01:01".parse().ok(),
            1 => "00:16:3e:ff:00:01".parse().ok(),
            // Without it only those with addresses of their own are told apart.
            _ if direct => None,
            _ => "00:00:0c:07:ac:01".parse().ok(),
        };
        let numbers = Numbers { direct, gateway };
        let machine = Machine::draw(rng);
        let mac = if machine.has_mac { MAC } else { "02:16:3e:00:00:07" };
        let sleeper = Place {
            agent: "sleeper".parse().unwrap(),
            group: "a/x".parse().unwrap(),
            source: Some(numbers.source("192.168.1.7")),
            interfaces: vec![interface(mac, Medium::Wired, "192.168.1.7/24", gateway)],
        };
        let most = pick(rng, &[0, 2, 5, 9]);
        let agents = (0..rng.usize(0..=most)).map(|n| Agent::draw(rng, n, &numbers)).collect();
        let own_packets = pick(
            rng,
            &[OwnPackets::None, OwnPackets::None, OwnPackets::Arrive, OwnPackets::Lost, OwnPackets::Fail],
        );
        let settings = PowerSettings {
            timeout_ms: pick(rng, &[5_000, 20_000, 45_000, 120_000, 120_000, 300_000]),
            return_ms: pick(rng, &[1_000, 10_000, 60_000]),
            ports: vec![9, 7],
            broker_sends: own_packets != OwnPackets::None,
        };
        let crashes = match rng.u32(0..10) {
            0 | 1 => vec![(rng.usize(1..12), rng.u64(500..40_000))],
            2 => vec![(rng.usize(1..8), rng.u64(500..40_000)), (rng.usize(8..16), rng.u64(500..40_000))],
            _ => Vec::new(),
        };
        let sometime = |rng: &mut Rng, percent| chance(rng, percent).then(|| START_MS + rng.u64(0..150_000));
        let (right_lost_ms, cancelled_ms) = (sometime(rng, 5), sometime(rng, 5));
        let scope = pick(rng, &["a/x", ""]).parse().unwrap();
        Self { sleeper, machine, agents, settings, own_packets, scope, right_lost_ms, crashes, cancelled_ms }
    }
}

impl Machine {
    fn draw(rng: &mut Rng) -> Self {
        let nature = match rng.u32(0..12) {
            0..=2 => Nature::Wakes { after_ms: rng.u64(2_000..90_000) },
            3..=4 => Nature::Wakes { after_ms: rng.u64(50..500) },
            5 => Nature::ByItself { at_ms: START_MS - 8_000 + rng.u64(0..16_000) },
            6 => Nature::ByItself { at_ms: START_MS - 8_000 + rng.u64(0..130_000) },
            7 => Nature::CutOff { back_ms: Some(START_MS + pick(rng, &[20, 80, 8_000])) },
            8 => Nature::CutOff { back_ms: chance(rng, 80).then(|| START_MS + rng.u64(0..130_000)) },
            9 => Nature::Dead,
            10 => Nature::Answers { after_ms: rng.u64(10..4_900) },
            _ => Nature::Answers { after_ms: rng.u64(10..15_000) },
        };
        let looks_connected = match nature {
            Nature::Answers { .. } => true,
            Nature::ByItself { .. } | Nature::CutOff { .. } => false,
            Nature::Wakes { .. } | Nature::Dead => chance(rng, 30),
        };
        let sent_ms = rng.u64(0..150);
        let booted_ms = START_MS - rng.u64(20_000..100_000_000);
        Self {
            nature,
            suspended: rng.bool(),
            looks_connected,
            tells: pick(
                rng,
                &[Tells::Ages, Tells::Ages, Tells::Ages, Tells::Ages, Tells::IdsAlone, Tells::Nothing],
            ),
            has_mac: chance(rng, 95),
            connect_ms: pick(rng, &[50, 400, 2_000, 20_000]),
            tell_ms: (sent_ms, sent_ms + rng.u64(1..150)),
            booted_ms,
            resumed_ms: rng.bool().then(|| booted_ms + rng.u64(0..10_000)),
        }
    }
}

impl Agent {
    fn draw(rng: &mut Rng, number: usize, numbers: &Numbers) -> Self {
        let place = match rng.u32(0..12) {
            0 => Where::OtherTenant,
            1 => Where::OutsideRight,
            2 => Where::Unwilling,
            3 => Where::OtherSite,
            4 => Where::OtherSubnet,
            5 if numbers.gateway.is_some() => Where::OtherGateway,
            _ => Where::Beside,
        };
        let on_wire =
            matches!(place, Where::Beside | Where::OtherTenant | Where::OutsideRight | Where::Unwilling);
        let own = match place {
            Where::OtherSubnet => format!("192.168.2.{}", number + 10),
            _ => format!("192.168.1.{}", number + 10),
        };
        let medium = if rng.bool() { Medium::Wired } else { Medium::Wireless };
        let gateway = match place {
            Where::OtherGateway => "00:16:3e:ff:00:02".parse().ok(),
            _ => numbers.gateway,
        };
        // The same numbers a second time under addresses of their own would reach nobody: that site has a router
        // that translates.
        let source = match place {
            Where::OtherSite => "203.0.113.8".parse().unwrap(),
            _ => numbers.source(&own),
        };
        let group = match place {
            Where::OtherTenant => "b/x",
            Where::OutsideRight => "a/y",
            _ => pick(rng, &["a/x", "a/x/deep"]),
        };
        let mac = format!("00:16:3e:00:01:{number:02}");
        let manners = [
            Manner::Silent,
            Manner::SilentButSends,
            Manner::SaysDoneSendsNothing,
            Manner::SaysFailedButSends,
            Manner::Refuses,
            Manner::AcknowledgesLate,
            Manner::LeavesBefore,
            Manner::LeavesAfter,
        ];
        let connected = chance(rng, 85);
        Self {
            place,
            awake: Awake {
                place: Place {
                    agent: format!("relay-{number}").parse().unwrap(),
                    group: group.parse().unwrap(),
                    source: Some(source),
                    interfaces: vec![interface(&mac, medium, &format!("{own}/24"), gateway)],
                },
                relay: place != Where::Unwilling,
            },
            wire: if on_wire { WIRE } else { 1 },
            manner: if rng.bool() { Manner::Honest } else { pick(rng, &manners) },
            connected,
            goes_ms: chance(rng, 10).then(|| START_MS + rng.u64(0..70_000)),
            comes_ms: (!connected).then(|| START_MS + rng.u64(0..70_000)),
        }
    }
}
