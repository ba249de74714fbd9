//! Places, neighbours and an attempt to begin with.

use wakemq_core::power::{
    Awake, Heard, Neighbour, Place, PowerAction, PowerAttempt, PowerSettings, Sleeper, Targets,
};
use wakemq_protocol::{CommandId, CommandState, GroupPath, Medium, PowerStep, PowerWhat};

use crate::scenario::interface;

pub(crate) const GATEWAY: &str = "00:16:3e:ff:00:01";
/// When the attempts of these tests start.
pub(crate) const T0: u64 = 1_000_000;

/// An agent on 192.168.1.0/24, behind the translating address 203.0.113.7.
pub(crate) fn place(agent: &str, host: u8) -> Place {
    let gateway = GATEWAY.parse().ok();
    Place {
        agent: agent.parse().unwrap(),
        group: "a/x".parse().unwrap(),
        source: "203.0.113.7".parse().ok(),
        interfaces: vec![interface(
            &format!("00:16:3e:00:01:{host:02}"),
            Medium::Wired,
            &format!("192.168.1.{host}/24"),
            gateway,
        )],
    }
}

pub(crate) fn awake(place: Place) -> Awake {
    Awake { place, relay: true }
}

/// Those of these names who may send for the sleeper, by radio if the name begins with `w`.
pub(crate) fn neighbours(names: &[&str]) -> Vec<Neighbour> {
    let judge = |(number, name): (usize, &&str)| {
        let mut place = place(name, u8::try_from(number).unwrap() + 10);
        if name.starts_with('w') {
            place.interfaces[0].medium = Medium::Wireless;
        }
        Neighbour::judge(&crate::fixture::place("sleeper", 7), &GroupPath::root(), &awake(place)).unwrap()
    };
    names.iter().enumerate().map(judge).collect()
}

pub(crate) fn settings() -> PowerSettings {
    PowerSettings { timeout_ms: 120_000, return_ms: 60_000, ports: vec![9, 7], broker_sends: false }
}

pub(crate) fn sleeper(connected: bool) -> Sleeper {
    Sleeper {
        agent: "sleeper".parse().unwrap(),
        targets: Targets::of(&place("sleeper", 7).interfaces),
        connected,
        boot_id: Some("b1".into()),
        resume_id: None,
    }
}

/// What a machine tells that booted so many seconds ago.
pub(crate) fn heard(connected_ms: u64, since_boot: Option<u64>) -> Heard {
    Heard { connected_ms, boot_id: Some("b1".into()), resume_id: None, since_boot, since_resume: None }
}

/// An attempt with what it said so far.
pub(crate) struct Attempt {
    pub(crate) machine: PowerAttempt,
    pub(crate) evidence: Vec<PowerStep>,
    pub(crate) asked: Vec<(String, u8, CommandId)>,
}

impl Attempt {
    pub(crate) fn start(sleeper: Sleeper, settings: PowerSettings) -> Self {
        Self::of(PowerAttempt::start(sleeper, settings, [1; 10], T0))
    }

    pub(crate) fn of(machine: PowerAttempt) -> Self {
        Self { machine, evidence: Vec::new(), asked: Vec::new() }
    }

    /// Takes all actions, keeps the evidence and who was asked, and returns the others.
    pub(crate) fn actions(&mut self) -> Vec<PowerAction> {
        let mut others = Vec::new();
        while let Some(action) = self.machine.poll_action() {
            match action {
                PowerAction::Evidence(step) => self.evidence.push(step),
                PowerAction::Ask { command, relay, round, .. } => {
                    self.asked.push((relay.to_string(), round, command));
                }
                other => others.push(other),
            }
        }
        others
    }

    /// Answers a search that must be on, and returns who was asked thereupon.
    pub(crate) fn found(&mut self, names: &[&str], now_ms: u64) -> Vec<String> {
        assert_eq!(self.actions(), [PowerAction::FindRelays]);
        let before = self.asked.len();
        self.machine.handle_candidates(neighbours(names), now_ms);
        let others = self.actions();
        assert!(others.is_empty(), "{others:?}");
        self.asked[before..].iter().map(|(relay, ..)| relay.clone()).collect()
    }

    /// Tells of a relay's latest command.
    pub(crate) fn told(&mut self, relay: &str, state: CommandState, now_ms: u64) {
        let (.., command) = self.asked.iter().rfind(|(name, ..)| name == relay).unwrap();
        self.machine.handle_told(*command, state, None, now_ms);
    }

    /// Goes on to the next deadline, which must be at `at_ms`.
    pub(crate) fn wait_until(&mut self, at_ms: u64) {
        assert_eq!(self.machine.deadline_ms(), Some(at_ms));
        self.machine.handle_timeout(at_ms);
    }

    /// Returns the end that it has come to, with the actions that came before that.
    pub(crate) fn end(&mut self) -> (CommandState, String) {
        let actions = self.actions();
        let Some(PowerAction::End { state, detail }) = actions.last() else { panic!("{actions:?}") };
        assert_eq!((self.machine.has_ended(), self.machine.deadline_ms()), (true, None));
        (*state, detail.clone().unwrap_or_default())
    }

    /// The steps of the evidence by their names.
    pub(crate) fn steps(&self) -> Vec<String> {
        let name =
            |what: &PowerWhat| serde_json::to_value(what).unwrap()["step"].as_str().unwrap().to_owned();
        self.evidence.iter().map(|step| name(&step.what)).collect()
    }
}
