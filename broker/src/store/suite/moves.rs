//! Agents that change their group, or go, while commands wait for them.

use wakemq_protocol::{CommandState, Counts, GroupPath, ReceiptState};

use super::fixture::*;
use crate::store::{
    AdminOp, AdminOutcome, Change, NewCommand, Principal, Submitted, Target, Transition, Verdict,
};

super::for_each_backend!(
    an_agent_takes_its_identity_along,
    what_it_leaves_ends_for_it,
    what_is_on_its_way_ends_with_the_connection,
    what_is_on_its_way_may_still_arrive,
    its_own_commands_go_where_their_publisher_may_command,
    coming_back_is_joining_anew,
    a_revoked_agent_ends_its_share,
);

async fn moved(bench: &Bench, path: &str, secs: i64) -> Vec<Change> {
    let found = bench.admin(move_to("a", path), secs).await;
    let AdminOutcome::Moved { changes, .. } = found else { panic!("not moved: {found:?}") };
    changes
}

async fn an_agent_takes_its_identity_along(bench: &Bench) {
    let foreign = AdminOp::MoveAgent { agent: agent("a"), to: group("g/i"), scope: group("x") };
    assert_eq!(bench.admin(foreign, 0).await, AdminOutcome::Unknown);
    assert_eq!(bench.admin(move_to("x", "g"), 0).await, AdminOutcome::Unknown);
    let same = AdminOutcome::Moved { from: group("g/h"), changes: Vec::new() };
    assert_eq!(bench.admin(move_to("A", "g/h"), 0).await, same);
    assert_eq!(bench.admin(move_to("A", "n/m"), 1).await, same);
    let principal = Principal::Agent { agent: agent("a"), group: group("n/m") };
    assert_eq!(bench.store.authenticate(&secret(1)).await.unwrap(), Some(principal));
    assert_eq!(bench.groups("n").await, [("n".into(), 1), ("n/m".into(), 1)]);
}

async fn what_it_leaves_ends_for_it(bench: &Bench) {
    for (number, path) in [(1, ""), (2, "g"), (3, "g/h")] {
        bench.accept_for_group(to_group(number, path), 0).await;
    }
    let changes = moved(bench, "g/i", 1).await;
    assert_eq!(told(&changes), [(id(3), CommandState::Cancelled)]);
    assert_eq!(bench.counts(3).await, Counts { queued: 1, cancelled: 1, ..Counts::default() });
    bench.accept_for_group(to_group(4, "g/i"), 2).await;
    let epoch = bench.claim(3).await;
    assert_eq!(bench.inbox(epoch, 3).await, [1, 2, 4].map(id));
    bench.acknowledge(1, epoch, 4).await;
    bench.release(epoch, 4).await;
    let changes = moved(bench, "", 5).await;
    assert_eq!(told(&changes), [(id(2), CommandState::Cancelled), (id(4), CommandState::Cancelled)]);
    assert_eq!(bench.counts(1).await, Counts { queued: 1, acknowledged: 1, ..Counts::default() });
    assert_eq!(bench.pending().await, 0);
}

async fn what_is_on_its_way_ends_with_the_connection(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g/h"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    let changes = moved(bench, "x", 1).await;
    assert_eq!(told(&changes), [(id(1), CommandState::Sent)]);
    assert!(update(&changes[0].news).outcome.cancel_requested);
    assert_eq!(bench.counts(1).await, Counts { queued: 1, sent: 1, ..Counts::default() });
    let (_, outcomes) = bench.of_group(1).await;
    assert_eq!((outcomes[0].state, outcomes[0].cancel_requested), (CommandState::Sent, true));
    assert!(bench.sweep(10, 2).await.changes.is_empty(), "it is carried");
    assert_eq!(told(&bench.release(epoch, 3).await.changes), [(id(1), CommandState::Cancelled)]);
    assert_eq!(bench.counts(1).await, Counts { queued: 1, cancelled: 1, ..Counts::default() });
    assert!(bench.sweep(10, 4).await.changes.is_empty());
}

async fn what_is_on_its_way_may_still_arrive(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g/h"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    moved(bench, "x", 1).await;
    assert_eq!(bench.acknowledge(1, epoch, 2).await, Verdict::Applied);
    assert!(bench.release(epoch, 3).await.changes.is_empty());
    assert_eq!(bench.receive(1, ReceiptState::Done, 4).await.verdict, Verdict::Applied);
    assert_eq!(bench.counts(1).await, Counts { queued: 1, done: 1, ..Counts::default() });
}

async fn its_own_commands_go_where_their_publisher_may_command(bench: &Bench) {
    let narrow = |number| NewCommand { scope: group("g"), ..new(number) };
    bench.accept(narrow(1), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(narrow(2), 0).await;
    bench.accept(new(3), 0).await;
    assert!(moved(bench, "g/i", 1).await.is_empty());
    assert_eq!(bench.row(2).await.unwrap().group, group("g/i"));
    let changes = moved(bench, "x", 2).await;
    assert_eq!(told(&changes), [(id(1), CommandState::Sent), (id(2), CommandState::Cancelled)]);
    assert_eq!(bench.row(3).await.unwrap().group, group("x"));
    let cancel = Transition::Cancel { id: id(3), scope: group("g"), actor: actor() };
    assert_eq!(bench.record(cancel, 3).await.verdict, Verdict::Unknown, "it has left that scope");
    assert_eq!(told(&bench.release(epoch, 4).await.changes), [(id(1), CommandState::Cancelled)]);
}

async fn coming_back_is_joining_anew(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g/h"), 0).await;
    bench.accept_for_group(to_group(2, "g"), 0).await;
    moved(bench, "x", 1).await;
    moved(bench, "g/h", 2).await;
    assert!(bench.inbox(bench.claim(3).await, 3).await.is_empty());
    bench.accept_for_group(to_group(3, "g"), 4).await;
    assert_eq!(bench.inbox(bench.claim(5).await, 5).await, [id(3)]);
}

async fn a_revoked_agent_ends_its_share(bench: &Bench) {
    bench.accept_for_group(to_group(1, "g"), 0).await;
    bench.accept_for_group(to_group(2, "g/h"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept_for_group(to_group(4, ""), 0).await;
    bench.receive(4, ReceiptState::Done, 0).await;
    moved(bench, "g/i", 1).await;
    let op = AdminOp::RevokeAgent { agent: agent("a"), scope: GroupPath::root() };
    let AdminOutcome::Revoked { changes } = bench.admin(op, 2).await else { panic!("not revoked") };
    assert_eq!(told(&changes), [(id(1), CommandState::Cancelled), (id(2), CommandState::Cancelled)]);
    for number in [1, 2] {
        assert_eq!(bench.counts(number).await, Counts { queued: 1, cancelled: 1, ..Counts::default() });
    }
    assert_eq!(bench.receive(1, ReceiptState::Done, 3).await.verdict, Verdict::Unknown);
    let gone = NewCommand { target: Target::Agent(agent("a")), ..new(3) };
    assert_eq!(bench.submit(gone, 3).await, Submitted::Unknown);
    bench.admin(create("a", "g/h", 1), 4).await;
    assert!(bench.inbox(bench.claim(5).await, 5).await.is_empty(), "who has the id now joined later");
    let verdict = bench.receive(4, ReceiptState::Failed, 6).await.verdict;
    assert_eq!(verdict, Verdict::Unknown, "and says nothing of what the former one did");
}
