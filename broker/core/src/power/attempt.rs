//! One attempt to switch an endpoint on, from the first question to the verdict.

use std::collections::VecDeque;

use wakemq_protocol::{AgentId, CommandId, CommandState, PowerStep, PowerWhat, RelayJob, Timestamp};

use super::exchange::{Heard, PowerAction, PowerSettings, Sleeper};
use super::neighbours::Neighbour;
use super::resume::Past;
use super::rounds::{Change, Rounds};
use super::targets::join;
use super::verdict::{Came, judge};

/// How long an endpoint that looks connected may take to acknowledge a `wake`, in milliseconds.
const PROBE_MS: u64 = 5_000;
/// How long an endpoint may take to tell of itself: one that acknowledged that `wake` late until it is connected anew,
/// one that has come back with the broker from its CONNECT on; in milliseconds.
const TELL_MS: u64 = 5_000;

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The endpoint looks connected, and is asked.
    Probing { until_ms: u64 },
    /// The broker has just started: whoever is awake may come back first.
    Returning { until_ms: u64 },
    /// Relays are looked for and asked.
    Sending,
    /// Nothing more happens.
    Ended,
}

/// An attempt to switch an endpoint on; see the module's documentation for the order of calls.
#[derive(Debug)]
pub struct PowerAttempt {
    sleeper: Sleeper,
    settings: PowerSettings,
    /// Makes the ids of the commands that the attempt gives.
    random: [u8; 10],
    commands_made: u16,
    began_ms: u64,
    phase: Phase,
    probe: Option<CommandId>,
    /// The endpoint has acknowledged the probe late, and may tell of itself until then.
    tell_until_ms: Option<u64>,
    rounds: Rounds,
    /// When somebody was first asked to send: the first packet left then or later.
    first_ms: Option<u64>,
    /// When the broker was asked to send, while that is not answered.
    broker_asked_ms: Option<u64>,
    /// The broker has sent.
    broker_sent: bool,
    /// `Sent` was said.
    is_sent: bool,
    /// There is no verdict of failure before this: after a restart, agents may need a while to come back.
    hold_until_ms: u64,
    actions: VecDeque<PowerAction>,
}

impl PowerAttempt {
    /// Starts an attempt; `random` makes the ids of its commands.
    pub fn start(sleeper: Sleeper, settings: PowerSettings, random: [u8; 10], now_ms: u64) -> Self {
        let mut attempt = Self::new(sleeper, settings, random, now_ms);
        if attempt.sleeper.connected {
            let command = attempt.new_command(now_ms);
            attempt.probe = Some(command);
            attempt.phase = Phase::Probing { until_ms: now_ms.saturating_add(PROBE_MS) };
            attempt.note(PowerWhat::Probed { command }, now_ms);
            attempt.act(PowerAction::Probe { command });
        } else {
            attempt.begin_rounds(now_ms);
        }
        attempt
    }

    /// Goes on with an attempt after a restart of the broker, where its evidence says that it stood.
    ///
    /// Nobody is connected then who does not come back first, the endpoint perhaps among them. So unless somebody was
    /// asked already it is given that time before packets are sent, and never is it said not to have come up before
    /// that time is over.
    pub fn resume(
        sleeper: Sleeper,
        settings: PowerSettings,
        random: [u8; 10],
        evidence: &[PowerStep],
        now_ms: u64,
    ) -> Self {
        let past = Past::read(evidence, now_ms);
        let mut attempt = Self::new(sleeper, settings, random, now_ms);
        attempt.began_ms = past.began_ms.unwrap_or(now_ms);
        let return_ms = now_ms.saturating_add(attempt.settings.return_ms).saturating_add(TELL_MS);
        attempt.hold_until_ms = return_ms;
        if past.was_sent() {
            attempt.is_sent = true;
            attempt.act(PowerAction::Sent);
        }
        attempt.broker_sent = past.broker_sent;
        attempt.first_ms = past.first_ms;
        if let Some((heard, told_ms)) = past.heard {
            attempt.judge(&heard, told_ms);
        } else if past.first_ms.is_some() {
            attempt.rounds = past.rounds;
            attempt.phase = Phase::Sending;
            attempt.handle_timeout(now_ms);
        } else {
            attempt.phase = Phase::Returning { until_ms: return_ms };
        }
        attempt
    }

    fn new(sleeper: Sleeper, settings: PowerSettings, random: [u8; 10], now_ms: u64) -> Self {
        Self {
            sleeper,
            settings,
            random,
            commands_made: 0,
            began_ms: now_ms,
            phase: Phase::Sending,
            probe: None,
            tell_until_ms: None,
            rounds: Rounds::new(now_ms),
            first_ms: None,
            broker_asked_ms: None,
            broker_sent: false,
            is_sent: false,
            hold_until_ms: 0,
            actions: VecDeque::new(),
        }
    }

    /// Returns the endpoint.
    pub fn agent(&self) -> &AgentId {
        &self.sleeper.agent
    }

    /// Returns the commands that the attempt has given: what becomes of them goes to `handle_told`.
    pub fn commands(&self) -> impl Iterator<Item = CommandId> {
        self.probe.into_iter().chain(self.rounds.commands())
    }

    /// Tells whether the attempt has ended.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes the next thing to do.
    pub fn poll_action(&mut self) -> Option<PowerAction> {
        self.actions.pop_front()
    }

    /// Returns when `handle_timeout` is to be called at the latest; `None` once the attempt has ended.
    pub fn deadline_ms(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Ended => return None,
            Phase::Probing { until_ms } | Phase::Returning { until_ms } => until_ms,
            Phase::Sending => {
                let give_up = self.give_up_ms();
                self.rounds.deadline_ms(self.settings.timeout_ms).map_or(give_up, |next| next.min(give_up))
            }
        };
        Some(self.tell_until_ms.map_or(phase, |until| phase.min(until)))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.tell_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            let text = "it acknowledged a wake late, on the connection that it had: it is up";
            return self.end(CommandState::Done, text);
        }
        match self.phase {
            Phase::Ended => {}
            Phase::Probing { until_ms } => {
                if now_ms >= until_ms {
                    self.note(PowerWhat::ProbeUnanswered, now_ms);
                    self.begin_rounds(now_ms);
                }
            }
            Phase::Returning { until_ms } => {
                if now_ms >= until_ms {
                    self.begin_rounds(now_ms);
                }
            }
            Phase::Sending => self.go_on(now_ms),
        }
    }

    /// Takes those who may send for the endpoint now, in any order.
    pub fn handle_candidates(&mut self, candidates: Vec<Neighbour>, now_ms: u64) {
        if self.phase != Phase::Sending || !self.rounds.is_finding() {
            return;
        }
        for neighbour in self.rounds.choose(candidates) {
            let command = self.new_command(now_ms);
            let round = self.rounds.ask(neighbour.agent(), command, now_ms);
            self.first_ms.get_or_insert(now_ms);
            let relay = neighbour.agent().clone();
            self.note(PowerWhat::RelayAsked { relay: relay.clone(), command, round }, now_ms);
            let job = RelayJob {
                macs: self.sleeper.targets.macs.clone(),
                networks: neighbour.networks().to_vec(),
                ports: self.settings.ports.clone(),
                secureon: None,
            };
            self.act(PowerAction::Ask { command, relay, job, round });
        }
        if self.rounds.asked_in_round() > 0 {
            return;
        }
        if self.settings.broker_sends {
            self.broker_asked_ms = Some(now_ms);
            let (macs, ports) = (self.sleeper.targets.macs.clone(), self.settings.ports.clone());
            self.act(PowerAction::SendFromBroker { macs, ports });
        } else {
            let detail = self.no_relay_text();
            self.note(PowerWhat::NoRelay { detail }, now_ms);
            self.give_up_if_hopeless();
        }
    }

    /// Takes that the operator may not have anybody send for the endpoint any more, and why: where nothing was sent
    /// yet, that ends the attempt.
    pub fn handle_forbidden(&mut self, detail: String, now_ms: u64) {
        if self.phase != Phase::Sending || !self.rounds.is_finding() {
            return;
        }
        self.rounds.choose(Vec::new());
        self.note(PowerWhat::NoRelay { detail: detail.clone() }, now_ms);
        if self.first_ms.is_none() && self.tell_until_ms.is_none() {
            self.end(CommandState::Failed, &detail);
        }
    }

    /// Takes what the broker sent to where, and what went wrong, a line for each.
    pub fn handle_broker_sent(&mut self, destinations: Vec<String>, errors: Vec<String>) {
        let Some(asked_ms) = self.broker_asked_ms.take() else { return };
        if self.phase == Phase::Ended {
            return;
        }
        let sent = !destinations.is_empty();
        // Dated by the question: packets left from then on, the last one of them half a second later.
        self.note(PowerWhat::BrokerSent { destinations, errors }, asked_ms);
        if sent {
            self.first_ms.get_or_insert(asked_ms);
            self.broker_sent = true;
            self.say_sent();
        } else {
            self.give_up_if_hopeless();
        }
    }

    /// Takes the state of a command that the attempt has given.
    pub fn handle_told(
        &mut self,
        command: CommandId,
        state: CommandState,
        detail: Option<String>,
        now_ms: u64,
    ) {
        if self.phase == Phase::Ended {
            return;
        }
        if self.probe == Some(command) {
            return self.handle_probe_told(state, now_ms);
        }
        let Some(change) = self.rounds.told(command, state) else { return };
        let relay = change.relay;
        if change.acknowledged {
            self.note(PowerWhat::RelayAcknowledged { relay: relay.clone() }, now_ms);
            self.say_sent();
        }
        match change.what {
            Change::Nothing => {}
            Change::Left => self.note(PowerWhat::RelayLeft { relay }, now_ms),
            Change::Said => self.note(PowerWhat::RelaySaid { relay, state, detail }, now_ms),
        }
        if change.replace {
            self.replace();
        }
    }

    fn handle_probe_told(&mut self, state: CommandState, now_ms: u64) {
        match state {
            CommandState::Acknowledged
            | CommandState::Done
            | CommandState::Failed
            | CommandState::Refused => {
                self.probe = None;
                if matches!(self.phase, Phase::Probing { .. }) {
                    self.end(CommandState::Done, "was already up: it acknowledged a wake");
                } else {
                    // It may have slept with its connection open; if so, it connects anew now and says since when.
                    self.tell_until_ms = Some(now_ms.saturating_add(TELL_MS));
                }
            }
            // Whether it comes back by itself shows within the time of the probe.
            CommandState::Queued
            | CommandState::Sent
            | CommandState::Superseded
            | CommandState::Expired
            | CommandState::Cancelled => {}
        }
    }

    /// Takes what the endpoint tells of itself, which ends the attempt.
    pub fn handle_heard(&mut self, heard: &Heard, now_ms: u64) {
        if self.phase == Phase::Ended {
            return;
        }
        let first_ms = self.sent_ms();
        let after_ms = first_ms.map(|first_ms| now_ms.saturating_sub(first_ms));
        let Heard { since_boot, since_resume, .. } = *heard;
        self.note(PowerWhat::Heard { since_boot, since_resume, after_ms }, now_ms);
        self.judge(heard, now_ms);
    }

    /// Judges what the endpoint told at some time.
    fn judge(&mut self, heard: &Heard, told_ms: u64) {
        let changed = |known: &Option<String>, told: &Option<String>| matches!((known, told), (Some(known), Some(told)) if known != told);
        let ids_changed = changed(&self.sleeper.boot_id, &heard.boot_id)
            || changed(&self.sleeper.resume_id, &heard.resume_id);
        let (began_ms, first_ms) = (self.began_ms, self.sent_ms());
        let (state, detail) = judge(&Came { began_ms, first_ms, heard, told_ms, ids_changed });
        self.end(state, &detail);
    }

    /// Returns when the first packet was sent; while the broker's answer is awaited it may have sent.
    fn sent_ms(&self) -> Option<u64> {
        self.first_ms.or(self.broker_asked_ms)
    }

    /// Ends the attempt because the command is taken back.
    pub fn handle_cancelled(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Ended;
        self.act(PowerAction::End { state: CommandState::Cancelled, detail: None });
    }

    fn begin_rounds(&mut self, now_ms: u64) {
        self.phase = Phase::Sending;
        if self.sleeper.targets.macs.is_empty() {
            let text = self.sleeper.targets.no_mac_text();
            return self.end(CommandState::Failed, &text);
        }
        self.rounds = Rounds::new(now_ms);
        self.go_on(now_ms);
    }

    /// Replaces the silent, begins the next round, and gives up: whichever is due.
    fn go_on(&mut self, now_ms: u64) {
        if now_ms >= self.give_up_ms() {
            let text = self.did_not_come_up_text();
            return self.end(CommandState::Failed, &text);
        }
        for (relay, replace) in self.rounds.fall_silent(now_ms) {
            self.note(PowerWhat::RelaySilent { relay }, now_ms);
            if replace {
                self.replace();
            }
        }
        let sendable = !self.sleeper.targets.macs.is_empty();
        if sendable && self.rounds.begin_if_due(now_ms, self.settings.timeout_ms) {
            self.act(PowerAction::FindRelays);
        }
    }

    /// Looks for one in the place of a relay that was asked in vain.
    fn replace(&mut self) {
        if self.rounds.want_another() {
            self.act(PowerAction::FindRelays);
        }
    }

    /// Returns when the endpoint has not come up.
    fn give_up_ms(&self) -> u64 {
        // Nothing asked: the looks end before this by themselves if they are answered.
        let from_ms = self.sent_ms().unwrap_or_else(|| self.rounds.last_look_ms(self.settings.timeout_ms));
        let give_up_ms = from_ms.saturating_add(self.settings.timeout_ms).max(self.hold_until_ms);
        self.tell_until_ms.map_or(give_up_ms, |until_ms| give_up_ms.max(until_ms))
    }

    /// Gives up if nothing was sent and nobody will be looked for any more.
    fn give_up_if_hopeless(&mut self) {
        let answered = self.tell_until_ms.is_some();
        if !answered && self.first_ms.is_none() && self.rounds.is_last(self.settings.timeout_ms) {
            let text = self.no_relay_text();
            self.end(CommandState::Failed, &text);
        }
    }

    fn no_relay_text(&self) -> String {
        let networks = self.sleeper.targets.networks_text();
        let broker = if self.settings.broker_sends {
            "the broker could not send itself"
        } else {
            "the broker has no addresses to send to itself"
        };
        if networks.is_empty() {
            return format!(
                "no awake relay: it is not known on which subnet the endpoint was last; {broker}"
            );
        }
        format!("no awake relay on {networks}; {broker}")
    }

    fn did_not_come_up_text(&self) -> String {
        let secs = self.settings.timeout_ms / 1000;
        let (sent, asked) = self.rounds.names();
        let mut senders: Vec<_> = sent.iter().map(ToString::to_string).collect();
        if self.broker_sent {
            senders.push("the broker".to_owned());
        }
        if !senders.is_empty() {
            return format!("sent by {}, did not come up within {secs} s", join(&senders));
        }
        if asked.is_empty() {
            return self.no_relay_text();
        }
        format!("did not come up within {secs} s; {} asked to send, but none says that it did", were(&asked))
    }

    fn say_sent(&mut self) {
        if !self.is_sent {
            self.is_sent = true;
            self.act(PowerAction::Sent);
        }
    }

    fn end(&mut self, state: CommandState, detail: &str) {
        self.phase = Phase::Ended;
        self.act(PowerAction::End { state, detail: Some(detail.to_owned()) });
    }

    fn new_command(&mut self, now_ms: u64) -> CommandId {
        let mut random = self.random;
        let [.., high, low] = &mut random;
        let number = u16::from_be_bytes([*high, *low]).wrapping_add(self.commands_made);
        [*high, *low] = number.to_be_bytes();
        self.commands_made = self.commands_made.wrapping_add(1);
        CommandId::from_parts(now_ms, &random)
    }

    fn note(&mut self, what: PowerWhat, at_ms: u64) {
        let at = Timestamp::from_unix_ms(i64::try_from(at_ms).unwrap_or(i64::MAX));
        self.act(PowerAction::Evidence(PowerStep { at, what }));
    }

    fn act(&mut self, action: PowerAction) {
        self.actions.push_back(action);
    }
}

/// Enumerates agents with their verb.
fn were(agents: &[AgentId]) -> String {
    format!("{} {}", join(agents), if agents.len() == 1 { "was" } else { "were" })
}
