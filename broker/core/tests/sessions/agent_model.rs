//! An agent's session under random events, against a tiny model of what it promises.
//!
//! The engine answers in the order in which it is asked, but as late as it likes: any packet may come in between.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{
    FileFailurePersistence, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner,
};
use wakemq_core::packet::{ClientPacket, Connect, QoS, ReasonCode};
use wakemq_core::{AgentAction, AgentSession};
use wakemq_protocol::{Command, CommandId};

use crate::fixture::{
    V5, agent, command, commands_sent, connect, drain_agent, puback, subscribe, unsubscribe,
};

const OWN: &str = "wake/v1/agents/Printer-7/commands";
/// Commands with a reason are above this, others are not.
const PACKET_MAX: u32 = 400;

#[derive(Debug, Clone)]
enum Event {
    Subscribe,
    Unsubscribe,
    /// A command comes into the inbox; `true` makes it too large for the agent.
    Submit(bool),
    /// A command for the moment comes.
    Live(bool),
    /// A poke without anything new.
    Poke,
    /// The agent acknowledges one of what is in flight.
    PubAck(prop::sample::Index, bool),
    /// The engine goes one step on with the oldest question.
    Answer,
    /// The agent shows that it lives.
    Ping,
    /// Time goes on.
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let large = || prop::bool::weighted(0.1);
    prop_oneof![
        2 => Just(Event::Subscribe),
        1 => Just(Event::Unsubscribe),
        6 => large().prop_map(Event::Submit),
        3 => large().prop_map(Event::Live),
        1 => Just(Event::Poke),
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.1))
            .prop_map(|(which, error)| Event::PubAck(which, error)),
        9 => Just(Event::Answer),
        3 => Just(Event::Ping),
        2 => (0..12_000_u64).prop_map(Event::Pass),
    ]
}

/// What the engine was asked, and under which subscription.
#[derive(Debug)]
struct Question {
    ask: AgentAction,
    subscription: u32,
    /// The page, once the engine has read it, and whether that left anything; what comes into the inbox from then on
    /// is not in it.
    page: Option<(Vec<Command>, bool)>,
}

struct Model {
    session: AgentSession,
    in_flight_max: usize,
    subscribed: bool,
    /// Counts subscriptions; what an ended one asked for is void.
    subscription: u32,
    questions: VecDeque<Question>,
    inbox: VecDeque<Command>,
    /// Commands of the inbox that the present subscription carries.
    carried: Vec<Command>,
    live: VecDeque<CommandId>,
    /// And when each was sent.
    in_flight: BTreeMap<u16, (CommandId, u64)>,
    now_ms: u64,
    heard_ms: u64,
    /// What the broker's timer is set to.
    timer_ms: u64,
    /// The session has ended the connection.
    ended: bool,
    next: u64,
    packet_ids: u16,
}

impl Model {
    fn new(receive_maximum: u16) -> Self {
        let connect = Connect { receive_maximum, maximum_packet_size: Some(PACKET_MAX), ..connect(V5) };
        let session = agent(connect);
        Self {
            timer_ms: session.deadline_ms(),
            session,
            in_flight_max: usize::from(receive_maximum.min(16)),
            subscribed: false,
            subscription: 0,
            questions: VecDeque::new(),
            inbox: VecDeque::new(),
            carried: Vec::new(),
            live: VecDeque::new(),
            in_flight: BTreeMap::new(),
            now_ms: 0,
            heard_ms: 0,
            ended: false,
            next: 0,
            packet_ids: 0,
        }
    }

    fn packet_id(&mut self) -> u16 {
        self.packet_ids = self.packet_ids % 1000 + 1;
        self.packet_ids
    }

    fn new_command(&mut self, large: bool) -> Command {
        self.next += 1;
        Command { reason: large.then(|| "r".repeat(400)), ..command(self.next) }
    }

    fn step(&mut self, event: &Event) -> TestCaseResult {
        match event {
            Event::Subscribe => {
                let packet_id = self.packet_id();
                self.subscription += u32::from(!self.subscribed);
                self.subscribed = true;
                self.packet(subscribe(packet_id, &[(OWN, QoS::AtLeastOnce)]));
            }
            Event::Unsubscribe => {
                let packet_id = self.packet_id();
                self.subscription += u32::from(self.subscribed);
                self.subscribed = false;
                self.live.clear();
                self.packet(unsubscribe(packet_id, &[OWN]));
            }
            Event::Submit(large) => {
                let command = self.new_command(*large);
                self.inbox.push_back(command);
                self.session.handle_inbox_changed();
            }
            Event::Live(large) => {
                let command = self.new_command(*large);
                if self.subscribed && self.live.len() < 100 {
                    self.live.push_back(command.id);
                }
                self.session.handle_live(command, self.now_ms);
            }
            Event::Poke => self.session.handle_inbox_changed(),
            Event::PubAck(which, error) => return self.acknowledge(*which, *error),
            Event::Answer => return self.answer(),
            Event::Ping => self.packet(ClientPacket::PingReq),
            Event::Pass(ms) => return self.pass(*ms),
        }
        self.look(&[]).map(drop)
    }

    fn packet(&mut self, packet: ClientPacket) {
        self.heard_ms = self.now_ms;
        self.session.handle_packet(packet, self.now_ms);
    }

    /// When the session is to end the connection: 20 s after it was last heard, and after the oldest was sent that is
    /// not acknowledged; or with the keep-alive.
    fn due_ms(&self) -> u64 {
        let keep_alive_ms = self.heard_ms + 90_000;
        let oldest_ms = self.in_flight.values().map(|(_, sent_ms)| *sent_ms).min();
        oldest_ms.map_or(keep_alive_ms, |oldest_ms| keep_alive_ms.min(oldest_ms.max(self.heard_ms) + 20_000))
    }

    /// Lets time pass, and the timer fire whenever it does.
    fn pass(&mut self, ms: u64) -> TestCaseResult {
        let until_ms = self.now_ms + ms;
        while !self.ended && self.timer_ms <= until_ms {
            self.now_ms = self.now_ms.max(self.timer_ms);
            self.session.handle_timeout(self.now_ms);
            self.timer_ms = self.session.deadline_ms();
            let due = self.now_ms >= self.due_ms();
            self.look(&[])?;
            prop_assert_eq!(self.ended, due, "at {}", self.now_ms);
        }
        self.now_ms = until_ms;
        prop_assert!(self.ended || until_ms < self.due_ms(), "it is alive at {}", until_ms);
        Ok(())
    }

    fn acknowledge(&mut self, which: prop::sample::Index, error: bool) -> TestCaseResult {
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let packet_ids: Vec<_> = self.in_flight.keys().copied().collect();
        let packet_id = *which.get(&packet_ids);
        let (id, _) = self.in_flight.remove(&packet_id).expect("it is in flight");
        let reason = if error { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        self.packet(puback(packet_id, reason));
        let before = self.questions.len();
        self.look(&[])?;
        let asked = &self.questions[before].ask;
        prop_assert!(
            match asked {
                AgentAction::Acknowledged(of) => *of == id && !error,
                AgentAction::Failed { id: of, .. } => *of == id && error,
                _ => false,
            },
            "{asked:?} for {id}"
        );
        Ok(())
    }

    /// Lets the engine read the page that was asked for, or else answer its oldest question.
    fn answer(&mut self) -> TestCaseResult {
        let Some(Question { ask, subscription, page: read }) = self.questions.pop_front() else {
            return Ok(());
        };
        let mut page = Vec::new();
        match ask {
            AgentAction::Claim => self.session.handle_claimed(),
            AgentAction::Release => self.inbox.extend(self.carried.drain(..)),
            AgentAction::Fetch { max } => match read {
                None => {
                    prop_assert!(max > 0);
                    let read: Vec<_> = self.inbox.drain(..max.min(self.inbox.len())).collect();
                    self.carried.extend(read.iter().cloned());
                    let page = Some((read, !self.inbox.is_empty()));
                    self.questions.push_front(Question { ask, subscription, page });
                    return Ok(());
                }
                Some((read, more)) => {
                    if subscription == self.subscription {
                        page = read.iter().map(|command| command.id).collect();
                    }
                    self.session.handle_page(read, more, self.now_ms);
                }
            },
            AgentAction::Acknowledged(id) | AgentAction::Failed { id, .. } => {
                self.carried.retain(|command| command.id != id);
                self.inbox.retain(|command| command.id != id);
                self.session.handle_recorded(self.now_ms);
            }
            other => prop_assert!(false, "{other:?} asks nothing"),
        }
        let missing = self.look(&page)?;
        prop_assert!(missing.is_empty(), "neither sent nor failed: {missing:?}");
        Ok(())
    }

    /// Looks at what the session does, `page` being what it was just given; returns what of it was not dealt with.
    fn look(&mut self, page: &[CommandId]) -> Result<Vec<CommandId>, TestCaseError> {
        let mut page = page.to_vec();
        for action in drain_agent(&mut self.session) {
            for (packet_id, id) in commands_sent(std::slice::from_ref(&action)) {
                prop_assert!(self.subscribed, "sent {id} while unsubscribed");
                prop_assert!(packet_id != 0);
                let sent = (id, self.now_ms);
                prop_assert!(self.in_flight.insert(packet_id, sent).is_none(), "{packet_id} is in use");
                self.settle(id, &mut page)?;
            }
            match action {
                // A session stands that it is not paused: what was read before is handled.
                AgentAction::Send(_) | AgentAction::Pause { .. } => {}
                AgentAction::Failed { ref id, ref detail } => {
                    if detail.starts_with("the packet of") {
                        self.settle(*id, &mut page)?;
                    }
                    self.ask(action);
                }
                AgentAction::Claim
                | AgentAction::Release
                | AgentAction::Fetch { .. }
                | AgentAction::Acknowledged(_) => self.ask(action),
                AgentAction::Close(_) => self.ended = true,
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert!(self.in_flight.len() <= self.in_flight_max, "too many in flight");
        self.timer_ms = self.session.poll_rearm().unwrap_or(self.timer_ms);
        prop_assert_eq!(self.session.deadline_ms(), self.due_ms());
        prop_assert!(self.timer_ms <= self.due_ms(), "the timer fires too late");
        Ok(page)
    }

    /// Notes that a command was sent or has failed: it must have been waiting for just that.
    fn settle(&mut self, id: CommandId, page: &mut Vec<CommandId>) -> TestCaseResult {
        if let Some(at) = page.iter().position(|known| *known == id) {
            page.remove(at);
        } else {
            prop_assert_eq!(self.live.pop_front(), Some(id), "sent twice, or out of order, or made up");
        }
        Ok(())
    }

    fn ask(&mut self, ask: AgentAction) {
        self.questions.push_back(Question { ask, subscription: self.subscription, page: None });
    }

    /// Lets the engine answer all, and the agent acknowledge all: then nothing may be left behind.
    fn settle_down(&mut self) -> TestCaseResult {
        self.quiet()?;
        while let Some((packet_id, (id, _))) = self.in_flight.pop_first() {
            self.packet(puback(packet_id, ReasonCode::Success));
            self.look(&[])?;
            self.quiet()?;
            prop_assert!(
                !self.inbox.iter().any(|command| command.id == id),
                "{id} is acknowledged and waits"
            );
        }
        if self.subscribed {
            prop_assert!(self.inbox.is_empty() && self.live.is_empty());
        }
        Ok(())
    }

    /// Lets the engine answer all that it is asked; what waits then must wait for room.
    fn quiet(&mut self) -> TestCaseResult {
        while !self.questions.is_empty() {
            self.answer()?;
        }
        if self.subscribed && self.in_flight.len() < self.in_flight_max {
            prop_assert!(self.inbox.is_empty(), "left in the inbox with room in flight");
            prop_assert!(self.live.is_empty(), "left in memory with room in flight");
        }
        Ok(())
    }
}

fn holds((receive_maximum, events): (u16, Vec<Event>)) -> TestCaseResult {
    let mut model = Model::new(receive_maximum);
    for event in &events {
        model.step(event)?;
        if model.ended {
            // All that was carried is pending again, and the next connection begins anew.
            return Ok(());
        }
    }
    model.settle_down()
}

fn runs() -> impl Strategy<Value = (u16, Vec<Event>)> {
    (1..=20_u16, prop::collection::vec(event(), 1..200))
}

/// Seeds that every run repeats, so that two runs of one commit see at least these alike.
const SEEDS: [u8; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

#[test]
fn the_session_keeps_its_promises_for_committed_seeds() {
    for seed in SEEDS {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(100), rng);
        match runner.run(&runs(), holds) {
            Ok(()) => {}
            Err(TestError::Fail(why, events)) => panic!("seed {seed}: {why}\n{events:?}"),
            Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_session_keeps_its_promises_for_fresh_seeds(run in runs()) {
        holds(run)?;
    }
}
