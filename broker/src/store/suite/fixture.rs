//! A store with an agent or two, and short words for what the tests do with it.

use std::sync::Arc;

use tempfile::TempDir;
use wakemq_protocol::{
    AgentId, CommandId, CommandState, Counts, GroupPath, GroupUpdate, Kind, News, Outcome, PowerStep,
    PowerWhat, Priority, Receipt, ReceiptState, SecretHash, SlotChoice, Submission, Timestamp, Update,
};

use crate::store::{
    self, Actor, Admin, AdminOp, AdminOutcome, Change, Claim, CommandRow, Delivery, Durability, Epoch, Lane,
    NewCommand, Outcomes, Query, Recorded, Rows, Status, Store, StoreError, Submitted, Target, Transition,
    Verdict,
};

pub(super) const CACHE_BYTES: usize = 1 << 20;

/// A store with the agents `a` and `b` in the group `g/h`.
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    _dir: Option<TempDir>,
}

pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + secs * 1000)
}

pub(super) fn id(number: u64) -> CommandId {
    CommandId::from_parts(number, &[0; 10])
}

pub(super) fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

pub(super) fn group(path: &str) -> GroupPath {
    path.parse().unwrap()
}

pub(super) fn secret(number: u8) -> SecretHash {
    SecretHash([number; 32])
}

pub(super) fn submission(slot: Option<&str>, priority: Priority) -> Submission {
    let slot = slot.map_or(SlotChoice::Never, |slot| SlotChoice::Named(slot.parse().unwrap()));
    Submission { slot, priority, ..Submission::new(Kind::Wake) }
}

pub(super) fn actor() -> Actor {
    Actor { by: "op:test".into(), address: None }
}

/// What is told of one agent by news.
pub(super) fn update(news: &News) -> &Update {
    match news {
        News::Agent(update) => update,
        News::Group(update) => panic!("told of a group: {update:?}"),
    }
}

/// What became of a command for one agent.
pub(super) fn outcome_of(row: CommandRow) -> Outcome {
    match row.status {
        Status::Agent(outcome) => outcome,
        Status::Group { update, .. } => panic!("it is for a group: {update:?}"),
    }
}

/// Only by the connection of `a`.
pub(super) fn live(epoch: Epoch) -> Delivery {
    Delivery::Live(vec![(agent("a"), epoch)])
}

/// A command for a group, without a slot, accepted for an hour from `at(0)`.
pub(super) fn to_group(number: u64, path: &str) -> NewCommand {
    NewCommand { target: Target::Group(group(path)), ..new(number) }
}

/// The same in a slot.
pub(super) fn to_group_in_slot(number: u64, path: &str, slot: &str) -> NewCommand {
    NewCommand { target: Target::Group(group(path)), ..in_slot(number, slot) }
}

pub(super) fn create(name: &str, path: &str, number: u8) -> AdminOp {
    AdminOp::CreateAgent { agent: agent(name), group: group(path), secret: secret(number) }
}

pub(super) fn move_to(name: &str, path: &str) -> AdminOp {
    AdminOp::MoveAgent { agent: agent(name), to: group(path), scope: GroupPath::root() }
}

/// A `power` command for `a`, accepted for an hour from `at(0)`.
pub(super) fn power(number: u64, slot: &str) -> NewCommand {
    let command = in_slot(number, slot);
    NewCommand { submission: Submission { kind: Kind::Power, ..command.submission }, ..command }
}

/// A step of its evidence.
pub(super) fn no_relay(secs: i64) -> PowerStep {
    PowerStep { at: at(secs), what: PowerWhat::NoRelay { detail: "none is awake".into() } }
}

/// The same for a command of `a`.
pub(super) fn step(number: u64, epoch: Epoch, secs: i64) -> Transition {
    Transition::Evidence { agent: agent("a"), id: id(number), epoch, step: no_relay(secs) }
}

/// What is told of a group by news.
pub(super) fn group_update(news: &News) -> &GroupUpdate {
    match news {
        News::Group(update) => update,
        News::Agent(update) => panic!("told of an agent: {update:?}"),
    }
}

/// A cancellation by somebody who may command everything.
pub(super) fn cancel(number: u64) -> Transition {
    Transition::Cancel { id: id(number), scope: GroupPath::root(), actor: actor() }
}

/// The same without anybody in the audit trail.
pub(super) fn quietly(op: AdminOp) -> Admin {
    Admin { op, actor: None }
}

/// A command for `a`, without a slot, accepted for an hour from `at(0)`.
pub(super) fn new(number: u64) -> NewCommand {
    NewCommand {
        id: id(number),
        actor: actor(),
        scope: GroupPath::root(),
        target: Target::Agent(agent("a")),
        submission: submission(None, Priority::Normal),
        expires: at(3600),
        delivery: Delivery::Inbox,
    }
}

pub(super) fn in_slot(number: u64, slot: &str) -> NewCommand {
    NewCommand { submission: submission(Some(slot), Priority::Normal), ..new(number) }
}

pub(super) fn receipt(number: u64, state: ReceiptState) -> Receipt {
    Receipt { id: id(number), state, detail: Some("said so".into()) }
}

/// The ids and states of changes.
pub(super) fn told(changes: &[Change]) -> Vec<(CommandId, CommandState)> {
    changes
        .iter()
        .map(|change| update(&change.news))
        .map(|update| (update.id, update.outcome.state))
        .collect()
}

/// What an accepted command is told as, and what it did to others.
pub(super) fn accepted(submitted: Submitted) -> (Outcome, Vec<Change>) {
    let Submitted::Accepted { news, changes, .. } = submitted else { panic!("not accepted: {submitted:?}") };
    (update(&news).outcome.clone(), changes)
}

async fn with_agents(store: Arc<dyn Store>) -> Arc<dyn Store> {
    let create = |(name, number)| {
        quietly(AdminOp::CreateAgent { agent: agent(name), group: group("g/h"), secret: secret(number) })
    };
    let ops = [("a", 1), ("b", 2)].map(create).into();
    let outcomes = store.write(ops, Durability::Flushed, at(0)).await.unwrap();
    assert_eq!(outcomes, [AdminOutcome::Done, AdminOutcome::Done]);
    store
}

impl Bench {
    /// Creates the agents in a store.
    pub(super) async fn on(store: Arc<dyn Store>) -> Self {
        Self { store: with_agents(store).await, _dir: None }
    }

    /// A store that has the agents already.
    pub(super) fn again(store: Arc<dyn Store>) -> Self {
        Self { store, _dir: None }
    }

    pub(super) async fn in_memory() -> Self {
        Self::on(store::memory()).await
    }

    pub(super) async fn on_disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        store::create(&path).unwrap();
        let store = store::open(&path, CACHE_BYTES, at(0)).unwrap();
        Self { store: with_agents(store).await, _dir: Some(dir) }
    }

    pub(super) async fn submit(&self, command: NewCommand, secs: i64) -> Submitted {
        self.store.submit(vec![command], at(secs)).await.unwrap().remove(0)
    }

    pub(super) async fn accept(&self, command: NewCommand, secs: i64) -> Vec<Change> {
        accepted(self.submit(command, secs).await).1
    }

    /// Claims `power` commands of an agent.
    pub(super) async fn claim_power(&self, name: &str, secs: i64) -> Epoch {
        self.store.claim(&agent(name), Lane::Power, "node", at(secs)).await.unwrap().epoch
    }

    /// A newer connection of `a`.
    pub(super) async fn claim_again(&self, secs: i64) -> Claim {
        self.store.claim(&agent("a"), Lane::Agent, "node", at(secs)).await.unwrap()
    }

    pub(super) async fn claim(&self, secs: i64) -> Epoch {
        self.store.claim(&agent("a"), Lane::Agent, "node", at(secs)).await.unwrap().epoch
    }

    pub(super) async fn inbox(&self, epoch: Epoch, secs: i64) -> Vec<CommandId> {
        let page = self.store.inbox(&agent("a"), epoch, 16, at(secs)).await.unwrap();
        page.commands.iter().map(|command| command.id).collect()
    }

    pub(super) async fn record(&self, transition: Transition, secs: i64) -> Recorded {
        self.store.record(vec![transition], at(secs)).await.unwrap().remove(0)
    }

    pub(super) async fn acknowledge(&self, number: u64, epoch: Epoch, secs: i64) -> Verdict {
        let transition = Transition::Acknowledged { agent: agent("a"), id: id(number), epoch };
        self.record(transition, secs).await.verdict
    }

    pub(super) async fn cancel(&self, number: u64, secs: i64) -> Recorded {
        self.record(cancel(number), secs).await
    }

    pub(super) async fn receive(&self, number: u64, state: ReceiptState, secs: i64) -> Recorded {
        let receipt = receipt(number, state);
        self.record(Transition::Receipt { agent: agent("a"), receipt }, secs).await
    }

    pub(super) async fn release(&self, epoch: Epoch, secs: i64) -> Recorded {
        self.record(Transition::Release { agent: agent("a"), epoch }, secs).await
    }

    pub(super) async fn let_go(&self, number: u64, epoch: Epoch, secs: i64) -> Recorded {
        self.record(Transition::LetGo { agent: agent("a"), id: id(number), epoch }, secs).await
    }

    pub(super) async fn sweep(&self, max: usize, secs: i64) -> Recorded {
        self.record(Transition::Sweep { max }, secs).await
    }

    pub(super) async fn outcome(&self, number: u64) -> Outcome {
        outcome_of(self.row(number).await.expect("the command is known"))
    }

    pub(super) async fn state(&self, number: u64) -> CommandState {
        self.outcome(number).await.state
    }

    pub(super) async fn is_known(&self, number: u64) -> bool {
        self.row(number).await.is_some()
    }

    pub(super) async fn row(&self, number: u64) -> Option<CommandRow> {
        self.store.command(id(number), Outcomes::default()).await.unwrap()
    }

    /// Accepts a command for a group; returns what it did to others.
    pub(super) async fn accept_for_group(&self, command: NewCommand, secs: i64) -> Vec<Change> {
        let submitted = self.submit(command, secs).await;
        let Submitted::Accepted { changes, .. } = submitted else { panic!("not accepted: {submitted:?}") };
        changes
    }

    /// Where a command for a group stands, and what is known of single agents.
    pub(super) async fn of_group(&self, number: u64) -> (GroupUpdate, Vec<Outcome>) {
        let wanted = Outcomes { after: None, max: 100 };
        let row = self.store.command(id(number), wanted).await.unwrap().expect("the command is known");
        match row.status {
            Status::Group { update, outcomes, .. } => (update, outcomes),
            Status::Agent(outcome) => panic!("it is for an agent: {outcome:?}"),
        }
    }

    /// How many agents of a command for a group are in each state.
    pub(super) async fn counts(&self, number: u64) -> Counts {
        self.of_group(number).await.0.counts
    }

    pub(super) async fn claim_of(&self, name: &str, secs: i64) -> Epoch {
        self.store.claim(&agent(name), Lane::Agent, "node", at(secs)).await.unwrap().epoch
    }

    pub(super) async fn inbox_of(&self, name: &str, epoch: Epoch, secs: i64) -> Vec<CommandId> {
        let page = self.store.inbox(&agent(name), epoch, 16, at(secs)).await.unwrap();
        page.commands.iter().map(|command| command.id).collect()
    }

    pub(super) async fn groups(&self, scope: &str) -> Vec<(String, u64)> {
        let query = Query::Groups { after: None, scope: group(scope), max: 100 };
        let found = self.store.read(query).await.unwrap();
        let Rows::Groups(rows) = found else { panic!("not what was asked: {found:?}") };
        rows.into_iter().map(|row| (row.group.to_string(), row.agents)).collect()
    }

    pub(super) async fn pending(&self) -> u32 {
        let found = self.store.read(Query::Agent(agent("a"))).await.unwrap();
        let Rows::Agents(rows) = found else { panic!("not what was asked: {found:?}") };
        rows[0].pending
    }

    pub(super) async fn admin(&self, op: AdminOp, secs: i64) -> AdminOutcome {
        self.store.write(vec![quietly(op)], Durability::Flushed, at(secs)).await.unwrap().remove(0)
    }
}

/// Tells whether a call failed because of the medium.
pub(super) fn is_io<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Io(_)))
}
