//! Rows that no program of ours wrote: a store on them answers, or says that it is damaged, and never panics.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use wakemq_protocol::{
    AgentId, CommandId, Facts, GroupPath, Kind, OperatorName, Priority, Receipt, ReceiptState, SecretHash,
    SlotChoice, Submission, Timestamp,
};

use super::claims::Claims;
use super::kv::{Pair, Table};
use super::memory::Memory;
use super::shared::{Backend, SharedStore};
use super::{
    Actor, Admin, AdminOp, Delivery, Durability, NewCommand, Outcomes, Query, Role, Store, StoreError,
    StoreFuture, Target, Transition,
};

/// How often a future of the store in memory may say that it is not ready; it always is at once.
const POLLS_MAX: usize = 100;
/// How much a page or a sweep holds.
const PAGE: usize = 50;

/// Takes changes of the rows of a good store, one behind the other:
/// `0 table key-length value-length(2) key value` puts a row, `1 table n` removes the nth row of a table,
/// `2 table n at(2) byte` changes a byte of its value, `3 table n at byte` of its key,
/// `4 table n value-length(2) value` its whole value.
pub fn store_rows(data: &[u8]) {
    let mut rows = good_rows().clone();
    let mut input = Input(data);
    while let Some(()) = input.change(&mut rows) {}
    let claims = Arc::new(Claims::default());
    let memory = Memory::of_rows(rows, claims.clone());
    exercise(&SharedStore::new(memory, claims));
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn two(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// Makes the next change; `None` at the end.
    fn change(&mut self, rows: &mut Vec<(Table, Pair)>) -> Option<()> {
        let kind = self.byte()?;
        let table = Table::ALL[usize::from(self.byte()?) % Table::ALL.len()];
        if kind == 0 {
            let (key_len, value_len) = (usize::from(self.byte()?), self.two()?);
            let row = (self.bytes(key_len), self.bytes(value_len));
            rows.push((table, row));
            return Some(());
        }
        let n = usize::from(self.byte()?);
        let mut of_table = rows.iter_mut().enumerate().filter(|(_, (of, _))| *of == table);
        let found = of_table.nth(n).map(|(at, (_, row))| (at, row));
        match kind {
            1 => {
                if let Some(at) = found.map(|(at, _)| at) {
                    rows.remove(at);
                }
            }
            2 => {
                let (at, byte) = (self.two()?, self.byte()?);
                if let Some(place) = found.and_then(|(_, row)| row.1.get_mut(at)) {
                    *place = byte;
                }
            }
            3 => {
                let (at, byte) = (usize::from(self.byte()?), self.byte()?);
                if let Some(place) = found.and_then(|(_, row)| row.0.get_mut(at)) {
                    *place = byte;
                }
            }
            _ => {
                let len = self.two()?;
                let value = self.bytes(len);
                if let Some((_, row)) = found {
                    row.1 = value;
                }
            }
        }
        Some(())
    }
}

/// Waits for what is ready at once.
fn done<T>(mut future: StoreFuture<'_, T>) -> Result<T, StoreError> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            assert!(!matches!(result, Err(StoreError::Closed)), "a job was forgotten");
            return result;
        }
    }
    panic!("the store in memory waits");
}

fn at(secs: i64) -> Timestamp {
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
    NewCommand {
        id: id(number),
        actor: Actor { by: "op:o".into(), address: None },
        scope: GroupPath::root(),
        target,
        submission: Submission { slot, priority, ..Submission::new(Kind::Wake) },
        expires: at(ttl),
        delivery: Delivery::Inbox,
    }
}

/// The rows of a store in which there is something of each kind.
fn good_rows() -> &'static Vec<(Table, Pair)> {
    static ROWS: OnceLock<Vec<(Table, Pair)>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let claims = Arc::new(Claims::default());
        let memory = Arc::new(Memory::create(claims.clone()));
        let store = SharedStore::new(memory.clone(), claims);
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
        live(&store, at(2));
        let rows = memory.rows();
        for table in
            [Table::Agents, Table::Groups, Table::Commands, Table::Inbox, Table::Audit, Table::Outcomes]
        {
            assert!(rows.iter().any(|(of, _)| *of == table), "no row of {}", table.name());
        }
        rows
    })
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
        AdminOp::Seen { agent: agent("a"), facts: Some(facts()) },
    ]
}

/// An agent's day: it subscribes, takes, acknowledges, tells, leaves.
fn live(store: &impl Store, now: Timestamp) {
    for name in ["a", "b"] {
        let agent = agent(name);
        let Ok(claim) = done(store.claim(&agent, "node", now)) else { continue };
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
        transitions.push(Transition::Release { agent, epoch: claim.epoch });
        // What it says is for the tests of the store; here it only must not panic.
        drop(done(store.record(transitions, now)));
    }
}

/// Asks everything of a store, some of it twice, as time goes by.
fn exercise(store: &impl Store) {
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
        AdminOp::Seen { agent: agent("b"), facts: None },
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

fn read_all(store: &impl Store) {
    let scope = GroupPath::root;
    let queries = [
        Query::Agent(agent("a")),
        Query::Agents { after: None, scope: scope(), max: PAGE },
        Query::Agents { after: Some((group("g"), agent("b"))), scope: group("g"), max: 1 },
        Query::Groups { after: None, scope: scope(), max: PAGE },
        Query::Operators { after: None, scope: scope(), max: PAGE },
        Query::Tokens { after: None, scope: group("g"), max: PAGE },
        Query::Audit { since: None, after: None, scope: scope(), max: PAGE },
        Query::Audit { since: Some(at(1)), after: Some(2), scope: group("g"), max: 2 },
        Query::Waiting { id: id(3), after: None, max: PAGE },
        Query::Health,
    ];
    for query in queries {
        drop(done(store.read(query)));
    }
    for number in 0..8 {
        drop(done(store.authenticate(&SecretHash([number; 32]))));
        drop(done(store.command(id(number.into()), Outcomes { after: None, max: PAGE })));
    }
}

impl<B: Backend> Backend for Arc<B> {
    fn read<T>(
        &self,
        work: impl FnOnce(&dyn super::kv::ReadKv) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        B::read(self, work)
    }

    fn queue(&self, job: Box<dyn super::batch::Job>) -> impl Future<Output = Result<(), StoreError>> + Send {
        B::queue(self, job)
    }

    fn queue_lazily(
        &self,
        job: Box<dyn super::batch::Job>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        B::queue_lazily(self, job)
    }
}
