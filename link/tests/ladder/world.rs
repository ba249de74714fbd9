//! The world around the agent, in virtual time: networks, proxies, a middlebox that forgets, and the broker.

use std::collections::BTreeMap;

use fastrand::Rng;
use wakemq_link::SpareNews;
use wakemq_link::ladder::{Failure, Lost, Refusal, WayId};

use crate::agent::{Agent, heartbeat_settings};
use crate::oracle::Oracle;
use crate::scenario::{Change, MINUTE_MS, Mood, Network, Quality, START_MS, Scenario};

/// How long a driver waits for the answer of a proxy, in milliseconds.
const SILENT_MS: u64 = 15_000;
/// Within what an agent resumes that has its network back, in milliseconds.
const SOON_MS: u64 = 2_000;

/// What happens at some time. The numbers are of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Change(usize),
    NetworkTold,
    Resumed,
    Up(usize),
    Failed(usize, Failure),
    ConnectArrives(usize),
    EndArrives(usize),
    Accepted(usize),
    Refused(usize, Refusal),
    Ended(usize, Lost),
    Alive(usize),
    Ping(usize),
    NoPong(usize),
    SpareDue(usize),
    Checked(usize),
}

/// How far a connection is, at the agent's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Dialling,
    Up,
    Connecting,
    Live,
    Over,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) way: WayId,
    pub(crate) network: usize,
    pub(crate) stage: Stage,
    /// When something was said on it last.
    pub(crate) said_ms: u64,
    /// Nothing gets through any more, and nobody says so.
    broken: bool,
}

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) rng: Rng,
    pub(crate) now_ms: u64,
    /// By time, then by order.
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    steps: u32,
    pub(crate) networks: Vec<Network>,
    /// Where the agent truly is.
    pub(crate) place: Option<usize>,
    mood: Mood,
    broker_back_ms: u64,
    /// The connection that the broker believes to be the agent's.
    session: Option<usize>,
    suspended_until_ms: u64,
    pub(crate) conns: Vec<Conn>,
    pub(crate) agent: Agent,
    pub(crate) oracle: Oracle,
    /// The agent has to be connected by then.
    pub(crate) soon_ms: Option<u64>,
    pub(crate) sorts: Vec<String>,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario, rng: Rng) -> Self {
        let mut world = Self {
            scenario,
            rng,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            networks: scenario.networks.clone(),
            place: Some(0),
            mood: Mood::Accepts,
            broker_back_ms: 0,
            session: None,
            suspended_until_ms: 0,
            conns: Vec::new(),
            agent: Agent::new(scenario),
            oracle: Oracle::default(),
            soon_ms: None,
            sorts: Vec::new(),
        };
        for (index, (at_ms, _)) in scenario.changes.iter().enumerate() {
            world.at(*at_ms, Event::Change(index));
        }
        world
    }

    pub(crate) fn at(&mut self, at_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at_ms, self.queued), event);
    }

    /// Runs to the end, and judges it.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.start_agent();
        loop {
            let timer_ms =
                self.agent.timeout().map(|at_ms| at_ms.max(self.suspended_until_ms).max(self.now_ms));
            let event_ms = self.queue.first_key_value().map(|((at_ms, _), _)| *at_ms);
            let Some(next_ms) = [timer_ms, event_ms].into_iter().flatten().min() else { break };
            if next_ms > self.end_ms() {
                break;
            }
            assert!(
                self.soon_ms.is_none_or(|soon_ms| next_ms <= soon_ms),
                "not connected within {SOON_MS} ms after the network was back",
            );
            self.steps += 1;
            assert!(self.steps < 50_000, "it does not come to rest");
            self.now_ms = next_ms;
            if event_ms == Some(next_ms) {
                let Some((_, event)) = self.queue.pop_first() else { break };
                self.happens(event);
            } else {
                self.timers();
            }
        }
        self.judge()
    }

    /// When the run ends. A better way that is none is tried again every six hours, and who has just left for it has
    /// the time to come back.
    fn end_ms(&self) -> u64 {
        self.scenario.end_ms + if self.agent.main.is_none() { MINUTE_MS } else { 0 }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Change(index) => self.changes(self.scenario.changes[index].1),
            Event::ConnectArrives(conn) => self.connect_arrives(conn),
            Event::EndArrives(conn) if self.session == Some(conn) => self.session = None,
            Event::EndArrives(_) => {}
            // The rest is for the agent, who may sleep.
            _ if self.now_ms < self.suspended_until_ms => self.at(self.suspended_until_ms, event),
            Event::NetworkTold => self.network_told(),
            Event::Resumed => self.resumed(),
            Event::Up(conn) if self.is_spare(conn) => {
                if self.passes(conn) {
                    self.spare_up(conn);
                }
            }
            Event::Up(conn) if self.conns[conn].stage == Stage::Dialling && self.passes(conn) => {
                self.up(conn)
            }
            Event::Failed(conn, _) if self.is_spare(conn) => self.spare_ended(SpareNews::Unable),
            Event::Failed(conn, failure) if self.is_attempt(conn) => self.failed(conn, failure),
            // It was reset when the broker's last word was on its way.
            Event::Failed(conn, _) if self.agent.main == Some(conn) && self.passes(conn) => {
                self.lost(Lost::Ended { return_secs: 60 });
            }
            Event::Accepted(conn) if self.is_connecting(conn) => self.accepted(conn),
            Event::Refused(conn, refusal) if self.is_connecting(conn) => self.refused(conn, refusal),
            Event::Ended(conn, lost) if self.agent.main == Some(conn) && self.passes(conn) => self.lost(lost),
            Event::Ended(conn, _) if self.is_spare(conn) && self.passes(conn) => {
                self.spare_ended(SpareNews::Early);
            }
            // It is lost on the way, and not said again.
            Event::Ended(conn, _) => self.conns[conn].broken = true,
            Event::Alive(conn) if self.agent.main == Some(conn) && self.passes(conn) => self.alive(),
            Event::Ping(conn) if self.agent.main == Some(conn) => self.ping(conn),
            Event::NoPong(conn) if self.agent.main == Some(conn) => self.no_pong(conn),
            Event::SpareDue(conn) if self.is_spare(conn) => self.spare_due(conn),
            Event::Checked(conn) if self.agent.main == Some(conn) => self.checked(conn),
            // It is of a connection that is over.
            Event::Up(_)
            | Event::Failed(..)
            | Event::Accepted(_)
            | Event::Refused(..)
            | Event::Alive(_)
            | Event::Ping(_)
            | Event::NoPong(_)
            | Event::SpareDue(_)
            | Event::Checked(_) => {}
        }
    }

    fn changes(&mut self, change: Change) {
        self.soon_ms = None;
        match change {
            Change::Network(network) => {
                self.place = network;
                let debounce_ms = self.rng.u64(50..300);
                self.at(self.now_ms + debounce_ms, Event::NetworkTold);
            }
            Change::Quality(network, way, quality) => {
                let concerned = self.networks[network].set_quality(&self.scenario.ways, way, quality);
                if self.rng.bool() {
                    let concerned =
                        |conn: &&mut Conn| conn.network == network && concerned.contains(&conn.way);
                    self.conns.iter_mut().filter(concerned).for_each(|conn| conn.broken = true);
                }
            }
            Change::Mood(mood) => self.mood = mood,
            Change::BrokerDown { for_ms } => self.broker_goes(for_ms),
            Change::Drain { return_secs } => {
                if let Some(conn) = self.session.take() {
                    self.at(
                        self.now_ms + self.one_way_ms(conn),
                        Event::Ended(conn, Lost::Ended { return_secs }),
                    );
                }
            }
            Change::Clone => {
                if let Some(conn) = self.session.take() {
                    self.at(self.now_ms + self.one_way_ms(conn), Event::Ended(conn, Lost::TakenOver));
                }
            }
            Change::HalfOpen => {
                if let Some(conn) = self.agent.main {
                    self.conns[conn].broken = true;
                }
            }
            Change::Suspend { for_ms } => {
                self.suspended_until_ms = self.suspended_until_ms.max(self.now_ms + for_ms);
                self.conns.iter_mut().for_each(|conn| conn.broken = true);
                let notice_ms = self.rng.u64(0..1_500);
                self.at(self.suspended_until_ms + notice_ms, Event::Resumed);
            }
        }
    }

    /// The broker is killed: who is connected hears of it.
    fn broker_goes(&mut self, for_ms: u64) {
        self.broker_back_ms = self.broker_back_ms.max(self.now_ms + for_ms);
        self.session = None;
        for conn in 0..self.conns.len() {
            let at_ms = self.now_ms + self.one_way_ms(conn);
            if !self.passes(conn) {
                self.conns[conn].broken = true;
                continue;
            }
            match self.conns[conn].stage {
                Stage::Over => {}
                Stage::Dialling if self.is_spare(conn) => {
                    self.at(at_ms, Event::Ended(conn, Lost::Ended { return_secs: 60 }));
                }
                Stage::Dialling | Stage::Up | Stage::Connecting => {
                    self.at(at_ms, Event::Failed(conn, Failure::Way));
                }
                Stage::Live => self.at(at_ms, Event::Ended(conn, Lost::Ended { return_secs: 60 })),
            }
        }
    }

    /// Tells whether what is said on a connection arrives at the other end.
    pub(crate) fn passes(&mut self, conn: usize) -> bool {
        let Conn { network, said_ms, stage, .. } = self.conns[conn];
        let quiet_ms = self.now_ms - said_ms;
        let forgets_after_ms = self.networks[network].forgets_after_ms;
        if stage != Stage::Over && forgets_after_ms.is_some_and(|most_ms| quiet_ms > most_ms) {
            self.conns[conn].broken = true;
        }
        self.place == Some(network) && !self.conns[conn].broken
    }

    pub(crate) fn one_way_ms(&self, conn: usize) -> u64 {
        self.networks[self.conns[conn].network].one_way_ms
    }

    fn is_attempt(&self, conn: usize) -> bool {
        matches!(self.conns[conn].stage, Stage::Dialling | Stage::Up | Stage::Connecting)
    }

    fn is_connecting(&mut self, conn: usize) -> bool {
        self.conns[conn].stage == Stage::Connecting && self.passes(conn)
    }

    /// Tells whether the way of a connection leads to the broker now.
    pub(crate) fn is_within_reach(&self, conn: usize) -> bool {
        let Conn { network, way, .. } = self.conns[conn];
        self.place == Some(network)
            && self.networks[network].qualities[way.index()] == Quality::Works
            && self.now_ms >= self.broker_back_ms
    }

    /// The agent dials a way from where it is.
    pub(crate) fn dial(&mut self, way: WayId) -> usize {
        let network = self.place.unwrap_or(0);
        let stage = Stage::Dialling;
        self.conns.push(Conn { way, network, stage, said_ms: self.now_ms, broken: self.place.is_none() });
        let conn = self.conns.len() - 1;
        let (now_ms, one_way_ms) = (self.now_ms, self.one_way_ms(conn));
        if self.place.is_none() {
            self.at(now_ms, Event::Failed(conn, Failure::Door));
            return conn;
        }
        let is_lost = now_ms < self.scenario.last_ms() && self.rng.u32(0..100) < self.scenario.loss_percent;
        let broker_is_away = now_ms < self.broker_back_ms;
        let (after_ms, event) = match self.networks[network].qualities[way.index()] {
            _ if is_lost => return conn,
            Quality::Dropped => return conn,
            Quality::Refused => (2 * one_way_ms, Event::Failed(conn, Failure::Door)),
            Quality::ProxySilent => (SILENT_MS, Event::Failed(conn, Failure::Door)),
            Quality::ProxyBroken => (2 * one_way_ms, Event::Failed(conn, Failure::Proxy)),
            _ if broker_is_away => (2 * one_way_ms, Event::Failed(conn, Failure::Door)),
            Quality::NoTls => (4 * one_way_ms, Event::Failed(conn, Failure::Way)),
            Quality::Works | Quality::Mute | Quality::Cuts => (4 * one_way_ms, Event::Up(conn)),
        };
        self.at(now_ms + after_ms, event);
        conn
    }

    /// The agent sends CONNECT.
    pub(crate) fn connect(&mut self, conn: usize) {
        self.conns[conn].stage = Stage::Connecting;
        self.conns[conn].said_ms = self.now_ms;
        let Conn { network, way, .. } = self.conns[conn];
        let (now_ms, one_way_ms) = (self.now_ms, self.one_way_ms(conn));
        if !self.passes(conn) {
            return;
        }
        match self.networks[network].qualities[way.index()] {
            Quality::Mute => {}
            Quality::Cuts => self.at(now_ms + 2 * one_way_ms, Event::Failed(conn, Failure::Way)),
            // What is up may go on where nothing new comes through.
            Quality::Works
            | Quality::Refused
            | Quality::Dropped
            | Quality::ProxySilent
            | Quality::ProxyBroken
            | Quality::NoTls => self.at(now_ms + one_way_ms, Event::ConnectArrives(conn)),
        }
    }

    /// The agent closes a connection.
    pub(crate) fn close(&mut self, conn: usize) {
        if self.passes(conn) {
            self.at(self.now_ms + self.one_way_ms(conn), Event::EndArrives(conn));
        }
        self.conns[conn].stage = Stage::Over;
    }

    fn connect_arrives(&mut self, conn: usize) {
        if self.now_ms < self.broker_back_ms {
            return;
        }
        let at_ms = self.now_ms + self.one_way_ms(conn);
        let refusal = match self.mood {
            Mood::Accepts => None,
            Mood::Busy { return_secs } => Some(Refusal::Later { return_secs }),
            Mood::NotAllowed => Some(Refusal::ForGood),
        };
        if let Some(refusal) = refusal {
            self.at(at_ms, Event::Refused(conn, refusal));
            return;
        }
        if let Some(before) = self.session.replace(conn) {
            assert!(self.agent.main != Some(before), "the agent evicts itself");
            self.at(at_ms, Event::Ended(before, Lost::TakenOver));
        }
        self.at(at_ms, Event::Accepted(conn));
    }

    /// The network is back, and `way` has worked there: if nothing stands against it, the agent is connected soon.
    pub(crate) fn expect_soon(&mut self, network: usize, way: WayId) {
        let place = &self.networks[network];
        if self.place == Some(network)
            && place.qualities[way.index()] == Quality::Works
            && place.one_way_ms <= 80
            && self.scenario.loss_percent == 0
            && self.mood == Mood::Accepts
            && self.now_ms >= self.broker_back_ms
            && self.oracle.is_free(self.now_ms)
        {
            self.sorts.push("resumed soon".into());
            self.soon_ms = Some(self.now_ms + SOON_MS);
        }
    }

    /// Looks at the end: the best way that works, and a heartbeat that the network bears.
    fn judge(mut self) -> Vec<String> {
        let best = self.place.and_then(|place| {
            let works = |way: &WayId| self.networks[place].qualities[way.index()] == Quality::Works;
            self.scenario.ways.ids().find(works)
        });
        let connected = self.agent.climber.connected();
        let mut sorts = std::mem::take(&mut self.sorts);
        match (connected, self.agent.main) {
            (Some(way), Some(main)) => {
                assert!(best.is_none_or(|best| way <= best), "connected by {way:?}, the best is {best:?}");
                assert!(self.passes(main), "the connection is dead");
                assert_eq!(self.session, Some(main), "the broker knows of it");
                let place = self.conns[main].network;
                let quality = self.networks[place].qualities[way.index()];
                let kept = quality != Quality::Works;
                let way = self.scenario.ways.get(way);
                let through = if way.proxied { "through the proxy" } else { "directly" };
                sorts.push(if kept { "kept".into() } else { format!("{} {through}", way.transport) });
                sorts.push(self.judge_heartbeat(place).into());
            }
            (None, None) => {
                assert_eq!(best, None, "not connected");
                sorts.push(if self.place.is_some() { "no way works" } else { "offline" }.into());
            }
            (connected, main) => panic!("connected by {connected:?}, on {main:?}"),
        }
        sorts.sort_unstable();
        sorts.dedup();
        sorts
    }

    fn judge_heartbeat(&self, place: usize) -> &'static str {
        let settings = heartbeat_settings();
        let bears = |secs: u32| {
            let most_ms = self.networks[place].forgets_after_ms;
            most_ms.is_none_or(|most_ms| u64::from(secs) * 1_000 <= most_ms)
        };
        let climb = |mut secs: u32| {
            while secs < settings.maximum_secs
                && bears((secs + settings.step_secs).min(settings.maximum_secs))
            {
                secs = (secs + settings.step_secs).min(settings.maximum_secs);
            }
            secs
        };
        let heartbeat = self.agent.heartbeat.as_ref().expect("connected");
        let found = heartbeat.interval_secs();
        assert!(bears(found) || found == settings.initial_secs, "{found} s is not borne");
        if !heartbeat.is_settled(self.now_ms) {
            return "heartbeat still looked for";
        }
        let mut starts = vec![settings.minimum_secs];
        starts.extend(bears(settings.initial_secs).then_some(settings.initial_secs));
        // Where flows were cut for other reasons too, a raise may have failed for one of them.
        let is_calm = !self.scenario.changes.iter().any(|(_, change)| matches!(change, Change::Quality(..)));
        let fits = |start: &u32| {
            let end = climb(*start);
            found == end
                || !is_calm
                    && (*start..end).contains(&found)
                    && (found - start).is_multiple_of(settings.step_secs)
        };
        assert!(starts.iter().any(fits), "settled at {found} s");
        "heartbeat settled"
    }
}
