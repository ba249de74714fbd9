//! What is handed out while it is being superseded, cancelled or acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wakemq_protocol::{CommandId, CommandState, News};

use super::fixture::*;
use crate::store::{Change, Epoch, Lane, Outcomes, Status, Store, Submitted, Transition};

super::for_each_backend_in_parallel!(nothing_that_is_handed_out_ends_before_it_is_let_go);

const SUBMITTERS: u64 = 4;
const EACH: u64 = 150;

/// What is on its way, as the connections see it.
#[derive(Default)]
struct Wire {
    carried: Mutex<HashMap<CommandId, Epoch>>,
    /// Commands for a group that ended while nobody carried them: nobody may get them any more.
    over: Mutex<HashSet<CommandId>>,
    done: AtomicBool,
}

/// So often at least a connection comes, if nothing was handed out until then.
const ROUNDS_AFTER: u32 = 1_000;

/// Ends that are never due while a command is carried.
fn ends_early(change: &Change) -> bool {
    use CommandState::{Cancelled, Expired, Superseded};
    match &change.news {
        News::Agent(update) => matches!(update.outcome.state, Superseded | Expired | Cancelled),
        News::Group(_) => false,
    }
}

/// Submitters use two slots and cancel at random, while connections come, take, acknowledge some, and go, and the
/// engine does the same with `power`. A command that somebody has got, and has neither acknowledged nor let go, must
/// not end.
async fn nothing_that_is_handed_out_ends_before_it_is_let_go(bench: &Bench) {
    let (wire, power_wire) = (Arc::new(Wire::default()), Arc::new(Wire::default()));
    let mut submitters = Vec::new();
    for submitter in 0..SUBMITTERS {
        let (store, wires) = (bench.store.clone(), [wire.clone(), power_wire.clone()]);
        submitters.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(submitter);
            for number in 0..EACH {
                let number = 1 + submitter * EACH + number;
                let slot = if random.bool() { "s" } else { "t" };
                let command = match random.u8(..4) {
                    0 => to_group_in_slot(number, "g", slot),
                    1 => power(number, slot),
                    _ => in_slot(number, slot),
                };
                let submitted = store.submit(vec![command], at(1)).await.unwrap().remove(0);
                let Submitted::Accepted { changes, .. } = submitted else { panic!("not accepted") };
                wires.iter().for_each(|wire| check(wire, &changes));
                if random.u8(..4) == 0 {
                    let cancel = cancel(number);
                    let recorded = store.record(vec![cancel], at(1)).await.unwrap().remove(0);
                    wires.iter().for_each(|wire| check(wire, &recorded.changes));
                }
            }
        }));
    }
    let agent_side = tokio::spawn(connections(bench.store.clone(), Lane::Agent, wire.clone()));
    let engine_side = tokio::spawn(connections(bench.store.clone(), Lane::Power, power_wire.clone()));
    for submitter in submitters {
        submitter.await.unwrap();
    }
    for (wire, side) in [(wire, agent_side), (power_wire, engine_side)] {
        wire.done.store(true, Ordering::SeqCst);
        assert!(side.await.unwrap() > 0, "nothing was handed out");
    }
    let mut unfinished = 0;
    for number in 1..=SUBMITTERS * EACH {
        let row = bench.row(number).await.expect("an accepted command is known");
        unfinished += u32::from(match row.status {
            Status::Agent(outcome) => outcome.state == CommandState::Queued,
            Status::Group { .. } => {
                let (update, outcomes) = bench.of_group(number).await;
                let is_decided = outcomes.iter().any(|outcome| outcome.agent == agent("a"));
                update.state == CommandState::Queued && !is_decided
            }
        });
    }
    assert_eq!(bench.pending().await, unfinished);
    // An own one, one for the group and one of the engine's in each slot.
    assert!(unfinished <= 6, "{unfinished} wait in two slots");
}

fn check(wire: &Wire, changes: &[Change]) {
    for change in changes {
        if let News::Group(update) = &change.news
            && update.counts.sent == 0
        {
            wire.over.lock().insert(update.id);
        }
    }
    for change in changes.iter().filter(|change| ends_early(change)) {
        let carried = wire.carried.lock();
        let id = update(&change.news).id;
        assert!(
            !carried.contains_key(&id),
            "{id} is on its way and ended: {:?}",
            update(&change.news).outcome
        );
    }
}

async fn connections(store: Arc<dyn Store>, lane: Lane, wire: Arc<Wire>) -> u32 {
    let mut random = fastrand::Rng::with_seed(99);
    let (mut arrived, mut rounds) = (0, 0);
    // On a busy machine the submitters may be done before anything was handed out: what they leave is handed out then.
    while !wire.done.load(Ordering::SeqCst) || (arrived == 0 && rounds < ROUNDS_AFTER) {
        rounds += 1;
        let epoch = store.claim(&agent("a"), lane, "node", at(1)).await.unwrap().epoch;
        for _ in 0..random.u8(1..20) {
            let page = store.inbox(&agent("a"), epoch, 2, at(1)).await.unwrap();
            assert!(!page.stale);
            for command in page.commands {
                // From here on it is on the wire: whoever is told of its end afterwards finds it here.
                wire.carried.lock().insert(command.id, epoch);
                let was_over = wire.over.lock().contains(&command.id);
                assert!(!was_over, "{} had ended before it was handed out", command.id);
                let row = store.command(command.id, Outcomes::default()).await.unwrap().unwrap();
                let state = match row.status {
                    Status::Agent(outcome) => outcome.state,
                    Status::Group { update, .. } => {
                        assert_eq!(update.counts.sent, 1, "nobody carries {update:?}");
                        CommandState::Sent
                    }
                };
                assert_eq!(Lane::of(&command.kind), lane);
                let given = if lane == Lane::Agent { CommandState::Sent } else { CommandState::Queued };
                assert_eq!(state, given, "{} was handed out", command.id);
                tokio::task::yield_now().await;
                if random.bool() {
                    let (agent, id) = (agent("a"), command.id);
                    let (transition, becomes) = match lane {
                        Lane::Agent => {
                            (Transition::Acknowledged { agent, id, epoch }, CommandState::Acknowledged)
                        }
                        Lane::Power => {
                            let (is_up, detail) = (true, "it is up".to_owned());
                            (Transition::Ended { agent, id, epoch, is_up, detail }, CommandState::Done)
                        }
                    };
                    let recorded = store.record(vec![transition], at(1)).await.unwrap().remove(0);
                    assert_eq!(told(&recorded.changes).first(), Some(&(id, becomes)));
                    check(&wire, &recorded.changes);
                    wire.carried.lock().remove(&command.id);
                    arrived += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        // Not on the wire any more, before the store hears of it.
        wire.carried.lock().clear();
        store.record(vec![Transition::Release { agent: agent("a"), epoch }], at(1)).await.unwrap();
    }
    arrived
}
