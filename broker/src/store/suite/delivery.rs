//! The inbox and its claims.

use wakemq_protocol::{CommandState, Priority};

use super::fixture::*;
use crate::store::{Epoch, Lane, NewCommand, Transition, Verdict};

super::for_each_backend!(
    priority_then_acceptance,
    what_is_carried_is_not_given_twice,
    the_time_to_live_is_what_remains,
    a_newer_claim_takes_over,
    a_stale_epoch_changes_nothing,
    an_acknowledgement_counts_under_its_epoch,
    what_was_let_go_is_given_again_in_order,
    one_that_was_let_go_is_given_again_and_the_others_are_carried_on,
    one_that_is_let_go_has_the_end_that_is_due,
    what_has_expired_is_not_given,
    a_page_tells_whether_anything_is_left,
);

async fn priority_then_acceptance(bench: &Bench) {
    let priorities = [Priority::Low, Priority::High, Priority::Normal, Priority::High, Priority::Low];
    for (number, priority) in (1..).zip(priorities) {
        bench.accept(NewCommand { submission: submission(None, priority), ..new(number) }, 0).await;
    }
    let epoch = bench.claim(1).await;
    let page = bench.store.inbox(&agent("a"), epoch, 3, at(1)).await.unwrap();
    let ids: Vec<_> = page.commands.iter().map(|command| command.id).collect();
    assert_eq!(ids, [id(2), id(4), id(3)]);
    assert!(page.more, "two are left");
    assert_eq!(bench.inbox(epoch, 1).await, [id(1), id(5)]);
}

async fn what_is_carried_is_not_given_twice(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(1)]);
    assert!(bench.inbox(epoch, 1).await.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Sent);
}

async fn the_time_to_live_is_what_remains(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    let page = bench.store.inbox(&agent("a"), epoch, 1, at(600)).await.unwrap();
    let [command] = &page.commands[..] else { panic!("not one command") };
    assert_eq!((command.ttl, command.issued, &*command.by), (3000, at(0), "op:test"));
    assert_eq!(command.slot.as_ref().map(|slot| slot.as_str()), Some("s"));
}

async fn a_newer_claim_takes_over(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let old = bench.claim(1).await;
    bench.inbox(old, 1).await;
    let claim = bench.store.claim(&agent("A"), Lane::Agent, "node", at(2)).await.unwrap();
    assert!(claim.epoch > old);
    assert_eq!(told(&claim.changes), [(id(1), CommandState::Queued)]);
    assert!(bench.store.inbox(&agent("a"), old, 16, at(2)).await.unwrap().stale);
    assert_eq!(bench.inbox(claim.epoch, 2).await, [id(1)]);
}

async fn a_stale_epoch_changes_nothing(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let old = bench.claim(1).await;
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 1).await;
    assert_eq!(bench.release(old, 2).await.verdict, Verdict::Stale);
    assert_eq!(bench.state(1).await, CommandState::Sent);
    assert_eq!(bench.acknowledge(1, old, 2).await, Verdict::Stale);
    assert_eq!(bench.acknowledge(1, Epoch(99), 2).await, Verdict::Stale);
    let failed = Transition::Failed { agent: agent("a"), id: id(1), epoch: old, detail: "too large".into() };
    assert_eq!(bench.record(failed, 2).await.verdict, Verdict::Stale);
    assert_eq!(bench.release(epoch, 3).await.verdict, Verdict::Applied);
    assert_eq!(bench.release(epoch, 3).await.verdict, Verdict::Stale, "it has ended");
    assert!(bench.store.inbox(&agent("a"), epoch, 16, at(3)).await.unwrap().stale);
}

async fn an_acknowledgement_counts_under_its_epoch(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let epoch = bench.claim(1).await;
    assert_eq!(bench.acknowledge(1, epoch, 1).await, Verdict::Stale, "it is not carried");
    bench.inbox(epoch, 1).await;
    let other = Transition::Acknowledged { agent: agent("b"), id: id(1), epoch };
    assert_eq!(bench.record(other, 2).await.verdict, Verdict::Unknown);
    assert_eq!(bench.acknowledge(2, epoch, 2).await, Verdict::Unknown);
    let acknowledged = Transition::Acknowledged { agent: agent("a"), id: id(1), epoch };
    let recorded = bench.record(acknowledged, 2).await;
    assert_eq!(recorded.verdict, Verdict::Applied);
    assert_eq!(told(&recorded.changes), [(id(1), CommandState::Acknowledged)]);
    assert_eq!(bench.pending().await, 0);
    assert!(bench.release(epoch, 3).await.changes.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Acknowledged);
}

async fn what_was_let_go_is_given_again_in_order(bench: &Bench) {
    for number in 1..=3 {
        bench.accept(new(number), 0).await;
    }
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 1).await;
    bench.acknowledge(2, epoch, 2).await;
    let changes = told(&bench.release(epoch, 3).await.changes);
    assert_eq!(changes, [(id(1), CommandState::Queued), (id(3), CommandState::Queued)]);
    let epoch = bench.claim(4).await;
    assert_eq!(bench.inbox(epoch, 4).await, [id(1), id(3)]);
}

async fn one_that_was_let_go_is_given_again_and_the_others_are_carried_on(bench: &Bench) {
    for number in 1..=2 {
        bench.accept(new(number), 0).await;
    }
    let former = bench.claim(1).await;
    let epoch = bench.claim(1).await;
    assert_eq!(bench.let_go(1, epoch, 1).await.verdict, Verdict::Stale, "it is not carried yet");
    bench.inbox(epoch, 1).await;
    assert_eq!(bench.let_go(1, former, 2).await.verdict, Verdict::Stale);
    assert_eq!(bench.let_go(3, epoch, 2).await.verdict, Verdict::Stale, "nobody knows it");
    let let_go = bench.let_go(1, epoch, 2).await;
    assert_eq!(
        (let_go.verdict, told(&let_go.changes)),
        (Verdict::Applied, vec![(id(1), CommandState::Queued)])
    );
    assert_eq!((bench.state(1).await, bench.state(2).await), (CommandState::Queued, CommandState::Sent));
    assert_eq!(bench.acknowledge(1, epoch, 3).await, Verdict::Stale, "it is not carried any more");
    assert_eq!(bench.inbox(epoch, 3).await, [id(1)]);
    assert_eq!(bench.acknowledge(1, epoch, 3).await, Verdict::Applied);
    assert_eq!(bench.acknowledge(2, epoch, 3).await, Verdict::Applied);
    // With others it goes through the writer.
    bench.accept(new(4), 4).await;
    bench.inbox(epoch, 4).await;
    let transitions = vec![
        Transition::LetGo { agent: agent("a"), id: id(4), epoch },
        Transition::LetGo { agent: agent("a"), id: id(4), epoch },
    ];
    let recorded = bench.store.record(transitions, at(5)).await.unwrap();
    let verdicts: Vec<_> = recorded.iter().map(|recorded| recorded.verdict).collect();
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Stale]);
}

async fn one_that_is_let_go_has_the_end_that_is_due(bench: &Bench) {
    bench.accept(NewCommand { expires: at(10), ..new(1) }, 0).await;
    bench.accept(in_slot(2, "s"), 0).await;
    bench.accept(new(3), 0).await;
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 1).await;
    bench.accept(in_slot(4, "s"), 2).await;
    bench.cancel(3, 2).await;
    assert_eq!(told(&bench.let_go(1, epoch, 10).await.changes), [(id(1), CommandState::Expired)]);
    assert_eq!(told(&bench.let_go(2, epoch, 10).await.changes), [(id(2), CommandState::Superseded)]);
    assert_eq!(told(&bench.let_go(3, epoch, 10).await.changes), [(id(3), CommandState::Cancelled)]);
    assert_eq!(bench.inbox(epoch, 10).await, [id(4)]);
}

async fn what_has_expired_is_not_given(bench: &Bench) {
    bench.accept(NewCommand { expires: at(10), ..new(1) }, 0).await;
    let epoch = bench.claim(1).await;
    assert!(bench.inbox(epoch, 10).await.is_empty());
}

async fn a_page_tells_whether_anything_is_left(bench: &Bench) {
    let epoch = bench.claim(0).await;
    let more = async |secs| bench.store.inbox(&agent("a"), epoch, 16, at(secs)).await.unwrap().more;
    assert!(!more(0).await, "it is empty");
    bench.accept(in_slot(1, "s"), 0).await;
    assert!(!more(1).await, "all of it is given");
    assert!(!more(1).await, "all of it is carried");
    bench.accept(NewCommand { expires: at(10), ..in_slot(2, "s") }, 2).await;
    assert!(more(2).await, "it waits for its slot");
    assert!(!more(10).await, "it has expired");
    bench.accept(new(3), 10).await;
    assert!(!more(10).await);
}
