//! Whether an endpoint can be switched on now, how, and if not why and what to do: in sentences.

use wakemq_protocol::http::PowerView;
use wakemq_protocol::{AgentId, Medium, Timestamp};

use super::neighbours::{Neighbour, Unfit};
use super::site::{Place, Site, networks_of, subnet_keys};
use super::targets::{Targets, join};

/// How many relays are named at most.
const RELAYS_MAX: usize = 10;
/// How many agents are named at most that are awake and do not fit.
const UNFIT_MAX: usize = 5;

/// What is known of an endpoint and those around it.
#[derive(Debug, Clone, Copy)]
pub struct PowerCase<'a> {
    /// Where the endpoint was last.
    pub place: &'a Place,
    /// It is connected and subscribed.
    pub connected: bool,
    /// When it was last connected, if it ever was.
    pub last_seen: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
    /// Those who may send for it, in any order.
    pub neighbours: &'a [Neighbour],
    /// Some that are awake and near, and why they may not.
    pub unfit: &'a [(AgentId, Unfit)],
    /// To where the broker sends itself.
    pub broker_addresses: &'a [String],
}

/// Says whether the endpoint can be switched on now, how, and if not why and what to do.
pub fn explain(case: &PowerCase<'_>) -> PowerView {
    let targets = Targets::of(&case.place.interfaces);
    let mut neighbours = case.neighbours.to_vec();
    Neighbour::sort(&mut neighbours);
    let mut said = Said::default();
    said.presence(case);
    said.macs(case, &targets);
    said.subnets(case, &targets);
    said.relays(case, &targets, &neighbours);
    said.broker(case, &neighbours);
    let has_sender = !neighbours.is_empty() || !case.broker_addresses.is_empty();
    PowerView {
        agent: case.place.agent.clone(),
        connected: case.connected,
        can_wake: has_sender && !targets.macs.is_empty(),
        macs: targets.macs,
        subnets: targets.networks,
        relays: neighbours.iter().take(RELAYS_MAX).map(|one| one.agent().clone()).collect(),
        findings: said.findings,
        advice: said.advice,
    }
}

/// What was said so far.
#[derive(Debug, Default)]
struct Said {
    findings: Vec<String>,
    advice: Vec<String>,
}

impl Said {
    fn find(&mut self, text: impl Into<String>) {
        self.findings.push(text.into());
    }

    fn advise(&mut self, text: impl Into<String>) {
        self.advice.push(text.into());
    }

    fn presence(&mut self, case: &PowerCase<'_>) {
        let agent = &case.place.agent;
        match (case.connected, case.last_seen) {
            (true, _) => self.find(format!("{agent} is connected: it looks up.")),
            (false, Some(at)) => {
                let ago = ago(case.now, at);
                self.find(format!("{agent} is not connected; it was last seen {ago} ago, at {at}."));
            }
            (false, None) => {
                self.find(format!("{agent} has never connected, so that nothing is known of its hardware."));
            }
        }
    }

    fn macs(&mut self, case: &PowerCase<'_>, targets: &Targets) {
        let medium_of = |medium| {
            let of = case.place.interfaces.iter().filter(move |interface| interface.medium == medium);
            let macs: Vec<_> =
                targets.macs.iter().filter(|mac| of.clone().any(|one| one.mac == **mac)).collect();
            macs
        };
        let (wired, wireless) = (medium_of(Medium::Wired), medium_of(Medium::Wireless));
        for (macs, by) in [(&wired, "wired"), (&wireless, "wireless")] {
            if !macs.is_empty() {
                self.find(format!("A magic packet would carry its {by} MAC {}.", join(macs)));
            }
        }
        if !targets.unusable.is_empty() {
            let text = join(&targets.unusable);
            self.find(format!("{text} cannot wake it: made up by software, randomised or virtual."));
        }
        if targets.macs.is_empty() {
            if case.place.interfaces.is_empty() && case.last_seen.is_some() {
                self.find("No MAC of it is known: its agent tells of no interfaces.");
                self.advise(
                    "Update its agent to a version that tells of interfaces, and let it connect once.",
                );
            } else if case.place.interfaces.is_empty() {
                self.advise("Switch it on by hand and let its agent connect once: it then tells its MAC.");
            } else {
                self.find("No MAC of it is known that can wake it.");
                self.advise("Switch off random hardware addresses on it, or connect it by cable, once while it is up.");
            }
        } else if wired.is_empty() {
            self.advise("Connect it by cable: few wireless adapters wake an endpoint that is off.");
        }
    }

    fn subnets(&mut self, case: &PowerCase<'_>, targets: &Targets) {
        if targets.networks.is_empty() {
            if !targets.macs.is_empty() {
                self.find("It is not known on which subnet it was last.");
                self.advise("Let it connect once while it has an address: it then tells its subnet.");
            }
            return;
        }
        let seen = match (case.place.site(), case.place.source) {
            (Site::Direct, Some(address)) => format!("; the broker saw it under its own address {address}"),
            (Site::Behind(_), Some(address)) => format!("; the broker saw it behind {address}"),
            (Site::Direct | Site::Behind(_) | Site::Unknown, _) => String::new(),
        };
        self.find(format!("It was last on {}{seen}.", join(&targets.networks)));
        let known: Vec<_> = subnet_keys(case.place).iter().map(super::SubnetKey::network).collect();
        let lost: Vec<_> = targets.networks.iter().filter(|network| !known.contains(network)).collect();
        if lost.is_empty() {
            return;
        }
        let text = join(&lost);
        if case.place.source.is_none() {
            self.find(format!(
                "From where it connected was not kept, so that nobody counts as its neighbour on {text}."
            ));
            self.advise("Let it connect once more.");
        } else {
            let gateways = "its gateway's MAC is not known";
            self.find(format!("Nothing tells its {text} from the same numbers elsewhere: {gateways}."));
            self.advise(
                "Let its agent run while it has a default route, so that it learns its gateway's MAC.",
            );
        }
    }

    fn relays(&mut self, case: &PowerCase<'_>, targets: &Targets, neighbours: &[Neighbour]) {
        let names: Vec<_> = neighbours.iter().take(RELAYS_MAX).map(name).collect();
        let more = neighbours.len().saturating_sub(RELAYS_MAX);
        match (neighbours.len(), more) {
            (0, _) => self.find("No awake agent may send for it."),
            (1, _) => {
                self.find(format!("One awake agent may send for it: {}.", join(&names)));
                self.advise(format!(
                    "Keep a second one awake on {}: the only one may go.",
                    place_text(targets)
                ));
            }
            (all, 0) => self.find(format!("{all} awake agents may send for it: {}.", join(&names))),
            (all, more) => {
                let names = names.join(", ");
                self.find(format!("{all} awake agents may send for it: {names} and {more} more."));
            }
        }
        if !neighbours.is_empty() {
            return;
        }
        for (agent, why) in case.unfit.iter().take(UNFIT_MAX) {
            self.find(format!("{agent} is awake, but {why}."));
        }
        let silent: Vec<_> = case
            .unfit
            .iter()
            .filter(|(_, why)| *why == Unfit::DoesNotRelay)
            .map(|(agent, _)| agent)
            .collect();
        if !silent.is_empty() {
            self.advise(format!("Let the agent of {} relay: run it without --no-relay.", join(&silent)));
        }
        if targets.macs.is_empty() || targets.networks.is_empty() {
            return;
        }
        self.advise(format!("Keep an endpoint with an agent awake on {}.", place_text(targets)));
    }

    fn broker(&mut self, case: &PowerCase<'_>, neighbours: &[Neighbour]) {
        let addresses = join(case.broker_addresses);
        match (case.broker_addresses.is_empty(), neighbours.is_empty()) {
            (true, false) => {}
            (true, true) => {
                self.find("The broker itself has no addresses to send to.");
                let example = networks_of_place(case.place).unwrap_or_else(|| "192.168.1.255".to_owned());
                self.advise(format!(
                    "Or let the broker send itself: [wol] addresses = [\"{example}\"] in its configuration, if \
                     routers and switches let such packets through."
                ));
            }
            (false, true) => {
                self.find(format!("The broker would send itself, to {addresses}."));
                self.find("Whether that reaches its subnet depends on the routers in between.");
            }
            (false, false) => {
                self.find(format!("Without them the broker would send itself, to {addresses}."));
            }
        }
    }
}

/// Names a relay, with what it is connected by.
fn name(neighbour: &Neighbour) -> String {
    let by = match neighbour.medium() {
        Medium::Wired => "wired",
        Medium::Wireless => "wireless",
    };
    format!("{} ({by})", neighbour.agent())
}

fn place_text(targets: &Targets) -> String {
    if targets.networks.is_empty() { "its subnet".to_owned() } else { targets.networks_text() }
}

/// Returns the broadcast address of the first network of IPv4 where an endpoint was.
fn networks_of_place(place: &Place) -> Option<String> {
    let networks = place.interfaces.iter().flat_map(networks_of);
    networks
        .into_iter()
        .find(|network| network.addr().is_ipv4())
        .map(|network| network.broadcast().to_string())
}

/// Says how long ago something was.
fn ago(now: Timestamp, at: Timestamp) -> String {
    let secs = (now.unix_ms() - at.unix_ms()).max(0) / 1000;
    let (count, unit) = match secs {
        0..60 => (secs, "second"),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}
