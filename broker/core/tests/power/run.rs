//! One simulated run, in virtual time: the broker with its attempt, the relays, the cable, and the machine.

use std::collections::BTreeMap;

use fastrand::Rng;
use wakemq_core::power::{Heard, Neighbour, PowerAction, PowerAttempt, Sleeper, Targets};
use wakemq_protocol::{CommandId, CommandState, PowerStep, PowerWhat, RelayJob};

use crate::scenario::{MAC, Machine, Manner, Nature, OwnPackets, START_MS, Scenario, Tells, WIRE, Where};

/// What happens at some time. What goes over connections carries the epoch of the broker in which it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Timer,
    Candidates(u32),
    BrokerAnswers(u32, bool),
    RelayGets(u32, usize, CommandId),
    Told(u32, CommandId, CommandState),
    Packet,
    ComesUp,
    Connects,
    Tells(u32, u64, u64),
    RelayGoes(usize),
    RelayComes(usize),
    Cancelled,
    BrokerBack,
}

/// A relay that was asked, as the world saw it.
#[derive(Debug, Clone)]
pub(crate) struct AskedOf {
    pub(crate) agent: usize,
    pub(crate) round: u8,
    pub(crate) acknowledged: bool,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) asked: BTreeMap<CommandId, AskedOf>,
    pub(crate) evidence: Vec<PowerStep>,
    pub(crate) end: Option<(u64, CommandState, Option<String>)>,
    /// When the machine came up the last time, by a boot or a resume.
    pub(crate) up_ms: Option<u64>,
    pub(crate) came_up_in_run: bool,
    pub(crate) by_resume: bool,
    /// What it told of itself arrived: when it connected, and when that was.
    pub(crate) heard_ms: Option<(u64, u64)>,
    pub(crate) probe_answered: bool,
    /// The attempt was once given somebody to ask.
    pub(crate) had_candidates: bool,
    /// When the broker was asked to send, while that is not answered.
    pub(crate) broker_asked_ms: Option<u64>,
    pub(crate) downtime_ms: u64,
    pub(crate) crashes: u64,
}

pub(crate) struct Run<'a> {
    scenario: &'a Scenario,
    rng: Rng,
    now_ms: u64,
    /// By time, then by order.
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    attempt: Option<PowerAttempt>,
    epoch: u32,
    actions: usize,
    crashes: Vec<(usize, u64)>,
    /// When the broker is back, while it is away.
    back_ms: u64,
    relays: Vec<bool>,
    connected: bool,
    probe: Option<CommandId>,
    booted_ms: u64,
    resumed_ms: Option<u64>,
    woken: bool,
    pub(crate) record: Record,
}

impl<'a> Run<'a> {
    pub(crate) fn new(scenario: &'a Scenario, rng: Rng) -> Self {
        let machine = &scenario.machine;
        let runs = matches!(machine.nature, Nature::CutOff { .. } | Nature::Answers { .. });
        let mut run = Self {
            scenario,
            rng,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            attempt: None,
            epoch: 0,
            actions: 0,
            crashes: scenario.crashes.clone(),
            back_ms: 0,
            relays: scenario.agents.iter().map(|agent| agent.connected).collect(),
            connected: matches!(machine.nature, Nature::Answers { .. }),
            probe: None,
            booted_ms: machine.booted_ms,
            resumed_ms: machine.resumed_ms,
            woken: false,
            record: Record::default(),
        };
        run.record.up_ms = runs.then(|| machine.resumed_ms.unwrap_or(machine.booted_ms));
        match machine.nature {
            Nature::ByItself { at_ms } => run.at(at_ms, Event::ComesUp),
            Nature::CutOff { back_ms: Some(back_ms) } => run.at(back_ms, Event::Connects),
            Nature::CutOff { back_ms: None }
            | Nature::Wakes { .. }
            | Nature::Dead
            | Nature::Answers { .. } => {}
        }
        for (number, agent) in scenario.agents.iter().enumerate() {
            agent.goes_ms.into_iter().for_each(|at_ms| run.at(at_ms, Event::RelayGoes(number)));
            agent.comes_ms.into_iter().for_each(|at_ms| run.at(at_ms, Event::RelayComes(number)));
        }
        scenario.cancelled_ms.into_iter().for_each(|at_ms| run.at(at_ms, Event::Cancelled));
        run
    }

    /// Runs until the attempt ends, and a while longer.
    pub(crate) fn finish(mut self) -> Record {
        // What the machine did before the attempt.
        while self.queue.keys().next().is_some_and(|(at_ms, _)| *at_ms < START_MS) {
            self.step();
        }
        self.now_ms = START_MS;
        let sleeper = self.sleeper(self.connected || self.scenario.machine.looks_connected);
        self.attempt = Some(PowerAttempt::start(sleeper, self.scenario.settings.clone(), [7; 10], START_MS));
        self.drain();
        while self.now_ms < START_MS + 1_000_000 && self.step() {}
        self.record
    }

    fn sleeper(&self, connected: bool) -> Sleeper {
        let (boot_id, resume_id) = ids(&self.scenario.machine, None, None);
        Sleeper {
            agent: self.scenario.sleeper.agent.clone(),
            targets: Targets::of(&self.scenario.sleeper.interfaces),
            connected,
            boot_id,
            resume_id,
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_ms, self.queued), event);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now_ms + ms, event);
    }

    fn step(&mut self) -> bool {
        let Some(((at_ms, _), event)) = self.queue.pop_first() else { return false };
        self.now_ms = at_ms;
        self.happens(event);
        self.drain();
        true
    }

    fn happens(&mut self, event: Event) {
        let (now_ms, epoch) = (self.now_ms, self.epoch);
        let up = self.broker_is_up();
        match event {
            Event::Timer => {
                if let Some(attempt) = &mut self.attempt
                    && attempt.deadline_ms().is_some_and(|deadline| deadline <= now_ms)
                {
                    attempt.handle_timeout(now_ms);
                    assert!(attempt.deadline_ms().is_none_or(|next| next > now_ms), "a timer that is stuck");
                }
            }
            Event::Candidates(of) if of == epoch && up => self.give_candidates(),
            Event::BrokerAnswers(of, sent) if of == epoch && up => {
                let (to, errors) =
                    if sent { (vec!["x:9".into()], vec![]) } else { (vec![], vec!["no".into()]) };
                self.told_attempt(|attempt| attempt.handle_broker_sent(to, errors));
            }
            Event::Candidates(_) | Event::BrokerAnswers(..) => {}
            Event::RelayGets(of, number, command) => {
                if of == epoch && self.relays[number] {
                    self.relay_gets(number, command);
                } else {
                    self.after(1, Event::Told(of, command, CommandState::Expired));
                }
            }
            Event::Told(of, command, state) => self.told(of, command, state),
            Event::Packet => {
                if let Nature::Wakes { after_ms } = self.scenario.machine.nature
                    && !self.woken
                {
                    self.woken = true;
                    self.after(after_ms, Event::ComesUp);
                }
            }
            Event::ComesUp => self.comes_up(),
            Event::Connects => {
                if up {
                    self.connected = true;
                    let (sent_ms, arrives_ms) = self.scenario.machine.tell_ms;
                    self.after(arrives_ms, Event::Tells(epoch, now_ms, now_ms + sent_ms));
                } else {
                    self.comes_back(Event::Connects);
                }
            }
            Event::Tells(of, connected_ms, sent_ms) if of == epoch && up => self.tells(connected_ms, sent_ms),
            Event::Tells(..) => {}
            Event::RelayGoes(number) => self.relays[number] = false,
            Event::RelayComes(number) if up => self.relays[number] = true,
            Event::RelayComes(number) => self.comes_back(Event::RelayComes(number)),
            Event::Cancelled => self.told_attempt(PowerAttempt::handle_cancelled),
            Event::BrokerBack => self.broker_back(),
        }
    }

    fn broker_is_up(&self) -> bool {
        self.attempt.is_some() || self.now_ms < START_MS
    }

    fn told_attempt(&mut self, tell: impl FnOnce(&mut PowerAttempt)) {
        if let Some(attempt) = &mut self.attempt {
            tell(attempt);
        }
    }

    fn told(&mut self, of: u32, command: CommandId, state: CommandState) {
        let receipt = matches!(state, CommandState::Done | CommandState::Failed | CommandState::Refused);
        if self.probe == Some(command) && of == self.epoch {
            self.record.probe_answered |= self.record.end.is_none();
        } else if of != self.epoch && !receipt {
            return;
        }
        if self.attempt.is_none() {
            // Receipts are sent until somebody takes them.
            return self.comes_back(Event::Told(of, command, state));
        }
        let acknowledges = state == CommandState::Acknowledged || receipt;
        if let Some(asked) = self.record.asked.get_mut(&command) {
            asked.acknowledged |= acknowledges;
        }
        let now_ms = self.now_ms;
        self.told_attempt(|attempt| attempt.handle_told(command, state, Some("so".into()), now_ms));
    }

    fn comes_back(&mut self, event: Event) {
        let ms = self.rng.u64(0..self.scenario.settings.return_ms);
        self.at(self.back_ms + ms, event);
    }

    fn right_is_lost(&self) -> bool {
        self.scenario.right_lost_ms.is_some_and(|lost_ms| self.now_ms >= lost_ms)
    }

    /// Tells, from what is true in the world, whether an agent may send.
    fn may_send(&self, number: usize) -> bool {
        let fits = match self.scenario.agents[number].place {
            Where::Beside => true,
            Where::OutsideRight => self.scenario.scope.is_root(),
            Where::OtherTenant
            | Where::Unwilling
            | Where::OtherSite
            | Where::OtherSubnet
            | Where::OtherGateway => false,
        };
        self.relays[number] && fits && !self.right_is_lost()
    }

    fn give_candidates(&mut self) {
        let scope =
            if self.right_is_lost() { "a/none".parse().unwrap() } else { self.scenario.scope.clone() };
        let mut found = Vec::new();
        for (number, agent) in self.scenario.agents.iter().enumerate() {
            if !self.relays[number] {
                continue;
            }
            let judged = Neighbour::judge(&self.scenario.sleeper, &scope, &agent.awake);
            assert_eq!(judged.is_ok(), self.may_send(number), "{:?} is judged {judged:?}", agent.place);
            found.extend(judged);
        }
        self.record.had_candidates |= !found.is_empty();
        self.rng.shuffle(&mut found);
        let now_ms = self.now_ms;
        self.told_attempt(|attempt| attempt.handle_candidates(found, now_ms));
    }

    fn relay_gets(&mut self, number: usize, command: CommandId) {
        let (epoch, quick) = (self.epoch, self.rng.u64(1..800));
        let late = self.rng.u64(3_001..9_000);
        let (ack, sends, says) = match self.scenario.agents[number].manner {
            Manner::Honest => (Some(quick), true, Some(CommandState::Done)),
            Manner::Silent => (None, false, None),
            Manner::SilentButSends => (None, true, None),
            Manner::SaysDoneSendsNothing => (Some(quick), false, Some(CommandState::Done)),
            Manner::SaysFailedButSends => (Some(quick), true, Some(CommandState::Failed)),
            Manner::Refuses => (Some(quick), false, Some(CommandState::Refused)),
            Manner::AcknowledgesLate => (Some(late), true, Some(CommandState::Done)),
            Manner::LeavesBefore => {
                self.relays[number] = false;
                self.after(quick, Event::Told(epoch, command, CommandState::Expired));
                return;
            }
            Manner::LeavesAfter => {
                self.after(quick, Event::RelayGoes(number));
                (Some(quick), true, None)
            }
        };
        if let Some(ms) = ack {
            self.after(ms, Event::Told(epoch, command, CommandState::Acknowledged));
        }
        let ms = ack.unwrap_or(quick);
        if sends && self.scenario.agents[number].wire == WIRE && self.scenario.machine.has_mac {
            self.after(ms, Event::Packet);
        }
        if let Some(state) = says {
            self.after(ms + 700, Event::Told(epoch, command, state));
        }
    }

    fn comes_up(&mut self) {
        let machine = &self.scenario.machine;
        if machine.suspended {
            self.resumed_ms = Some(self.now_ms);
        } else {
            (self.booted_ms, self.resumed_ms) = (self.now_ms, None);
        }
        self.record.up_ms = Some(self.now_ms);
        (self.record.came_up_in_run, self.record.by_resume) = (true, machine.suspended);
        self.after(machine.connect_ms, Event::Connects);
        // Its connection may have survived: then what was sent into it arrives now.
        if let Some(command) = self.probe.filter(|_| machine.suspended) {
            self.after(20, Event::Told(self.epoch, command, CommandState::Acknowledged));
        }
    }

    fn tells(&mut self, connected_ms: u64, sent_ms: u64) {
        let machine = &self.scenario.machine;
        let age = |since_ms: u64| (sent_ms - since_ms).div_ceil(1000);
        let ages = machine.tells == Tells::Ages;
        let booted = (self.booted_ms != machine.booted_ms).then_some(self.booted_ms);
        let (boot_id, resume_id) = ids(machine, booted, self.resumed_ms.filter(|_| self.record.by_resume));
        let heard = Heard {
            connected_ms,
            boot_id,
            resume_id,
            since_boot: ages.then(|| age(self.booted_ms)),
            since_resume: self.resumed_ms.filter(|_| ages).map(age),
        };
        let now_ms = self.now_ms;
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.has_ended()) else { return };
        attempt.handle_heard(&heard, now_ms);
        assert!(attempt.has_ended(), "what it tells decides");
        self.record.heard_ms = Some((connected_ms, now_ms));
    }

    fn broker_back(&mut self) {
        let settings = self.scenario.settings.clone();
        let random = [self.rng.u8(..); 10];
        let evidence = &self.record.evidence;
        self.attempt =
            Some(PowerAttempt::resume(self.sleeper(false), settings, random, evidence, self.now_ms));
    }

    /// Kills the broker.
    fn crash(&mut self, down_ms: u64) {
        self.attempt = None;
        self.probe = None;
        self.record.broker_asked_ms = None;
        self.epoch += 1;
        (self.record.downtime_ms, self.record.crashes) =
            (self.record.downtime_ms + down_ms, self.record.crashes + 1);
        self.back_ms = self.now_ms + down_ms;
        self.at(self.back_ms, Event::BrokerBack);
        let return_ms = self.scenario.settings.return_ms;
        if std::mem::take(&mut self.connected) {
            let ms = down_ms + self.rng.u64(0..return_ms);
            self.after(ms, Event::Connects);
        }
        for number in 0..self.relays.len() {
            if std::mem::take(&mut self.relays[number]) {
                let ms = down_ms + self.rng.u64(0..return_ms);
                self.after(ms, Event::RelayComes(number));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.attempt.as_mut().and_then(PowerAttempt::poll_action) {
            assert!(self.record.end.is_none(), "{action:?} after the end");
            self.actions += 1;
            if let Some(at) = self.crashes.iter().position(|(nth, _)| *nth == self.actions) {
                let (_, down_ms) = self.crashes.remove(at);
                return self.crash(down_ms);
            }
            self.carry_out(action);
        }
        if let Some(deadline_ms) = self.attempt.as_ref().and_then(PowerAttempt::deadline_ms) {
            self.at(deadline_ms.max(self.now_ms), Event::Timer);
        }
    }

    fn carry_out(&mut self, action: PowerAction) {
        let epoch = self.epoch;
        match action {
            PowerAction::Evidence(step) => {
                let dated = if matches!(step.what, PowerWhat::BrokerSent { .. }) {
                    self.record.broker_asked_ms.take().expect("it was asked")
                } else {
                    self.now_ms
                };
                assert_eq!(step.at.unix_ms(), i64::try_from(dated).unwrap(), "{step:?}");
                self.record.evidence.push(step);
            }
            PowerAction::Probe { command } => {
                self.probe = Some(command);
                if let Nature::Answers { after_ms } = self.scenario.machine.nature {
                    self.after(after_ms, Event::Told(epoch, command, CommandState::Acknowledged));
                }
            }
            PowerAction::FindRelays => {
                let ms = self.rng.u64(0..50);
                self.after(ms, Event::Candidates(epoch));
            }
            PowerAction::Ask { command, relay, job, round } => self.ask(command, relay.as_str(), &job, round),
            PowerAction::SendFromBroker { macs, ports } => {
                self.record.broker_asked_ms = Some(self.now_ms);
                assert!(!macs.is_empty() && ports == [9, 7]);
                if self.scenario.own_packets == OwnPackets::Arrive {
                    self.after(1, Event::Packet);
                }
                let ms = self.rng.u64(0..600);
                let sent = self.scenario.own_packets != OwnPackets::Fail;
                self.after(ms, Event::BrokerAnswers(epoch, sent));
            }
            PowerAction::Sent => {
                let relay = self.record.asked.values().any(|asked| asked.acknowledged);
                let broker = self.record.evidence.iter().any(|step| {
                    matches!(&step.what, PowerWhat::BrokerSent { destinations, .. } if !destinations.is_empty())
                });
                assert!(relay || broker, "sent, but by whom");
            }
            PowerAction::End { state, detail } => self.record.end = Some((self.now_ms, state, detail)),
        }
    }

    fn ask(&mut self, command: CommandId, relay: &str, job: &RelayJob, round: u8) {
        let agents = &self.scenario.agents;
        let number = agents.iter().position(|agent| agent.awake.place.agent.as_str() == relay).unwrap();
        assert!(self.may_send(number), "{:?} was asked", agents[number].place);
        assert_eq!(job.macs, [MAC.parse().unwrap()]);
        assert_eq!(job.networks, ["192.168.1.0/24".parse().unwrap()]);
        let asked = AskedOf { agent: number, round, acknowledged: false };
        assert!(self.record.asked.insert(command, asked).is_none(), "an id was used twice");
        let in_round = self.record.asked.values().filter(|asked| asked.round == round).count();
        assert!(in_round <= 3, "{in_round} relays in round {round}");
        let ms = self.rng.u64(1..30);
        self.after(ms, Event::RelayGets(self.epoch, number, command));
    }
}

/// Returns the ids that the machine tells.
fn ids(machine: &Machine, booted: Option<u64>, resumed: Option<u64>) -> (Option<String>, Option<String>) {
    if machine.tells == Tells::Nothing {
        return (None, None);
    }
    let id = |new: Option<u64>| Some(new.map_or_else(|| "old".to_owned(), |ms| ms.to_string()));
    (id(booted), id(resumed))
}
