//! A slot holds one command in flight and one queued.

use wakemq_protocol::{CommandState, Priority, ReceiptState};

use super::fixture::*;
use crate::store::{Lane, NewCommand, Target};

super::for_each_backend!(
    the_newer_supersedes_the_older_and_inherits,
    slots_of_two_agents_are_two,
    what_is_on_its_way_stays_and_the_newer_waits,
    what_is_let_go_gives_way_to_the_newer,
    an_older_one_comes_back_if_the_newer_ended,
    the_newest_of_those_that_wait_wins,
    a_result_frees_the_slot,
);

async fn the_newer_supersedes_the_older_and_inherits(bench: &Bench) {
    let older = NewCommand { submission: submission(Some("s"), Priority::High), expires: at(9000), ..new(1) };
    bench.accept(older, 0).await;
    bench.accept(new(2), 0).await;
    let changes = bench.accept(in_slot(3, "s"), 1).await;
    assert_eq!(told(&changes), [(id(1), CommandState::Superseded)]);
    assert_eq!(changes[0].by, "op:test");
    assert_eq!(update(&changes[0].news).outcome.superseded_by, Some(id(3)));
    let heir = bench.row(3).await.unwrap();
    assert_eq!((heir.submission.priority, heir.expires), (Priority::High, at(9000)));
    let epoch = bench.claim(2).await;
    assert_eq!(bench.inbox(epoch, 2).await, [id(3), id(2)], "with the priority comes the place");
    assert_eq!(bench.pending().await, 2);
}

async fn slots_of_two_agents_are_two(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    assert!(
        bench.accept(NewCommand { target: Target::Agent(agent("b")), ..in_slot(2, "s") }, 0).await.is_empty()
    );
}

async fn what_is_on_its_way_stays_and_the_newer_waits(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    assert_eq!(bench.inbox(epoch, 0).await, [id(1)]);
    assert!(bench.accept(in_slot(2, "s"), 1).await.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Sent);
    assert!(bench.inbox(epoch, 1).await.is_empty());
    bench.acknowledge(1, epoch, 2).await;
    assert_eq!(bench.inbox(epoch, 2).await, [id(2)]);
    assert_eq!(bench.state(1).await, CommandState::Acknowledged);
}

async fn what_is_let_go_gives_way_to_the_newer(bench: &Bench) {
    let older = NewCommand { submission: submission(Some("s"), Priority::High), expires: at(9000), ..new(1) };
    bench.accept(older, 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(in_slot(2, "s"), 1).await;
    let released = bench.release(epoch, 2).await;
    assert_eq!(told(&released.changes), [(id(1), CommandState::Superseded)]);
    assert_eq!(update(&released.changes[0].news).outcome.superseded_by, Some(id(2)));
    let heir = bench.row(2).await.unwrap();
    assert_eq!((heir.submission.priority, heir.expires), (Priority::High, at(9000)));
    let epoch = bench.claim(3).await;
    assert_eq!(bench.inbox(epoch, 3).await, [id(2)]);
}

async fn an_older_one_comes_back_if_the_newer_ended(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(in_slot(2, "s"), 1).await;
    bench.cancel(2, 2).await;
    assert_eq!(told(&bench.release(epoch, 3).await.changes), [(id(1), CommandState::Queued)]);
    let epoch = bench.claim(4).await;
    assert_eq!(bench.inbox(epoch, 4).await, [id(1)]);
}

async fn the_newest_of_those_that_wait_wins(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(in_slot(2, "s"), 1).await;
    assert_eq!(told(&bench.accept(in_slot(3, "s"), 2).await), [(id(2), CommandState::Superseded)]);
    let claim = bench.store.claim(&agent("a"), Lane::Agent, "node", at(3)).await.unwrap();
    assert_eq!(told(&claim.changes), [(id(1), CommandState::Superseded)]);
    assert_eq!(update(&claim.changes[0].news).outcome.superseded_by, Some(id(3)));
    assert_eq!(bench.inbox(claim.epoch, 3).await, [id(3)]);
}

async fn a_result_frees_the_slot(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(in_slot(2, "s"), 1).await;
    bench.receive(1, ReceiptState::Done, 2).await;
    assert_eq!(bench.inbox(epoch, 2).await, [id(2)]);
    assert_eq!(told(&bench.release(epoch, 3).await.changes), [(id(2), CommandState::Queued)]);
}
