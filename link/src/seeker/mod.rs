//! The seeker: it reaches the broker by the best way that the network lets through, and keeps looking.
//!
//! It drives a [`Climber`], a [`Heartbeat`](crate::Heartbeat) and a [`Memory`] over real connections. Its owner serves
//! the session that it finds, tells it what becomes of that, and polls [`Seeker::next`] all the time beside the session:
//! nothing moves otherwise, and no task is spawned. All waits are one timer, which is set anew only when what is due next
//! has changed.
//!
//! The order of calls: [`Seeker::new`], [`start`](Seeker::start), then [`next`](Seeker::next) again and again. After
//! [`SeekerEvent::Connected`] the owner tells how the session goes by [`handle_idle`](Seeker::handle_idle) and
//! [`handle_alive`](Seeker::handle_alive), and how it ends by [`handle_silence`](Seeker::handle_silence),
//! [`handle_cut`](Seeker::handle_cut),
//! [`handle_lost`](Seeker::handle_lost) or [`handle_refused`](Seeker::handle_refused), unless it was told to end it by
//! [`SeekerEvent::GiveUp`] or [`SeekerEvent::Move`]. What surrounds the machine is told by
//! [`handle_network`](Seeker::handle_network) and [`handle_resumed`](Seeker::handle_resumed).

mod alarm;
mod attempts;
mod climbing;
mod cuts;
mod event;
mod learning;
mod problems;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use wakemq_protocol::Reach;

use crate::ladder::{Climber, Lost, Refusal, WayId, Ways};
use crate::mqtt::ConnectOptions;
use crate::{Backoff, Captive, HeartbeatSettings, Ladder, Memory, NetworkKey, Portal, WayDialer};

use alarm::Alarm;
use attempts::{Attempts, Facts, Work};
use climbing::Cause;
use cuts::Cuts;
use learning::{Finding, Learning};
use problems::Problems;

pub use event::{Arrival, NoWay, SeekerEvent, Setback};

/// How to seek.
#[derive(Debug, Clone)]
pub struct SeekerOptions {
    /// How sessions begin. Their keep-alive is that of the heartbeat.
    pub connect: ConnectOptions,
    /// Between which bounds the heartbeat is looked for.
    pub heartbeat: HeartbeatSettings,
    /// What was remembered.
    pub memory: Memory,
    /// The wall clock's time, in milliseconds since 1970. From there on the time is told by the clock of `connect`.
    pub unix_ms: u64,
    /// How often better ways are probed, in milliseconds; an hour unless said otherwise.
    pub probe_ms: Option<u64>,
}

/// Reaches a broker; see the module's documentation for the order of calls.
pub struct Seeker {
    climber: Climber,
    dialer: WayDialer,
    connect: ConnectOptions,
    settings: HeartbeatSettings,
    memory: Memory,
    alarm: Alarm,
    network: Option<NetworkKey>,
    attempts: Attempts,
    /// What is up and waits for the goodbye of the session before it.
    moving: Option<WayId>,
    main: Option<Main>,
    cuts: Cuts,
    problems: Problems,
    /// The question who answers in the broker's place, and the last answer.
    asking: Option<Work<Portal>>,
    captive: Option<Captive>,
    events: VecDeque<SeekerEvent>,
}

/// The session that the owner serves.
struct Main {
    way: WayId,
    facts: Facts,
    learning: Learning,
}

impl Seeker {
    /// Makes a seeker of the ways to `ladder` that `dialer` knows.
    pub fn new(ladder: &Ladder, dialer: WayDialer, options: SeekerOptions) -> Self {
        let ways = dialer.proxy().ways(ladder);
        let mut climber = Climber::new(ways, Backoff::default());
        if let Some(probe_ms) = options.probe_ms {
            climber = climber.with_probe_ms(probe_ms);
        }
        Self {
            climber,
            dialer,
            settings: options.heartbeat,
            memory: options.memory,
            alarm: Alarm::new(options.connect.clock, options.unix_ms),
            connect: options.connect,
            network: None,
            attempts: Attempts::default(),
            moving: None,
            main: None,
            cuts: Cuts::default(),
            problems: Problems::default(),
            asking: None,
            captive: None,
            events: VecDeque::new(),
        }
    }

    /// Returns all ways, the best first.
    pub fn ways(&self) -> &Ways {
        self.climber.ways()
    }

    /// Returns what was found out so far.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Tells by which way the present session goes, and what is wrong with better ones.
    pub fn reach(&self) -> Option<Reach> {
        let main = self.main.as_ref()?;
        let way = self.climber.ways().get(main.way);
        Some(Reach {
            transport: way.transport,
            endpoint: way.rung.to_string(),
            proxy: main.facts.proxy.as_ref().map(ToString::to_string),
            intercepted_by: main.facts.tls.intercepted_by(),
            heartbeat: main.learning.interval_secs(),
            settled: main.learning.is_settled(self.alarm.now_ms()),
            better: self.problems.better_than(main.way, self.climber.ways()),
        })
    }

    /// Begins, in this network.
    pub fn start(&mut self, network: Option<NetworkKey>) {
        self.network.clone_from(&network);
        let worked = self.worked();
        self.climb(Cause::Owner, |climber, at| climber.handle_start(network, worked, at));
    }

    /// Addresses, routes or the gateway have changed: this is the network now, or there is none.
    pub fn handle_network(&mut self, network: Option<NetworkKey>) {
        if network.is_some() && network != self.network {
            self.problems.clear();
            self.cuts.clear();
            (self.asking, self.captive) = (None, None);
        }
        self.network.clone_from(&network);
        let worked = self.worked();
        self.climb(Cause::Owner, |climber, at| climber.handle_network(network, worked, at));
    }

    /// The machine has resumed.
    pub fn handle_resumed(&mut self) {
        self.climb(Cause::Owner, Climber::handle_resumed);
    }

    /// The session was quiet for the whole interval, and was then answered.
    pub fn handle_idle(&mut self) {
        self.climber.handle_alive();
        self.cuts.clear();
        self.learn(Learning::handle_idle);
    }

    /// The session has shown that it lives.
    pub fn handle_alive(&mut self) {
        self.climber.handle_alive();
    }

    /// The session was quiet for the whole interval, and had no answer then: it is over. `return_secs` is what the
    /// broker advised for a session that is lost.
    pub fn handle_silence(&mut self, return_secs: u32) {
        self.learn(Learning::handle_silence);
        self.handle_lost(Lost::Ended { return_secs });
    }

    /// The session was quiet for so long, and was then cut without a word of the broker: it is over. A network that does so
    /// again and again bears no longer quiet, which then counts as silence. `return_secs` is as there.
    pub fn handle_cut(&mut self, quiet: Duration, return_secs: u32) {
        let Some(main) = &self.main else { return };
        let interval = Duration::from_secs(main.learning.interval_secs().into());
        if self.cuts.tell(main.way, quiet, interval) {
            tracing::info!(
                quiet_secs = quiet.as_secs(),
                "cut after a quiet while again: the network bears less"
            );
            self.handle_silence(return_secs);
        } else {
            self.handle_lost(Lost::Ended { return_secs });
        }
    }

    /// A poll is quiet for so many seconds, which may be others than it was told to.
    pub fn handle_interval(&mut self, secs: u32) {
        self.learn(|learning, now_ms| learning.handle_interval(secs, now_ms));
    }

    /// The session is over.
    pub fn handle_lost(&mut self, lost: Lost) {
        self.drop_main();
        self.climb(Cause::Owner, |climber, at| climber.handle_lost(lost, at));
    }

    /// The broker has refused what comes after CONNECT: the session is over.
    pub fn handle_refused(&mut self, refusal: Refusal) {
        let Some(way) = self.climber.connected() else { return };
        self.drop_main();
        self.climb(Cause::Owner, |climber, at| climber.handle_refused(way, refusal, at));
    }

    /// The owner has ended its session, as [`SeekerEvent::Move`] told it to.
    pub fn moved(&mut self) {
        if let Some(way) = self.moving.take() {
            self.send_connect(way);
        }
    }

    /// Tells whether a new session may be quiet for longer than the present one, for good: to be looked at when nothing
    /// is on its way.
    pub fn has_outgrown_session(&self) -> bool {
        self.main.as_ref().is_some_and(|main| main.learning.has_outgrown_session(self.alarm.now_ms()))
    }

    /// Waits for what happens next. May be dropped and called again.
    pub async fn next(&mut self) -> SeekerEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<SeekerEvent> {
        loop {
            // Before anything moves on: what the owner has to do comes first.
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if let Poll::Ready((way, outcome)) = self.attempts.poll(cx) {
                self.attempted(way, outcome);
            } else if let Some(main) = &mut self.main
                && let Poll::Ready(step) = main.learning.poll(cx)
            {
                self.learn(|learning, now_ms| learning.handle_step(step, now_ms));
            } else if let Some(asking) = &mut self.asking
                && let Poll::Ready(portal) = asking.as_mut().poll(cx)
            {
                self.asked(portal);
            } else if self.alarm.poll(self.due_ms(), cx).is_ready() {
                self.timers();
            } else {
                return Poll::Pending;
            }
        }
    }

    fn due_ms(&self) -> Option<u64> {
        let learning = self.main.as_ref().and_then(|main| main.learning.poll_timeout());
        [self.climber.poll_timeout(), learning].into_iter().flatten().min()
    }

    fn timers(&mut self) {
        let now_ms = self.alarm.now_ms();
        if self.climber.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms) {
            self.climb(Cause::Attempt, Climber::handle_timeout);
        }
        let due = self.main.as_ref().and_then(|main| main.learning.poll_timeout());
        if due.is_some_and(|at_ms| at_ms <= now_ms) {
            self.learn(Learning::handle_timeout);
        }
    }

    /// Returns the way that led to the broker last in this network.
    fn worked(&self) -> Option<WayId> {
        self.climber.ways().find(self.memory.way(self.network.as_ref()?)?)
    }

    /// Tells the heartbeat something, and passes on what it finds.
    fn learn(&mut self, tell: impl FnOnce(&mut Learning, u64)) {
        let now_ms = self.alarm.now_ms();
        let Some(main) = &mut self.main else { return };
        tell(&mut main.learning, now_ms);
        while let Some(finding) = main.learning.poll_finding() {
            match finding {
                Finding::Remember(learned) => {
                    let Learning { network, way, .. } = &main.learning;
                    if self.memory.set_heartbeat(network, &way.to_string(), learned) {
                        self.events.push_back(SeekerEvent::Learned);
                    }
                }
                Finding::Interval(secs) => self.events.push_back(SeekerEvent::Interval(secs)),
                Finding::Settled => self.events.push_back(SeekerEvent::Settled),
            }
        }
    }

    /// The session is over: what is tried beside it tells nothing any more.
    fn drop_main(&mut self) {
        self.learn(Learning::handle_disconnected);
        self.main = None;
    }
}

impl std::fmt::Debug for Seeker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeker").field("climber", &self.climber).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
