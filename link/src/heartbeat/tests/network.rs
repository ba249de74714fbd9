//! A network that forgets, a broker that answers, and the agent's driver between them, in virtual time.

use crate::heartbeat::{Heartbeat, HeartbeatAction, HeartbeatSettings, Learned, SpareNews};

pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const START_MS: u64 = 1_800_000_000_000;
/// How long the driver waits for an answer.
const GRACE_MS: u64 = 20_000;

/// What became of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Idle,
    /// A command came before the time had passed.
    Answered,
    NoAnswer,
    /// It ended for another reason, or has not ended.
    Open,
}

/// An ask to be left alone for so long, on the main connection or on a spare one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) at_ms: u64,
    pub(super) spare: bool,
    pub(super) secs: u32,
    pub(super) outcome: Outcome,
}

pub(super) struct Network {
    pub(super) heartbeat: Heartbeat,
    pub(super) now_ms: u64,
    /// After how long a quiet flow is forgotten.
    pub(super) forgets_after_ms: Option<u64>,
    pub(super) asked: Vec<Asked>,
    /// Whether the first attempts at a spare connection fail.
    pub(super) spare_fails: Vec<bool>,
    /// The asks that are open, by their index, with when their end is noticed.
    main: Option<(usize, u64)>,
    spare: Option<(usize, u64)>,
    commands: Vec<u64>,
    /// From when to when the broker is out of reach: what ends then ends without an answer.
    outages: Vec<(u64, u64)>,
}

impl Network {
    pub(super) fn new(
        settings: HeartbeatSettings,
        learned: Option<Learned>,
        forgets_after_ms: Option<u64>,
    ) -> Self {
        let mut heartbeat = Heartbeat::new(settings, learned, START_MS);
        heartbeat.handle_connected(START_MS);
        let mut network = Self {
            heartbeat,
            now_ms: START_MS,
            forgets_after_ms,
            asked: Vec::new(),
            spare_fails: Vec::new(),
            main: None,
            spare: None,
            commands: Vec::new(),
            outages: Vec::new(),
        };
        network.settle();
        network
    }

    pub(super) fn command_at(&mut self, at_ms: u64) {
        self.commands.push(at_ms);
        self.commands.sort_unstable();
    }

    pub(super) fn outage(&mut self, from_ms: u64, long_ms: u64) {
        self.outages.push((from_ms, from_ms + long_ms));
    }

    /// Returns the asks by which something was found out.
    pub(super) fn looked_for(&self) -> impl Iterator<Item = &Asked> {
        let first_idle = self.asked.iter().position(|ask| !ask.spare && ask.outcome == Outcome::Idle);
        self.asked
            .iter()
            .enumerate()
            .filter(move |(index, ask)| ask.spare || first_idle.is_none_or(|first| *index <= first))
            .map(|(_, ask)| ask)
    }

    /// Returns what was asked on spare connections, in seconds.
    pub(super) fn spares(&self) -> Vec<u32> {
        self.asked.iter().filter(|ask| ask.spare).map(|ask| ask.secs).collect()
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        loop {
            let main_ms = self.main.map_or(self.now_ms, |(_, at_ms)| at_ms);
            let due = [
                Some(main_ms),
                self.spare.map(|(_, at_ms)| at_ms),
                self.heartbeat.poll_timeout(),
                self.commands.first().copied(),
            ];
            let next_ms = due.into_iter().flatten().min().unwrap().max(self.now_ms);
            if next_ms > end_ms {
                self.now_ms = end_ms;
                return;
            }
            self.now_ms = next_ms;
            self.step();
            self.settle();
        }
    }

    /// Lets happen what is due first.
    fn step(&mut self) {
        let now_ms = self.now_ms;
        if self.commands.first().is_some_and(|at_ms| *at_ms <= now_ms) {
            self.commands.remove(0);
            self.command();
        } else if let Some((index, _)) = self.spare.filter(|(_, at_ms)| *at_ms <= now_ms) {
            self.spare = None;
            let outcome = self.ended(index);
            let news = if outcome == Outcome::Idle { SpareNews::Idle } else { SpareNews::Silent };
            self.heartbeat.handle_spare(news, now_ms);
        } else if let Some((index, _)) = self.main.filter(|(_, at_ms)| *at_ms <= now_ms) {
            self.main = None;
            if self.ended(index) == Outcome::Idle {
                self.heartbeat.handle_idle(now_ms);
            } else {
                self.heartbeat.handle_silence(now_ms);
                self.heartbeat.handle_connected(now_ms);
            }
        } else if self.heartbeat.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms) {
            self.heartbeat.handle_timeout(now_ms);
        }
    }

    /// A command reaches every flow that the network has not forgotten.
    fn command(&mut self) {
        let now_ms = self.now_ms;
        if self.is_out(now_ms) {
            return;
        }
        for spare in [false, true] {
            let open = if spare { &mut self.spare } else { &mut self.main };
            let Some((index, _)) = *open else { continue };
            let quiet_ms = now_ms - self.asked[index].at_ms;
            if self.forgets_after_ms.is_some_and(|most_ms| quiet_ms > most_ms) {
                continue;
            }
            *open = None;
            self.asked[index].outcome = Outcome::Answered;
            if spare {
                self.heartbeat.handle_spare(SpareNews::Early, now_ms);
            }
        }
    }

    /// Carries out what the machine asks for, and lets the main connection ask again.
    fn settle(&mut self) {
        let now_ms = self.now_ms;
        while let Some(action) = self.heartbeat.poll_action() {
            match action {
                HeartbeatAction::OpenSpare { secs } => {
                    assert!(self.spare.is_none(), "a second spare connection");
                    let fails = self.spare_fails.pop().unwrap_or(false) || self.is_out(now_ms);
                    if fails {
                        self.heartbeat.handle_spare(SpareNews::Unable, now_ms);
                    } else {
                        self.heartbeat.handle_spare(SpareNews::Quiet, now_ms);
                        self.spare = Some(self.ask(true, secs));
                    }
                }
                HeartbeatAction::CloseSpare => self.spare = None,
                HeartbeatAction::Check => self.heartbeat.handle_checked(!self.is_out(now_ms), now_ms),
                HeartbeatAction::Remember(learned) => assert_eq!(Some(learned), self.heartbeat.learned()),
            }
        }
        if self.main.is_none() {
            self.main = Some(self.ask(false, self.heartbeat.interval_secs()));
        }
    }

    fn ask(&mut self, spare: bool, secs: u32) -> (usize, u64) {
        let quiet_ms = u64::from(secs) * 1_000;
        let idle_ms = self.now_ms + quiet_ms;
        let forgotten = self.forgets_after_ms.is_some_and(|most_ms| quiet_ms > most_ms);
        self.asked.push(Asked { at_ms: self.now_ms, spare, secs, outcome: Outcome::Open });
        let index = self.asked.len() - 1;
        // What is lost in an outage is said again when that ends, if somebody still waits.
        let back_ms =
            self.outages.iter().filter(|(from_ms, until_ms)| (*from_ms..*until_ms).contains(&idle_ms));
        let answer_ms = back_ms.map(|(_, until_ms)| *until_ms).max().unwrap_or(idle_ms);
        let silent_ms = idle_ms + GRACE_MS;
        (index, if forgotten { silent_ms } else { answer_ms.min(silent_ms) })
    }

    /// Decides what an ask came to whose time is over.
    fn ended(&mut self, index: usize) -> Outcome {
        let ask = &mut self.asked[index];
        let late = self.now_ms >= ask.at_ms + u64::from(ask.secs) * 1_000 + GRACE_MS;
        ask.outcome = if late { Outcome::NoAnswer } else { Outcome::Idle };
        ask.outcome
    }

    fn is_out(&self, at_ms: u64) -> bool {
        self.outages.iter().any(|(from_ms, until_ms)| (*from_ms..*until_ms).contains(&at_ms))
    }
}
