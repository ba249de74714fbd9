//! A store in which there is something of each kind, and everything that is asked of a store.

use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use wakemq_protocol::{
    AgentId, CommandId, Facts, GroupPath, Kind, OperatorName, PowerStep, PowerWhat, Priority, Receipt,
    ReceiptState, SecretHash, SlotChoice, Submission, Timestamp,
};

use crate::store::{
    Actor, Admin, AdminOp, Delivery, Durability, Lane, NewCommand, Outcomes, Query, Role, Store, StoreError,
    StoreFuture, Target, Transition,
};

/// How much a page or a sweep holds.
const PAGE: usize = 50;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer; one that never comes ends as a time-out of the fuzzer.
fn done<T>(mut future: StoreFuture<'_, T>) -> Result<T, StoreError> {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            assert!(!matches!(result, Err(StoreError::Closed)), "a job was forgotten");
            return result;
        }
        thread::park();
    }
}

pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + secs * 1000)
}

fn agent(name: &str) -> AgentId {
    name.parse().expect("an id")
}

fn group(path: &str) -> GroupPath {
    path.parse().expect("a path")
}

fn operator(name: &str) -> OperatorName {
    name.parse().expect("a name")
}

fn id(number: u64) -> CommandId {
    CommandId::from_parts(number, &[0; 10])
}

fn actor() -> Option<Actor> {
    Some(Actor { by: "op:o".into(), address: None })
}

fn command(number: u64, target: Target, ttl: i64) -> NewCommand {
    let slot = match number % 7 {
        0 => SlotChoice::Never,
        of => SlotChoice::Named(format!("s{of}").parse().expect("a slot")),
    };
    let priority = if number.is_multiple_of(2) { Priority::High } else { Priority::Normal };
    let is_power = number % 6 == 1 && matches!(target, Target::Agent(_));
    let kind = if is_power { Kind::Power } else { Kind::Wake };
    NewCommand {
        id: id(number),
        actor: Actor { by: "op:o".into(), address: None },
        scope: GroupPath::root(),
        target,
        submission: Submission { slot, priority, ..Submission::new(kind) },
        expires: at(ttl),
        delivery: Delivery::Inbox,
    }
}

/// Puts something of each kind into an empty store.
pub(super) fn fill(store: &dyn Store) {
    let created = done(store.write(admin(creations()), Durability::Flushed, at(0)));
    assert!(created.is_ok(), "{created:?}");
    let targets = [
        Target::Agent(agent("a")),
        Target::Agent(agent("b")),
        Target::Group(group("g")),
        Target::Group(GroupPath::root()),
    ];
    for (number, target) in (1..).zip(targets.iter().cycle().take(24).cloned()) {
        let ttl = if number == 4 { 5 } else { 3600 };
        let accepted = done(store.submit(vec![command(number, target, ttl)], at(1)));
        assert!(accepted.is_ok(), "{accepted:?}");
    }
    live(store, at(2));
}
fn admin(ops: Vec<AdminOp>) -> Vec<Admin> {
    ops.into_iter().map(|op| Admin { op, actor: actor() }).collect()
}

fn creations() -> Vec<AdminOp> {
    let secret = |number| SecretHash([number; 32]);
    let facts = || Facts::from_json(br#"{"instance":"x"}"#).expect("facts");
    vec![
        AdminOp::CreateAgent { agent: agent("a"), group: group("g/h"), secret: secret(1) },
        AdminOp::CreateAgent { agent: agent("b"), group: group("g"), secret: secret(2) },
        AdminOp::CreateGroup { group: group("empty/one") },
        AdminOp::CreateToken {
            token: secret(3),
            group: group("g"),
            uses: 3,
            expires: at(3600),
            by: "op:o".into(),
        },
        AdminOp::Enrol { token: secret(3), agent: agent("c"), secret: secret(4), facts: facts() },
        AdminOp::CreateOperator {
            name: operator("o"),
            secret: secret(5),
            role: Role::Admin,
            group: GroupPath::root(),
        },
        AdminOp::Seen { agent: agent("a"), facts: Some(facts()), source: None },
    ]
}

/// An agent's day: it subscribes, takes, acknowledges, tells, leaves.
fn live(store: &dyn Store, now: Timestamp) {
    for name in ["a", "b"] {
        let agent = agent(name);
        let Ok(claim) = done(store.claim(&agent, Lane::Agent, "node", now)) else { continue };
        let Ok(page) = done(store.inbox(&agent, claim.epoch, 4, now)) else { continue };
        let mut transitions = Vec::new();
        for (number, command) in page.commands.iter().enumerate() {
            let (agent, id, epoch) = (agent.clone(), command.id, claim.epoch);
            transitions.push(match number {
                0 => Transition::Acknowledged { agent, id, epoch },
                1 => Transition::Failed { agent, id, epoch, detail: "x".into() },
                _ => {
                    let receipt = Receipt { id, state: ReceiptState::Done, detail: None };
                    Transition::Receipt { agent, receipt }
                }
            });
        }
        transitions.push(Transition::Release { agent: agent.clone(), epoch: claim.epoch });
        // What it says is for the tests of the store; here it only must not panic.
        drop(done(store.record(transitions, now)));
        power(store, &agent, now);
    }
}

/// The engine's day with an agent: it carries out one `power` command, begins another, and is started anew.
fn power(store: &dyn Store, agent: &AgentId, now: Timestamp) {
    let Ok(claim) = done(store.claim(agent, Lane::Power, "node", now)) else { return };
    let epoch = claim.epoch;
    let Ok(page) = done(store.inbox(agent, epoch, 2, now)) else { return };
    for (number, command) in page.commands.iter().enumerate() {
        let (id, step) = (command.id, PowerStep { at: now, what: PowerWhat::ProbeUnanswered });
        let mut transitions = vec![
            Transition::Evidence { agent: agent.clone(), id, epoch, step },
            Transition::PowerSent { agent: agent.clone(), id, epoch },
        ];
        if number == 0 {
            let detail = "x".to_owned();
            transitions.push(Transition::Ended { agent: agent.clone(), id, epoch, is_up: true, detail });
        }
        drop(done(store.record(transitions, now)));
    }
    drop(done(store.record(vec![Transition::Release { agent: agent.clone(), epoch }], now)));
}

/// Asks everything of a store, some of it twice, as time goes by.
pub(super) fn exercise(store: &dyn Store) {
    read_all(store);
    live(store, at(3));
    for number in [1, 2, 3, 20, 21] {
        let target = if number % 2 == 0 { Target::Group(group("g")) } else { Target::Agent(agent("a")) };
        drop(done(store.submit(vec![command(number, target, 7200)], at(4))));
    }
    let (scope, by) = (GroupPath::root, || Actor { by: "op:o".into(), address: None });
    let cancels =
        [1, 3, 7, 20].map(|number| Transition::Cancel { id: id(number), scope: scope(), actor: by() });
    drop(done(store.record(cancels.to_vec(), at(5))));
    let ops = [
        AdminOp::Seen { agent: agent("b"), facts: None, source: Some([192, 0, 2, 1].into()) },
        AdminOp::MoveAgent { agent: agent("a"), to: group("other"), scope: scope() },
        AdminOp::RenameGroup { group: group("empty"), to: group("full") },
        AdminOp::RemoveGroup { group: group("full/one") },
        AdminOp::RevokeAgent { agent: agent("b"), scope: scope() },
        AdminOp::ChangeOperator {
            name: operator("o"),
            role: Some(Role::Viewer),
            group: None,
            scope: scope(),
        },
        AdminOp::RevokeOperator { name: operator("o"), scope: scope() },
        AdminOp::RevokeToken { id: "x".into(), scope: scope() },
    ];
    // One by one: the first that finds damage would hide the others.
    for op in ops.into_iter().chain(creations()) {
        drop(done(store.write(admin(vec![op]), Durability::Flushed, at(6))));
    }
    for secs in [10, 4_000, 200_000] {
        drop(done(store.record(vec![Transition::Sweep { max: PAGE }], at(secs))));
        live(store, at(secs));
    }
    read_all(store);
}

/// Reads everything, and returns what each answer says.
pub(super) fn read_all(store: &dyn Store) -> Vec<String> {
    fn said(answer: impl Debug) -> String {
        format!("{answer:?}")
    }
    let scope = GroupPath::root;
    let queries = [
        Query::Agent(agent("a")),
        Query::Agents { after: None, scope: scope(), max: PAGE },
        Query::Agents { after: Some((group("g"), agent("b"))), scope: group("g"), max: 1 },
        Query::Named(vec![agent("b"), agent("nobody"), agent("a")]),
        Query::Places { after: Some((group("g"), agent("a"))), scope: scope(), max: PAGE },
        Query::Groups { after: None, scope: scope(), max: PAGE },
        Query::Operators { after: None, scope: scope(), max: PAGE },
        Query::Tokens { after: None, scope: group("g"), max: PAGE },
        Query::Audit { since: None, after: None, scope: scope(), max: PAGE },
        Query::Audit { since: Some(at(1)), after: Some(2), scope: group("g"), max: 2 },
        Query::Waiting { id: id(3), after: None, max: PAGE },
        Query::Power { after: None, max: PAGE },
        Query::Power { after: Some(1), max: 1 },
        Query::Health,
    ];
    let mut answers: Vec<String> = queries.into_iter().map(|query| said(done(store.read(query)))).collect();
    for number in 0..25 {
        let outcomes = Outcomes { after: None, max: PAGE };
        answers.push(said(done(store.authenticate(&SecretHash([number; 32])))));
        answers.push(said(done(store.command(id(number.into()), outcomes))));
    }
    answers
}
