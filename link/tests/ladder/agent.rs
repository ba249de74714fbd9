//! The agent's end: a driver that carries out what the two machines ask for.

use wakemq_link::ladder::{Climber, ClimberAction, Lost, Moment, WayId};
use wakemq_link::{Backoff, Heartbeat, HeartbeatAction, HeartbeatSettings, Memory, NetworkKey, SpareNews};

use crate::oracle::Cause;
use crate::scenario::Scenario;
use crate::world::{Event, Stage, World};

/// Within how many seconds to come back where nobody said otherwise.
const RETURN_SECS: u32 = 60;
/// How long the answer to a ping may take, in milliseconds.
const PONG_MS: u64 = 20_000;

/// The state of the driver.
pub(crate) struct Agent {
    pub(crate) climber: Climber,
    memory: Memory,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// The connection in use.
    pub(crate) main: Option<usize>,
    /// The connections that are dialled, probed, or wait for the answer to CONNECT.
    attempts: Vec<usize>,
    /// The network as it was told.
    network: Option<usize>,
    spare: Option<usize>,
    spare_secs: u32,
    spare_since_ms: u64,
}

pub(crate) fn heartbeat_settings() -> HeartbeatSettings {
    HeartbeatSettings { initial_secs: 900, minimum_secs: 480, maximum_secs: 1_680, step_secs: 240 }
}

impl Agent {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            climber: Climber::new(scenario.ways.clone(), Backoff::default()),
            memory: Memory::default(),
            heartbeat: None,
            main: None,
            attempts: Vec::new(),
            network: None,
            spare: None,
            spare_secs: 0,
            spare_since_ms: 0,
        }
    }

    pub(crate) fn timeout(&self) -> Option<u64> {
        let heartbeat = self.heartbeat.as_ref().and_then(Heartbeat::poll_timeout);
        [self.climber.poll_timeout(), heartbeat].into_iter().flatten().min()
    }
}

impl World<'_> {
    /// Tells the climber something, and carries out what it wants.
    fn input(&mut self, cause: Cause, tell: impl FnOnce(&mut Climber, Moment)) {
        let at = Moment { now_ms: self.now_ms, random: self.rng.f64() };
        self.oracle.told(cause, at.now_ms);
        tell(&mut self.agent.climber, at);
        while let Some(action) = self.agent.climber.poll_action() {
            self.carry_out(action);
        }
        self.oracle.done(cause, at);
    }

    fn carry_out(&mut self, action: ClimberAction) {
        match action {
            ClimberAction::Dial(way) => {
                self.oracle.dialled(way, self.now_ms);
                let conn = self.dial(way);
                self.agent.attempts.push(conn);
            }
            ClimberAction::Probe(way) => {
                let main = self.agent.main.expect("only who is connected probes");
                assert!(way < self.conns[main].way, "what is probed is better");
                self.oracle.probed(way, self.now_ms);
                let conn = self.dial(way);
                self.agent.attempts.push(conn);
            }
            ClimberAction::Cancel(way) => {
                let conn = self.take_attempt(way);
                self.oracle.cancelled(way, self.conns[conn].stage == Stage::Connecting, self.now_ms);
                self.close(conn);
            }
            ClimberAction::Connect(way) => {
                let conn = self.attempt(way).expect("CONNECT on what was dialled");
                self.send_connect(conn);
            }
            ClimberAction::Move(way) => {
                self.sorts.push("moved".into());
                self.heartbeat_input(Heartbeat::handle_disconnected);
                let main = self.agent.main.take().expect("only who is connected moves");
                self.close(main);
                self.agent.heartbeat = None;
                self.oracle.moves(way);
                let conn = self.attempt(way).expect("the probe");
                self.send_connect(conn);
            }
            ClimberAction::Check => {
                let main = self.agent.main.expect("only who is connected checks");
                if self.passes(main) {
                    let at_ms = self.now_ms + 2 * self.one_way_ms(main);
                    self.at(at_ms, Event::Alive(main));
                }
            }
            ClimberAction::GiveUp => {
                self.oracle.gives_up(self.now_ms);
                self.drop_main();
            }
        }
    }

    fn send_connect(&mut self, conn: usize) {
        let waiting =
            self.agent.attempts.iter().filter(|other| self.conns[**other].stage == Stage::Connecting);
        assert_eq!(waiting.count(), 0, "two CONNECTs are outstanding");
        assert_eq!(self.conns[conn].stage, Stage::Up);
        self.oracle.sent_connect(self.now_ms);
        self.connect(conn);
    }

    fn attempt(&self, way: WayId) -> Option<usize> {
        self.agent.attempts.iter().copied().find(|conn| self.conns[*conn].way == way)
    }

    fn take_attempt(&mut self, way: WayId) -> usize {
        let conn = self.attempt(way).expect("what is ended was dialled");
        self.agent.attempts.retain(|other| *other != conn);
        conn
    }

    /// The connection in use is gone.
    fn drop_main(&mut self) {
        self.heartbeat_input(Heartbeat::handle_disconnected);
        if let Some(main) = self.agent.main.take() {
            self.conns[main].stage = Stage::Over;
        }
        self.agent.heartbeat = None;
    }

    fn key(&self) -> NetworkKey {
        self.agent.network.map(|network| self.networks[network].key.clone()).unwrap_or_default()
    }

    fn worked(&self) -> Option<WayId> {
        self.scenario.ways.find(self.agent.memory.way(&self.key())?)
    }

    pub(crate) fn start_agent(&mut self) {
        self.agent.network = self.place;
        let key = self.place.map(|_| self.key());
        self.input(Cause::Attempt, |climber, at| climber.handle_start(key, None, at));
    }

    pub(crate) fn network_told(&mut self) {
        let network = self.place;
        let is_back = self.agent.network != network;
        self.agent.network = network;
        let key = network.map(|_| self.key());
        let worked = self.worked();
        if let (Some(network), Some(way), true) = (network, worked, is_back) {
            self.expect_soon(network, way);
        }
        let cause = if network.is_some() { Cause::Surroundings } else { Cause::Attempt };
        self.input(cause, |climber, at| climber.handle_network(key, worked, at));
    }

    pub(crate) fn resumed(&mut self) {
        if let (Some(network), Some(way)) = (self.agent.network, self.worked()) {
            self.expect_soon(network, way);
        }
        self.input(Cause::Surroundings, |climber, at| climber.handle_resumed(at));
    }

    pub(crate) fn up(&mut self, conn: usize) {
        self.conns[conn].stage = Stage::Up;
        let way = self.conns[conn].way;
        self.input(Cause::Attempt, |climber, at| climber.handle_up(way, at));
    }

    pub(crate) fn failed(&mut self, conn: usize, failure: wakemq_link::ladder::Failure) {
        let way = self.conns[conn].way;
        let was_connecting = self.conns[conn].stage == Stage::Connecting;
        self.agent.attempts.retain(|other| *other != conn);
        self.conns[conn].stage = Stage::Over;
        self.oracle.over(way, was_connecting, self.now_ms);
        self.input(Cause::Attempt, |climber, at| climber.handle_failed(way, failure, at));
    }

    pub(crate) fn refused(&mut self, conn: usize, refusal: wakemq_link::ladder::Refusal) {
        let way = self.conns[conn].way;
        self.agent.attempts.retain(|other| *other != conn);
        self.conns[conn].stage = Stage::Over;
        self.oracle.over(way, false, self.now_ms);
        self.input(Cause::Refused(refusal), |climber, at| climber.handle_refused(way, refusal, at));
    }

    pub(crate) fn accepted(&mut self, conn: usize) {
        let now_ms = self.now_ms;
        let way = self.conns[conn].way;
        self.agent.attempts.retain(|other| *other != conn);
        self.conns[conn].stage = Stage::Live;
        self.conns[conn].said_ms = now_ms;
        self.agent.main = Some(conn);
        self.input(Cause::Attempt, |climber, at| climber.handle_connected(way, at));
        assert_eq!(self.agent.climber.connected(), Some(way));
        self.oracle.connected(now_ms);
        self.soon_ms = None;
        let (key, name) = (self.key(), self.scenario.ways.get(way).to_string());
        self.agent.memory.set_way(&key, &name);
        let learned = self.agent.memory.heartbeat(&key, &name).cloned();
        self.agent.heartbeat = Some(Heartbeat::new(heartbeat_settings(), learned, now_ms));
        self.heartbeat_input(Heartbeat::handle_connected);
        self.schedule_ping(conn);
    }

    pub(crate) fn lost(&mut self, lost: Lost) {
        self.drop_main();
        self.soon_ms = None;
        self.input(Cause::Lost(lost), |climber, at| climber.handle_lost(lost, at));
    }

    pub(crate) fn alive(&mut self) {
        self.soon_ms = None;
        self.agent.climber.handle_alive();
    }

    pub(crate) fn timers(&mut self) {
        let now_ms = self.now_ms;
        if self.agent.climber.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms) {
            self.input(Cause::Attempt, Climber::handle_timeout);
        }
        let due = self.agent.heartbeat.as_ref().and_then(Heartbeat::poll_timeout);
        if due.is_some_and(|at_ms| at_ms <= now_ms) {
            self.heartbeat_input(Heartbeat::handle_timeout);
        }
    }

    /// Tells the heartbeat something, and carries out what it wants.
    fn heartbeat_input(&mut self, tell: impl FnOnce(&mut Heartbeat, u64)) {
        let now_ms = self.now_ms;
        let Some(heartbeat) = &mut self.agent.heartbeat else { return };
        tell(heartbeat, now_ms);
        while let Some(action) = self.agent.heartbeat.as_mut().and_then(Heartbeat::poll_action) {
            match action {
                HeartbeatAction::OpenSpare { secs } => {
                    assert!(self.agent.spare.is_none(), "a second spare connection");
                    let way = self.conns[self.agent.main.expect("only who is connected tries")].way;
                    self.agent.spare = Some(self.dial(way));
                    self.agent.spare_secs = secs;
                }
                HeartbeatAction::CloseSpare => {
                    let spare = self.agent.spare.take().expect("what is closed was opened");
                    self.close(spare);
                }
                HeartbeatAction::Check => {
                    let main = self.agent.main.expect("only who is connected checks");
                    self.at(now_ms + 2 * self.one_way_ms(main), Event::Checked(main));
                }
                HeartbeatAction::Remember(learned) => {
                    let main = self.agent.main.expect("only who is connected learns");
                    let name = self.scenario.ways.get(self.conns[main].way).to_string();
                    let key = self.networks[self.conns[main].network].key.clone();
                    self.agent.memory.set_heartbeat(&key, &name, learned);
                }
            }
        }
    }

    pub(crate) fn schedule_ping(&mut self, conn: usize) {
        let secs = self.agent.heartbeat.as_ref().map_or(0, Heartbeat::interval_secs);
        self.at(self.conns[conn].said_ms + u64::from(secs) * 1_000, Event::Ping(conn));
    }

    /// The main connection has been quiet for as long as it was to be, unless that has become longer.
    pub(crate) fn ping(&mut self, conn: usize) {
        let secs = self.agent.heartbeat.as_ref().map_or(0, Heartbeat::interval_secs);
        if self.now_ms < self.conns[conn].said_ms + u64::from(secs) * 1_000 {
            self.schedule_ping(conn);
        } else if self.passes(conn) {
            self.pong(conn);
        } else {
            self.at(self.now_ms + PONG_MS, Event::NoPong(conn));
        }
    }

    fn pong(&mut self, conn: usize) {
        self.conns[conn].said_ms = self.now_ms;
        self.heartbeat_input(Heartbeat::handle_idle);
        self.schedule_ping(conn);
    }

    pub(crate) fn no_pong(&mut self, conn: usize) {
        if self.passes(conn) {
            self.pong(conn);
            return;
        }
        self.heartbeat_input(Heartbeat::handle_silence);
        self.sorts.push("silence noticed".into());
        self.lost(Lost::Ended { return_secs: RETURN_SECS });
    }

    pub(crate) fn is_spare(&self, conn: usize) -> bool {
        self.agent.spare == Some(conn)
    }

    pub(crate) fn spare_up(&mut self, conn: usize) {
        self.conns[conn].said_ms = self.now_ms;
        self.agent.spare_since_ms = self.now_ms;
        self.heartbeat_input(|heartbeat, now_ms| heartbeat.handle_spare(SpareNews::Quiet, now_ms));
        self.at(self.now_ms + u64::from(self.agent.spare_secs) * 1_000, Event::SpareDue(conn));
    }

    /// The spare's time is over; an answer that is late by a ping's limit does not come.
    pub(crate) fn spare_due(&mut self, conn: usize) {
        let due_ms = self.agent.spare_since_ms + u64::from(self.agent.spare_secs) * 1_000;
        if self.passes(conn) {
            self.spare_ended(SpareNews::Idle);
        } else if self.now_ms >= due_ms + PONG_MS {
            self.spare_ended(SpareNews::Silent);
        } else {
            self.at(due_ms + PONG_MS, Event::SpareDue(conn));
        }
    }

    pub(crate) fn spare_ended(&mut self, news: SpareNews) {
        if let Some(spare) = self.agent.spare.take() {
            self.close(spare);
            self.heartbeat_input(|heartbeat, now_ms| heartbeat.handle_spare(news, now_ms));
        }
    }

    pub(crate) fn checked(&mut self, conn: usize) {
        let reached = self.is_within_reach(conn);
        self.heartbeat_input(|heartbeat, now_ms| heartbeat.handle_checked(reached, now_ms));
    }
}
