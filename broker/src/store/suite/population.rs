//! Random steps of several agents in a hierarchy of groups, beside a model that knows who is meant by what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use wakemq_protocol::{CommandId, CommandState, Counts, GroupPath, ReceiptState};

use super::fixture::*;
use super::walk::{Walker, walk};
use crate::store::{
    AdminOp, AdminOutcome, Change, Epoch, Lane, NewCommand, Submitted, Target, Transition, Verdict,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const GROUPS: [&str; 6] = ["", "g", "g/h", "g/h/i", "g-h", "x"];

/// What somebody does; agents, groups and commands are named by numbers.
#[derive(Debug, Clone)]
enum Act {
    Create(usize, usize),
    Move(usize, usize),
    Revoke(usize),
    Submit { path: usize, slot: Option<u8>, ttl: i64 },
    SubmitPower(usize, u8),
    CarryPower(usize),
    Claim(usize),
    Take(usize, usize),
    Acknowledge(usize, usize),
    Done(usize, usize),
    Cancel(usize),
    Release(usize),
    Sweep,
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let (who, path, which) = (0..NAMES.len(), 0..GROUPS.len(), 0..12usize);
    prop_oneof![
        2 => (who.clone(), path.clone()).prop_map(|(who, path)| Act::Create(who, path)),
        3 => (who.clone(), path.clone()).prop_map(|(who, path)| Act::Move(who, path)),
        1 => who.clone().prop_map(Act::Revoke),
        6 => (path, proptest::option::of(0..2u8), 1..200i64)
            .prop_map(|(path, slot, ttl)| Act::Submit { path, slot, ttl }),
        2 => (who.clone(), 0..2u8).prop_map(|(who, slot)| Act::SubmitPower(who, slot)),
        2 => who.clone().prop_map(Act::CarryPower),
        3 => who.clone().prop_map(Act::Claim),
        8 => (who.clone(), 1..4usize).prop_map(|(who, max)| Act::Take(who, max)),
        6 => (who.clone(), which.clone()).prop_map(|(who, which)| Act::Acknowledge(who, which)),
        3 => (who.clone(), which.clone()).prop_map(|(who, which)| Act::Done(who, which)),
        2 => which.prop_map(Act::Cancel),
        2 => who.prop_map(Act::Release),
        1 => Just(Act::Sweep),
        2 => (1..60i64).prop_map(Act::Wait),
    ]
}

/// An agent from its creation to its revocation.
struct Life {
    /// Tells it from others that had its id.
    number: u64,
    group: GroupPath,
    epoch: Option<Epoch>,
    carried: BTreeSet<usize>,
    /// The number of a `power` command that waits for it, or is on its way: none of the rest touches it.
    power: Option<u64>,
}

/// A command for a group.
struct Record {
    target: GroupPath,
    slot: Option<u8>,
    expires: i64,
    state: CommandState,
    /// The agents that were inside when it was accepted.
    meant: BTreeSet<u64>,
    /// Those that have left since.
    left: BTreeSet<u64>,
    /// What is decided for single agents.
    outcomes: BTreeMap<u64, CommandState>,
    /// Those for which it ends when they let it go.
    requested: BTreeSet<u64>,
}

impl Record {
    fn is_open(&self, life: u64) -> bool {
        self.state == CommandState::Queued
            && self.meant.contains(&life)
            && !self.left.contains(&life)
            && !self.outcomes.contains_key(&life)
    }
}

#[derive(Default)]
struct Model {
    now: i64,
    lives: u64,
    agents: BTreeMap<&'static str, Life>,
    records: Vec<Record>,
    powers: u64,
}

/// Above the numbers of commands for groups.
const FIRST_POWER: u64 = 1000;

fn number(index: usize) -> u64 {
    index as u64 + 1
}

type Told = Vec<(CommandId, CommandState)>;

/// What was told of single agents, and of commands as wholes.
fn split(changes: &[Change]) -> (Told, Told) {
    let (mut of_agents, mut of_groups) = (Vec::new(), Vec::new());
    for change in changes {
        match &change.news {
            wakemq_protocol::News::Agent(update) => of_agents.push((update.id, update.outcome.state)),
            wakemq_protocol::News::Group(update) => of_groups.push((update.id, update.state)),
        }
    }
    of_agents.sort_by_key(|(id, _)| *id);
    of_groups.sort_by_key(|(id, _)| *id);
    (of_agents, of_groups)
}

impl Model {
    async fn create(&mut self, bench: &Bench, name: &'static str, path: &str) {
        let secret = self.lives as u8 + 1;
        let expected = if self.agents.contains_key(name) { AdminOutcome::Exists } else { AdminOutcome::Done };
        assert_eq!(bench.admin(create(name, path, secret), self.now).await, expected);
        if expected == AdminOutcome::Done {
            self.lives += 1;
            let (number, group, carried) = (self.lives, group(path), BTreeSet::new());
            self.agents.insert(name, Life { number, group, epoch: None, carried, power: None });
        }
    }

    async fn move_to(&mut self, bench: &Bench, name: &'static str, path: &str) {
        let outcome = bench.admin(move_to(name, path), self.now).await;
        let Some(life) = self.agents.get_mut(name) else {
            assert_eq!(outcome, AdminOutcome::Unknown);
            return;
        };
        let to = group(path);
        let mut expected = Vec::new();
        for (index, record) in self.records.iter_mut().enumerate() {
            if record.target.contains(&to) {
                continue;
            }
            if record.is_open(life.number) {
                let is_carried = life.carried.contains(&index);
                let state = if is_carried { CommandState::Sent } else { CommandState::Cancelled };
                expected.push((id(number(index)), state));
                if is_carried {
                    record.requested.insert(life.number);
                } else {
                    record.outcomes.insert(life.number, CommandState::Cancelled);
                }
            }
            record.left.insert(life.number);
        }
        life.group = to;
        let AdminOutcome::Moved { changes, .. } = outcome else { panic!("not moved: {outcome:?}") };
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(split(&changes), (expected, Vec::new()));
    }

    async fn revoke(&mut self, bench: &Bench, name: &'static str) {
        let op = AdminOp::RevokeAgent { agent: agent(name), scope: GroupPath::root() };
        let outcome = bench.admin(op, self.now).await;
        let Some(life) = self.agents.remove(name) else {
            assert_eq!(outcome, AdminOutcome::Unknown);
            return;
        };
        let mut expected = Vec::new();
        for (index, record) in self.records.iter_mut().enumerate() {
            if record.is_open(life.number) || record.requested.remove(&life.number) {
                record.outcomes.insert(life.number, CommandState::Cancelled);
                expected.push((id(number(index)), CommandState::Cancelled));
            }
            record.left.insert(life.number);
        }
        expected.extend(life.power.map(|number| (id(number), CommandState::Cancelled)));
        let AdminOutcome::Revoked { changes } = outcome else { panic!("not revoked: {outcome:?}") };
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(split(&changes), (expected, Vec::new()));
    }

    async fn submit(&mut self, bench: &Bench, path: &str, slot: Option<u8>, ttl: i64) {
        let index = self.records.len();
        let (target, expires) = (group(path), self.now + ttl);
        let named = slot.map(|slot| format!("s{slot}"));
        let submission = submission(named.as_deref(), wakemq_protocol::Priority::Normal);
        let command = NewCommand { submission, expires: at(expires), ..to_group(number(index), path) };
        let submitted = bench.submit(command, self.now).await;
        if bench.groups(path).await.is_empty() {
            assert_eq!(submitted, Submitted::Unknown);
            return;
        }
        let Submitted::Accepted { news, changes, .. } = submitted else {
            panic!("not accepted: {submitted:?}")
        };
        let mut expected = Vec::new();
        for (index, older) in self.records.iter_mut().enumerate() {
            if older.target != target || older.state != CommandState::Queued {
                continue;
            }
            if older.expires <= self.now {
                older.state = CommandState::Expired;
            } else if slot.is_some() && older.slot == slot && older.expires <= expires {
                older.state = CommandState::Superseded;
            } else {
                continue;
            }
            expected.push((id(number(index)), older.state));
        }
        assert_eq!(split(&changes), (Vec::new(), expected));
        let inside = self.agents.values().filter(|life| target.contains(&life.group));
        let meant: BTreeSet<_> = inside.map(|life| life.number).collect();
        assert_eq!(group_update(&news).counts.queued, meant.len() as u64);
        self.records.push(Record {
            target,
            slot,
            expires,
            state: CommandState::Queued,
            meant,
            left: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            requested: BTreeSet::new(),
        });
    }

    async fn take(&mut self, bench: &Bench, name: &'static str, max: usize) {
        let Some(life) = self.agents.get_mut(name) else { return };
        let Some(epoch) = life.epoch else { return };
        let on_their_way: Vec<_> =
            life.carried.iter().filter_map(|&index| self.records[index].slot).collect();
        let mut newest = HashMap::new();
        let mut open: Vec<_> = self.records.iter().enumerate().collect();
        open.retain(|(index, record)| {
            record.is_open(life.number) && record.expires > self.now && !life.carried.contains(index)
        });
        for (index, record) in &open {
            newest.insert(record.slot, *index);
        }
        open.retain(|(index, record)| {
            record.slot.is_none_or(|slot| !on_their_way.contains(&slot) && newest[&Some(slot)] == *index)
        });
        let expected: Vec<_> = open.into_iter().map(|(index, _)| index).take(max).collect();
        let page = bench.store.inbox(&agent(name), epoch, max, at(self.now)).await.unwrap();
        assert!(!page.stale);
        let given: Vec<_> = page.commands.iter().map(|command| command.id).collect();
        assert_eq!(given, expected.iter().map(|&index| id(number(index))).collect::<Vec<_>>());
        life.carried.extend(expected);
    }

    /// What is told when an agent lets commands go, after which they are queued again, or what was due.
    fn let_go_of(&mut self, life: u64, carried: &BTreeSet<usize>) -> Told {
        let mut told = Vec::new();
        for &index in carried {
            let record = &mut self.records[index];
            let state = match record.requested.remove(&life) {
                true => {
                    record.outcomes.insert(life, CommandState::Cancelled);
                    CommandState::Cancelled
                }
                false => record.state,
            };
            told.push((id(number(index)), state));
        }
        told.sort_by_key(|(id, _)| *id);
        told
    }

    /// Decides a command for an agent that has got it; returns what is told.
    fn arrived(&mut self, name: &str, which: usize, state: CommandState) -> Told {
        let life = self.agents.get_mut(name).unwrap();
        life.carried.remove(&which);
        let mut told = vec![(id(number(which)), state)];
        self.records[which].outcomes.insert(life.number, state);
        self.records[which].requested.remove(&life.number);
        let slot = self.records[which].slot;
        for index in 0..which {
            let older = &mut self.records[index];
            if slot.is_some()
                && older.slot == slot
                && older.is_open(life.number)
                && !life.carried.contains(&index)
            {
                older.outcomes.insert(life.number, CommandState::Superseded);
                told.push((id(number(index)), CommandState::Superseded));
            }
        }
        told.sort_by_key(|(id, _)| *id);
        told
    }

    async fn acknowledge(&mut self, bench: &Bench, name: &'static str, which: usize) {
        let Some(life) = self.agents.get(name) else { return };
        let Some(epoch) = life.epoch else { return };
        let counts = life.carried.contains(&which);
        let transition = Transition::Acknowledged { agent: agent(name), id: id(number(which)), epoch };
        let recorded = bench.record(transition, self.now).await;
        let expected =
            if counts { self.arrived(name, which, CommandState::Acknowledged) } else { Vec::new() };
        assert_eq!(split(&recorded.changes), (expected, Vec::new()));
    }

    async fn done(&mut self, bench: &Bench, name: &'static str, which: usize) {
        let receipt = receipt(number(which), ReceiptState::Done);
        let recorded = bench.record(Transition::Receipt { agent: agent(name), receipt }, self.now).await;
        let (Some(life), Some(record)) = (self.agents.get(name), self.records.get_mut(which)) else {
            assert_eq!(recorded.verdict, Verdict::Unknown);
            return;
        };
        let (number, is_carried) = (life.number, life.carried.contains(&which));
        match record.outcomes.get(&number).copied() {
            Some(CommandState::Acknowledged) => {
                record.outcomes.insert(number, CommandState::Done);
                assert_eq!(recorded.verdict, Verdict::Applied);
            }
            Some(CommandState::Done) => assert_eq!(recorded.verdict, Verdict::Applied),
            Some(_) => assert_eq!(recorded.verdict, Verdict::Late),
            None if is_carried || record.is_open(number) => {
                let expected = self.arrived(name, which, CommandState::Done);
                assert_eq!(split(&recorded.changes), (expected, Vec::new()));
            }
            None if record.meant.contains(&number) && !record.left.contains(&number) => {
                record.outcomes.insert(number, record.state);
                assert_eq!(recorded.verdict, Verdict::Late);
            }
            None => assert_eq!(recorded.verdict, Verdict::Unknown),
        }
    }
}

impl Walker for Model {
    type Act = Act;

    async fn begin(bench: &Bench) -> Self {
        for name in ["a", "b"] {
            bench.admin(AdminOp::RevokeAgent { agent: agent(name), scope: GroupPath::root() }, 0).await;
        }
        Self::default()
    }

    async fn step(&mut self, bench: &Bench, act: &Act) {
        match *act {
            Act::Create(who, path) => self.create(bench, NAMES[who], GROUPS[path]).await,
            Act::Move(who, path) => self.move_to(bench, NAMES[who], GROUPS[path]).await,
            Act::Revoke(who) => self.revoke(bench, NAMES[who]).await,
            Act::Submit { path, slot, ttl } => self.submit(bench, GROUPS[path], slot, ttl).await,
            Act::SubmitPower(who, slot) => {
                let Some(life) = self.agents.get_mut(NAMES[who]).filter(|life| life.power.is_none()) else {
                    return;
                };
                let number = FIRST_POWER + self.powers;
                let (target, expires) = (Target::Agent(agent(NAMES[who])), at(1_000_000));
                let command = NewCommand { target, expires, ..power(number, &format!("s{slot}")) };
                assert!(bench.accept(command, self.now).await.is_empty());
                life.power = Some(number);
                self.powers += 1;
            }
            Act::CarryPower(who) => {
                let Some(life) = self.agents.get(NAMES[who]) else { return };
                let epoch = bench.claim_power(NAMES[who], self.now).await;
                let expected: Vec<_> = life.power.map(id).into_iter().collect();
                assert_eq!(bench.inbox_of(NAMES[who], epoch, self.now).await, expected);
            }
            Act::Claim(who) => {
                let Some(life) = self.agents.get(NAMES[who]) else { return };
                let expected = self.let_go_of(life.number, &life.carried.clone());
                let claim =
                    bench.store.claim(&agent(NAMES[who]), Lane::Agent, "node", at(self.now)).await.unwrap();
                assert_eq!(split(&claim.changes), (expected, Vec::new()));
                let life = self.agents.get_mut(NAMES[who]).unwrap();
                life.carried.clear();
                life.epoch = Some(claim.epoch);
            }
            Act::Take(who, max) => self.take(bench, NAMES[who], max).await,
            Act::Acknowledge(who, which) => self.acknowledge(bench, NAMES[who], which).await,
            Act::Done(who, which) => self.done(bench, NAMES[who], which).await,
            Act::Cancel(which) => {
                let Some(record) = self.records.get_mut(which) else { return };
                let is_live = record.state == CommandState::Queued;
                let recorded = bench.cancel(number(which), self.now).await;
                assert_eq!(recorded.verdict == Verdict::Applied, is_live);
                if is_live {
                    record.state = CommandState::Cancelled;
                }
            }
            Act::Release(who) => {
                let Some(life) = self.agents.get_mut(NAMES[who]) else { return };
                let Some(epoch) = life.epoch.take() else { return };
                let (number, carried) = (life.number, std::mem::take(&mut life.carried));
                let expected = self.let_go_of(number, &carried);
                let release = Transition::Release { agent: agent(NAMES[who]), epoch };
                let recorded = bench.record(release, self.now).await;
                assert_eq!(split(&recorded.changes), (expected, Vec::new()));
            }
            Act::Sweep => {
                let mut expected = Vec::new();
                for (index, record) in self.records.iter_mut().enumerate() {
                    if record.state == CommandState::Queued && record.expires <= self.now {
                        record.state = CommandState::Expired;
                        expected.push((id(number(index)), CommandState::Expired));
                    }
                }
                let swept = bench.sweep(1000, self.now).await;
                assert_eq!(split(&swept.changes), (Vec::new(), expected));
            }
            Act::Wait(secs) => self.now += secs,
        }
    }

    async fn check(&self, bench: &Bench) {
        for (index, record) in self.records.iter().enumerate() {
            let mut expected = Counts::default();
            for life in &record.meant {
                let is_carried =
                    self.agents.values().any(|agent| agent.number == *life && agent.carried.contains(&index));
                let state = match record.outcomes.get(life) {
                    Some(state) => *state,
                    None if is_carried => CommandState::Sent,
                    None => record.state,
                };
                *expected.of(state) += 1;
            }
            let (update, _) = bench.of_group(number(index)).await;
            assert_eq!((update.state, update.counts), (record.state, expected), "command {}", number(index));
        }
        for number in self.agents.values().filter_map(|life| life.power) {
            assert_eq!(bench.state(number).await, CommandState::Queued, "power command {number}");
        }
        for (path, agents) in bench.groups("").await {
            let inside = self.agents.values().filter(|life| group(&path).contains(&life.group)).count();
            assert_eq!(agents, inside as u64, "in {path}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_in_memory(acts in proptest::collection::vec(act(), 1..100)) {
        walk::<Model>(&acts, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_on_disk(acts in proptest::collection::vec(act(), 1..80)) {
        walk::<Model>(&acts, true);
    }
}
