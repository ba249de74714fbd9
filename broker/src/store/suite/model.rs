//! Random steps, and what must hold after each of them.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use wakemq_protocol::limits::PENDING_MAX;
use wakemq_protocol::{CommandState, GroupPath, Kind, Outcome, Priority, ReceiptState, Submission, Update};

use super::fixture::*;
use super::walk::{Walker, walk};
use crate::store::{
    AdminOp, AdminOutcome, Change, Delivery, Epoch, Lane, NewCommand, Query, Rows, Submitted, Transition,
    Verdict,
};

/// What somebody does; numbers name commands, in the order of their submission.
#[derive(Debug, Clone)]
enum Act {
    Submit { slot: Option<u8>, priority: u8, ttl: i64 },
    SubmitLive,
    SubmitPower { slot: Option<u8>, ttl: i64 },
    Repeat(u64),
    Claim,
    ClaimPower,
    Inbox(usize),
    TakePower(usize),
    PowerSent(u64),
    Step(u64),
    EndPower(u64, bool),
    Acknowledge(u64),
    AcknowledgeStale(u64),
    Fail(u64),
    Receive(u64, u8),
    Cancel(u64),
    LetGo(u64),
    Release,
    ReleasePower,
    Recreate,
    Sweep(usize),
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..40u64;
    prop_oneof![
        8 => (proptest::option::of(0..3u8), 0..3u8, 1..200i64)
            .prop_map(|(slot, priority, ttl)| Act::Submit { slot, priority, ttl }),
        1 => Just(Act::SubmitLive),
        3 => (proptest::option::of(0..3u8), 1..200i64).prop_map(|(slot, ttl)| Act::SubmitPower { slot, ttl }),
        1 => which.clone().prop_map(Act::Repeat),
        2 => Just(Act::Claim),
        2 => Just(Act::ClaimPower),
        3 => (1..4usize).prop_map(Act::TakePower),
        1 => which.clone().prop_map(Act::PowerSent),
        1 => which.clone().prop_map(Act::Step),
        2 => (which.clone(), any::<bool>()).prop_map(|(number, is_up)| Act::EndPower(number, is_up)),
        5 => (0..4usize).prop_map(Act::Inbox),
        4 => which.clone().prop_map(Act::Acknowledge),
        1 => which.clone().prop_map(Act::AcknowledgeStale),
        1 => which.clone().prop_map(Act::Fail),
        2 => (which.clone(), 0..4u8).prop_map(|(number, state)| Act::Receive(number, state)),
        2 => which.clone().prop_map(Act::Cancel),
        2 => which.prop_map(Act::LetGo),
        1 => Just(Act::Release),
        1 => Just(Act::ReleasePower),
        1 => Just(Act::Recreate),
        1 => (1..4usize).prop_map(Act::Sweep),
        2 => (1..80i64).prop_map(Act::Wait),
    ]
}

/// What the model knows: the commands that were accepted and what was last told of each.
#[derive(Default)]
struct Model {
    now: i64,
    submitted: Vec<(NewCommand, Outcome)>,
    epoch: Option<Epoch>,
    stale: Option<Epoch>,
    carried: HashSet<u64>,
    power_epoch: Option<Epoch>,
    /// What the engine carries.
    power_carried: HashSet<u64>,
    /// That of it whose packets are out.
    power_sent: HashSet<u64>,
    /// The last command for a former agent of the id.
    former: u64,
}

impl Model {
    fn number(&self, index: u64) -> Option<u64> {
        let len = self.submitted.len() as u64;
        (len > 0).then(|| index % len + 1)
    }

    fn told(&mut self, changes: &[Change]) {
        let submitted = &self.submitted;
        let place = |of| {
            let (NewCommand { submission, .. }, _) =
                submitted.iter().find(|(known, _)| known.id == of).expect("it was submitted");
            (Lane::of(&submission.kind), submission.effective_slot())
        };
        for Update { id, outcome, .. } in changes.iter().map(|change| update(&change.news)) {
            if let Some(newer) = outcome.superseded_by {
                assert_eq!(place(*id), place(newer), "{id} was superseded by one of another lane or slot");
            }
        }
        for change in changes {
            let at =
                self.submitted.iter().position(|(command, _)| command.id == update(&change.news).id).unwrap();
            let (_, told) = &mut self.submitted[at];
            let new = &update(&change.news).outcome;
            let number = at as u64 + 1;
            if told.state.is_terminal() {
                assert_eq!(told.state, new.state, "{number} ended twice");
                assert!(new.late.is_some(), "{number} was told again without need");
            }
            if told.state == CommandState::Acknowledged {
                let ends = [CommandState::Done, CommandState::Failed, CommandState::Refused];
                assert!(ends.contains(&new.state), "{number} was acknowledged and became {}", new.state);
            }
            let early = [CommandState::Superseded, CommandState::Expired, CommandState::Cancelled];
            let is_carried = self.carried.contains(&number) || self.power_carried.contains(&number);
            assert!(!(early.contains(&new.state) && is_carried), "{number} is on its way");
            *told = new.clone();
            if !matches!(new.state, CommandState::Sent) {
                self.carried.remove(&number);
            }
            if new.state.is_terminal() {
                self.power_carried.remove(&number);
                self.power_sent.remove(&number);
            }
        }
    }

    /// What the store tells of a command, given what it last told of it unasked.
    fn seen(&self, number: u64, told: &Outcome) -> CommandState {
        let is_sent = self.carried.contains(&number) || self.power_sent.contains(&number);
        if is_sent { CommandState::Sent } else { told.state }
    }

    fn is_power(&self, number: u64) -> bool {
        Lane::of(&self.submitted[number as usize - 1].0.submission.kind) == Lane::Power
    }

    /// Nobody carries anything any more for the engine.
    fn let_power_go(&mut self) {
        self.power_carried.clear();
        self.power_sent.clear();
    }

    async fn submit(&mut self, bench: &Bench, shape: impl FnOnce(NewCommand) -> NewCommand, ttl: i64) {
        let number = self.submitted.len() as u64 + 1;
        let command = shape(NewCommand { expires: at(self.now + ttl), ..new(number) });
        let (outcome, changes) = accepted(bench.submit(command.clone(), self.now).await);
        if outcome.state == CommandState::Sent {
            self.carried.insert(number);
        }
        self.submitted.push((command, outcome));
        self.told(&changes);
    }

    async fn take(&mut self, bench: &Bench, lane: Lane, max: usize) {
        let epoch = if lane == Lane::Power { self.power_epoch } else { self.epoch };
        let Some(epoch) = epoch else { return };
        let page = bench.store.inbox(&agent("a"), epoch, max, at(self.now)).await.unwrap();
        assert!(!page.stale && page.commands.len() <= max);
        let ranks: Vec<_> = page.commands.iter().map(|command| std::cmp::Reverse(command.priority)).collect();
        assert!(ranks.is_sorted(), "not in order of priority");
        for command in page.commands {
            let number =
                1 + self.submitted.iter().position(|(known, _)| known.id == command.id).unwrap() as u64;
            assert_eq!(
                self.submitted[number as usize - 1].1.state,
                CommandState::Queued,
                "{number} is not queued"
            );
            assert_eq!(Lane::of(&command.kind), lane, "{number} was given to whom it is not for");
            let carried = if lane == Lane::Power { &mut self.power_carried } else { &mut self.carried };
            assert!(carried.insert(number), "{number} was given twice");
            assert!(command.ttl > 0, "{number} had expired");
        }
    }

    /// Says something of a command as the engine does.
    async fn of_power(
        &mut self,
        bench: &Bench,
        index: u64,
        said: impl FnOnce(u64, Epoch) -> Transition,
        counts: impl FnOnce(&mut Self, u64),
    ) {
        let (Some(number), Some(epoch)) = (self.number(index), self.power_epoch) else { return };
        let was = self.submitted[number as usize - 1].1.state;
        let recorded = bench.record(said(number, epoch), self.now).await;
        let expected = if !self.is_power(number) || number <= self.former {
            Verdict::Unknown
        } else if self.power_carried.contains(&number) {
            counts(self, number);
            Verdict::Applied
        } else if was.is_terminal() {
            Verdict::Late
        } else {
            Verdict::Stale
        };
        // An end that is said again is as good as the first.
        let is_repetition = recorded.verdict == Verdict::Applied && recorded.changes.is_empty();
        assert!(recorded.verdict == expected || is_repetition && expected == Verdict::Late);
        self.told(&recorded.changes);
    }

    async fn acknowledge(&mut self, bench: &Bench, index: u64, epoch: Option<Epoch>) {
        let (Some(number), Some(epoch)) = (self.number(index), epoch) else { return };
        let counts = self.epoch == Some(epoch) && self.carried.contains(&number);
        let transition = Transition::Acknowledged { agent: agent("a"), id: id(number), epoch };
        let recorded = bench.record(transition, self.now).await;
        assert_eq!(recorded.verdict == Verdict::Unknown, number <= self.former);
        assert_eq!(
            told(&recorded.changes).first() == Some(&(id(number), CommandState::Acknowledged)),
            counts
        );
        self.told(&recorded.changes);
    }
}

impl Walker for Model {
    type Act = Act;

    async fn begin(_: &Bench) -> Self {
        Self::default()
    }

    async fn step(&mut self, bench: &Bench, act: &Act) {
        match *act {
            Act::Submit { slot, priority, ttl } => {
                let slot = slot.map(|slot| format!("s{slot}"));
                let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                let submission = submission(slot.as_deref(), priority);
                self.submit(bench, |command| NewCommand { submission, ..command }, ttl).await;
            }
            Act::SubmitLive => {
                let delivery =
                    Delivery::Live(self.epoch.map(|epoch| (agent("a"), epoch)).into_iter().collect());
                self.submit(bench, |command| NewCommand { delivery, ..command }, 0).await;
            }
            Act::SubmitPower { slot, ttl } => {
                let slot = slot.map(|slot| format!("s{slot}"));
                let submission =
                    Submission { kind: Kind::Power, ..submission(slot.as_deref(), Priority::Normal) };
                self.submit(bench, |command| NewCommand { submission, ..command }, ttl).await;
            }
            Act::Repeat(index) => {
                let Some(number) = self.number(index) else { return };
                let (command, told) = self.submitted[number as usize - 1].clone();
                let Submitted::Duplicate(news) = bench.submit(command, self.now).await else {
                    panic!("no repetition")
                };
                assert_eq!(update(&news).outcome.state, self.seen(number, &told));
            }
            Act::Claim => {
                // What the former one carried is let go before the store tells of it.
                self.carried.clear();
                let claim = bench.store.claim(&agent("a"), Lane::Agent, "node", at(self.now)).await.unwrap();
                self.stale = self.epoch.replace(claim.epoch);
                self.told(&claim.changes);
            }
            Act::ClaimPower => {
                self.let_power_go();
                let claim = bench.store.claim(&agent("a"), Lane::Power, "node", at(self.now)).await.unwrap();
                self.power_epoch = Some(claim.epoch);
                self.told(&claim.changes);
            }
            Act::Inbox(max) => self.take(bench, Lane::Agent, max).await,
            Act::TakePower(max) => self.take(bench, Lane::Power, max).await,
            Act::PowerSent(index) => {
                let sent = |number, epoch| Transition::PowerSent { agent: agent("a"), id: id(number), epoch };
                self.of_power(bench, index, sent, |model, number| {
                    model.power_sent.insert(number);
                })
                .await;
            }
            Act::Step(index) => {
                let secs = self.now;
                self.of_power(bench, index, |number, epoch| step(number, epoch, secs), |_, _| {}).await;
            }
            Act::EndPower(index, is_up) => {
                let (agent, detail) = (agent("a"), "so it is".to_owned());
                let ended = |number, epoch| Transition::Ended { agent, id: id(number), epoch, is_up, detail };
                self.of_power(bench, index, ended, |_, _| {}).await;
            }
            Act::Acknowledge(index) => self.acknowledge(bench, index, self.epoch).await,
            Act::AcknowledgeStale(index) => self.acknowledge(bench, index, self.stale).await,
            Act::Fail(index) => {
                let (Some(number), Some(epoch)) = (self.number(index), self.epoch) else { return };
                let carried = self.carried.contains(&number);
                let transition = Transition::Failed {
                    agent: agent("a"),
                    id: id(number),
                    epoch,
                    detail: "too large".into(),
                };
                let recorded = bench.record(transition, self.now).await;
                assert_eq!(recorded.verdict == Verdict::Applied, carried);
                assert_eq!(recorded.verdict == Verdict::Unknown, number <= self.former);
                self.told(&recorded.changes);
            }
            Act::Receive(index, state) => {
                let Some(number) = self.number(index) else { return };
                let states =
                    [ReceiptState::Progress, ReceiptState::Done, ReceiptState::Failed, ReceiptState::Refused];
                let recorded = bench.receive(number, states[usize::from(state)], self.now).await;
                let is_unknown = number <= self.former || self.is_power(number);
                assert_eq!(recorded.verdict == Verdict::Unknown, is_unknown);
                assert!(!is_unknown || recorded.changes.is_empty());
                self.told(&recorded.changes);
            }
            Act::Cancel(index) => {
                let Some(number) = self.number(index) else { return };
                let carried = self.carried.contains(&number) || self.power_carried.contains(&number);
                let recorded = bench.cancel(number, self.now).await;
                assert_eq!(recorded.verdict == Verdict::Requested, carried);
                self.told(&recorded.changes);
            }
            Act::LetGo(number) => {
                let Some(epoch) = self.epoch else { return };
                let carried = self.carried.remove(&number);
                let recorded = bench.let_go(number, epoch, self.now).await;
                assert_eq!(recorded.verdict == Verdict::Applied, carried);
                self.told(&recorded.changes);
            }
            Act::Release => {
                let Some(epoch) = self.epoch.take() else { return };
                self.stale = Some(epoch);
                self.carried.clear();
                let recorded = bench.release(epoch, self.now).await;
                self.told(&recorded.changes);
            }
            Act::ReleasePower => {
                let Some(epoch) = self.power_epoch.take() else { return };
                self.let_power_go();
                let recorded = bench.release(epoch, self.now).await;
                self.told(&recorded.changes);
            }
            Act::Recreate => {
                self.stale = self.epoch.take().or(self.stale);
                self.carried.clear();
                self.power_epoch = None;
                self.let_power_go();
                self.former = self.submitted.len() as u64;
                let revoke = AdminOp::RevokeAgent { agent: agent("a"), scope: GroupPath::root() };
                let revoked = bench.admin(revoke, self.now).await;
                let AdminOutcome::Revoked { changes } = revoked else { panic!("not revoked: {revoked:?}") };
                self.told(&changes);
                assert_eq!(bench.admin(create("a", "g/h", 1), self.now).await, AdminOutcome::Done);
            }
            Act::Sweep(max) => {
                let recorded = bench.sweep(max, self.now).await;
                assert!(recorded.changes.len() <= max);
                self.told(&recorded.changes);
            }
            Act::Wait(secs) => self.now += secs,
        }
    }

    async fn check(&self, bench: &Bench) {
        let mut pending = 0;
        let mut pending_power = Vec::new();
        let mut queued_of_slot: HashMap<_, u64> = HashMap::new();
        let mut carried_of_slot: HashMap<_, u64> = HashMap::new();
        for (number, (command, told)) in (1..).zip(&self.submitted) {
            let outcome = bench.outcome(number).await;
            let is_pending = matches!(outcome.state, CommandState::Queued | CommandState::Sent);
            assert_eq!(outcome.state, self.seen(number, told), "{number} is not what was told");
            assert_eq!(outcome.superseded_by.is_some(), outcome.state == CommandState::Superseded);
            pending += u32::from(is_pending);
            if is_pending && self.is_power(number) {
                pending_power.push(id(number));
            }
            if let (true, Some(slot), Delivery::Inbox) =
                (is_pending, command.submission.effective_slot(), &command.delivery)
            {
                let is_carried = self.carried.contains(&number) || self.power_carried.contains(&number);
                let counts = if is_carried { &mut carried_of_slot } else { &mut queued_of_slot };
                *counts.entry((self.is_power(number), slot)).or_default() += 1;
            }
        }
        let found = bench.store.read(Query::Power { after: None, max: 1000 }).await.unwrap();
        let commands = pending_power.into_iter().map(|id| (agent("a"), id)).collect();
        assert_eq!(found, Rows::Power { commands, next: None });
        assert_eq!(bench.pending().await, pending);
        assert!(pending as usize <= PENDING_MAX);
        assert!(queued_of_slot.values().all(|&count| count == 1), "two wait in a slot: {queued_of_slot:?}");
        assert!(carried_of_slot.values().all(|&count| count == 1), "two of a slot are on their way");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_in_memory(acts in proptest::collection::vec(act(), 1..80)) {
        walk::<Model>(&acts, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_on_disk(acts in proptest::collection::vec(act(), 1..80)) {
        walk::<Model>(&acts, true);
    }
}
