//! Receipts, cancelling, expiring, forgetting.

use wakemq_protocol::{CommandState, GroupPath, ReceiptState};

use super::fixture::*;
use crate::store::{AdminOp, AdminOutcome, Delivery, NewCommand, Transition, Verdict};

super::for_each_backend!(
    a_receipt_implies_the_acknowledgement,
    progress_changes_nothing,
    a_terminal_state_stays_and_what_comes_later_is_kept,
    a_receipt_of_another_agent_is_unknown,
    what_was_for_a_former_agent_of_the_id_is_unknown,
    what_is_not_carried_is_cancelled_at_once,
    what_is_carried_is_cancelled_when_let_go,
    an_acknowledgement_beats_the_cancelling,
    cancelling_needs_the_right,
    a_packet_too_large_fails,
    the_sweep_ends_what_expired,
    the_sweep_spares_what_is_carried,
    the_sweep_forgets_a_day_later,
    several_steps_in_one_call,
);

const DAY: i64 = 86_400;

async fn a_receipt_implies_the_acknowledgement(bench: &Bench) {
    let states = [
        (ReceiptState::Done, CommandState::Done),
        (ReceiptState::Failed, CommandState::Failed),
        (ReceiptState::Refused, CommandState::Refused),
    ];
    let epoch = bench.claim(0).await;
    for (number, (said, state)) in (1..).zip(states) {
        bench.accept(new(number), 0).await;
        if number == 1 {
            bench.inbox(epoch, 0).await;
        }
        let recorded = bench.receive(number, said, 1).await;
        assert_eq!(
            (recorded.verdict, told(&recorded.changes)),
            (Verdict::Applied, vec![(id(number), state)])
        );
        assert_eq!(bench.outcome(number).await.detail.as_deref(), Some("said so"));
        assert_eq!(bench.acknowledge(number, epoch, 2).await, Verdict::Late);
    }
    assert_eq!(bench.pending().await, 0);
    assert!(bench.release(epoch, 3).await.changes.is_empty());
}

async fn progress_changes_nothing(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let recorded = bench.receive(1, ReceiptState::Progress, 1).await;
    assert_eq!((recorded.verdict, recorded.changes.len()), (Verdict::Applied, 0));
    assert_eq!(bench.state(1).await, CommandState::Queued);
    assert_eq!(bench.receive(2, ReceiptState::Progress, 1).await.verdict, Verdict::Unknown);
}

async fn a_terminal_state_stays_and_what_comes_later_is_kept(bench: &Bench) {
    bench.accept(new(1), 0).await;
    bench.cancel(1, 1).await;
    let recorded = bench.receive(1, ReceiptState::Done, 2).await;
    assert_eq!(recorded.verdict, Verdict::Late);
    assert_eq!(update(&recorded.changes[0].news).outcome.late, Some(receipt(1, ReceiptState::Done)));
    let outcome = bench.outcome(1).await;
    assert_eq!((outcome.state, outcome.at), (CommandState::Cancelled, at(1)));
    assert_eq!(outcome.late, Some(receipt(1, ReceiptState::Done)));
    let again = bench.receive(1, ReceiptState::Done, 3).await;
    assert_eq!((again.verdict, again.changes.len()), (Verdict::Late, 0));

    bench.accept(new(2), 0).await;
    bench.receive(2, ReceiptState::Done, 1).await;
    let again = bench.receive(2, ReceiptState::Done, 2).await;
    assert_eq!((again.verdict, again.changes.len()), (Verdict::Applied, 0));
    assert_eq!(bench.receive(2, ReceiptState::Failed, 3).await.verdict, Verdict::Late);
    assert_eq!(bench.state(2).await, CommandState::Done);
}

async fn a_receipt_of_another_agent_is_unknown(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let receipt = receipt(1, ReceiptState::Done);
    let recorded = bench.record(Transition::Receipt { agent: agent("b"), receipt }, 1).await;
    assert_eq!(recorded.verdict, Verdict::Unknown);
    assert_eq!(bench.state(1).await, CommandState::Queued);
}

async fn what_was_for_a_former_agent_of_the_id_is_unknown(bench: &Bench) {
    for number in 1..=2 {
        bench.accept(new(number), 0).await;
    }
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    assert_eq!(bench.acknowledge(1, epoch, 1).await, Verdict::Applied);
    let revoke = AdminOp::RevokeAgent { agent: agent("a"), scope: GroupPath::root() };
    let AdminOutcome::Revoked { changes } = bench.admin(revoke, 2).await else { panic!("not revoked") };
    assert_eq!(told(&changes), [(id(2), CommandState::Cancelled)]);
    assert_eq!(bench.receive(1, ReceiptState::Done, 3).await.verdict, Verdict::Unknown, "nobody has the id");

    assert_eq!(bench.admin(create("a", "g/h", 3), 4).await, AdminOutcome::Done);
    let epoch = bench.claim(4).await;
    for (number, state) in [(1, CommandState::Acknowledged), (2, CommandState::Cancelled)] {
        let (agent, id, detail) = (agent("a"), id(number), "too large".to_owned());
        assert_eq!(bench.acknowledge(number, epoch, 5).await, Verdict::Unknown);
        let failed = bench.record(Transition::Failed { agent, id, epoch, detail }, 5).await;
        assert_eq!(failed.verdict, Verdict::Unknown);
        let received = bench.receive(number, ReceiptState::Done, 5).await;
        assert_eq!((received.verdict, received.changes.len()), (Verdict::Unknown, 0));
        let outcome = bench.outcome(number).await;
        assert_eq!((outcome.state, outcome.late), (state, None), "it stays what it was for the former one");
    }
    bench.accept(new(3), 6).await;
    assert_eq!(bench.inbox(epoch, 6).await, [id(3)]);
    bench.admin(move_to("a", "x"), 7).await;
    assert_eq!(bench.acknowledge(3, epoch, 8).await, Verdict::Applied);
    bench.admin(move_to("a", "g"), 9).await;
    assert_eq!(
        bench.receive(3, ReceiptState::Done, 10).await.verdict,
        Verdict::Applied,
        "moves change nothing"
    );
}

async fn what_is_not_carried_is_cancelled_at_once(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let recorded = bench.cancel(1, 1).await;
    assert_eq!(recorded.verdict, Verdict::Applied);
    assert_eq!(told(&recorded.changes), [(id(1), CommandState::Cancelled)]);
    assert_eq!(bench.cancel(1, 2).await.verdict, Verdict::Late);
    let epoch = bench.claim(3).await;
    assert!(bench.inbox(epoch, 3).await.is_empty());
}

async fn what_is_carried_is_cancelled_when_let_go(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    assert_eq!(bench.cancel(1, 1).await.verdict, Verdict::Requested);
    let again = bench.cancel(1, 1).await;
    assert_eq!((again.verdict, again.changes.len()), (Verdict::Requested, 0));
    let outcome = bench.outcome(1).await;
    assert_eq!((outcome.state, outcome.cancel_requested), (CommandState::Sent, true));
    assert_eq!(told(&bench.release(epoch, 2).await.changes), [(id(1), CommandState::Cancelled)]);
    let outcome = bench.outcome(1).await;
    assert_eq!((outcome.state, outcome.cancel_requested), (CommandState::Cancelled, false));
}

async fn an_acknowledgement_beats_the_cancelling(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.cancel(1, 1).await;
    assert_eq!(bench.acknowledge(1, epoch, 2).await, Verdict::Applied);
    assert_eq!(bench.cancel(1, 3).await.verdict, Verdict::Late);
    assert!(bench.release(epoch, 4).await.changes.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Acknowledged);
}

async fn cancelling_needs_the_right(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let foreign = Transition::Cancel { id: id(1), scope: group("g/other"), actor: actor() };
    assert_eq!(bench.record(foreign, 1).await.verdict, Verdict::Unknown);
    let unknown = cancel(2);
    assert_eq!(bench.record(unknown, 1).await.verdict, Verdict::Unknown);
    assert_eq!(bench.state(1).await, CommandState::Queued);
}

async fn a_packet_too_large_fails(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(in_slot(2, "s"), 0).await;
    let failed = Transition::Failed { agent: agent("a"), id: id(1), epoch, detail: "too large".into() };
    let recorded = bench.record(failed, 1).await;
    assert_eq!(told(&recorded.changes), [(id(1), CommandState::Failed)]);
    assert_eq!(bench.outcome(1).await.detail.as_deref(), Some("too large"));
    assert_eq!(bench.inbox(epoch, 1).await, [id(2)]);
}

async fn the_sweep_ends_what_expired(bench: &Bench) {
    for number in 1..=5 {
        bench.accept(NewCommand { expires: at(number as i64 * 10), ..new(number) }, 0).await;
    }
    let nothing = bench.sweep(10, 9).await;
    assert_eq!((nothing.verdict, nothing.changes.len()), (Verdict::Applied, 0));
    let first = bench.sweep(2, 30).await;
    assert_eq!(first.verdict, Verdict::More);
    assert_eq!(told(&first.changes), [(id(1), CommandState::Expired), (id(2), CommandState::Expired)]);
    let second = bench.sweep(2, 30).await;
    assert_eq!(
        (second.verdict, told(&second.changes)),
        (Verdict::Applied, vec![(id(3), CommandState::Expired)])
    );
    assert_eq!(bench.pending().await, 2);
}

async fn the_sweep_spares_what_is_carried(bench: &Bench) {
    bench.accept(NewCommand { expires: at(10), ..new(1) }, 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    bench.accept(NewCommand { expires: at(11), ..new(2) }, 0).await;
    let swept = bench.sweep(1, 2 * DAY).await;
    assert_eq!(
        (swept.verdict, told(&swept.changes)),
        (Verdict::Applied, vec![(id(2), CommandState::Expired)])
    );
    assert_eq!(bench.state(1).await, CommandState::Sent);
    assert_eq!(told(&bench.release(epoch, 2 * DAY).await.changes), [(id(1), CommandState::Expired)]);
}

async fn the_sweep_forgets_a_day_later(bench: &Bench) {
    let epoch = bench.claim(0).await;
    bench.accept(NewCommand { expires: at(100), ..new(1) }, 0).await;
    bench.receive(1, ReceiptState::Done, 1).await;
    bench.accept(NewCommand { expires: at(100), ..new(2) }, 0).await;
    bench.inbox(epoch, 0).await;
    bench.acknowledge(2, epoch, 1).await;
    bench
        .accept(NewCommand { delivery: Delivery::Refused("no".into()), expires: at(101), ..new(3) }, 0)
        .await;
    assert_eq!(bench.sweep(10, 100 + DAY - 1).await.verdict, Verdict::Applied);
    assert!(bench.is_known(1).await);
    assert_eq!(bench.sweep(1, 100 + DAY).await.verdict, Verdict::More);
    assert_eq!(bench.sweep(1, 100 + DAY).await.verdict, Verdict::Applied);
    assert!(!bench.is_known(1).await);
    assert!(!bench.is_known(2).await, "nobody will say any more what became of it");
    assert!(bench.is_known(3).await);
    bench.accept(new(1), 100 + DAY).await;
}

async fn several_steps_in_one_call(bench: &Bench) {
    bench.accept(new(1), 0).await;
    bench.accept(new(2), 0).await;
    let epoch = bench.claim(0).await;
    bench.inbox(epoch, 0).await;
    let steps = vec![
        Transition::Acknowledged { agent: agent("a"), id: id(1), epoch },
        Transition::Receipt { agent: agent("a"), receipt: receipt(1, ReceiptState::Done) },
        Transition::Release { agent: agent("a"), epoch },
        Transition::Acknowledged { agent: agent("a"), id: id(2), epoch },
    ];
    let recorded = bench.store.record(steps, at(1)).await.unwrap();
    let verdicts: Vec<_> = recorded.iter().map(|recorded| recorded.verdict).collect();
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied, Verdict::Applied, Verdict::Stale]);
    assert_eq!(told(&recorded[2].changes), [(id(2), CommandState::Queued)]);
}
