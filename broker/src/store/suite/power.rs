//! `power` commands: the engine carries them out, beside all that the agent's own connection carries.

use wakemq_protocol::limits::PENDING_MAX;
use wakemq_protocol::{CommandState, Kind, PowerStep, PowerWhat, ReceiptState};

use super::fixture::*;
use crate::store::{
    AdminOp, AdminOutcome, Change, Epoch, NewCommand, Query, Rows, Submitted, Target, Transition, Verdict,
};

super::for_each_backend!(
    the_agent_never_gets_one_and_has_no_say,
    the_agents_connection_releases_nothing_of_it,
    one_is_queued_until_its_packets_are_out,
    a_step_is_kept_and_told_once,
    the_engine_ends_it_by_a_verdict,
    what_ends_it_otherwise_is_a_verdict_too,
    a_stale_epoch_decides_nothing,
    what_is_carried_is_decided_when_it_is_let_go,
    a_newer_one_waits_behind_it,
    the_slots_of_the_lanes_are_two,
    they_count_among_the_hundred,
    the_pending_ones_are_found_in_order_of_acceptance,
    revoking_ends_it_and_moving_asks_for_its_end,
);

async fn claim(bench: &Bench, secs: i64) -> Epoch {
    bench.claim_power("a", secs).await
}

/// A command of the engine's that it carries.
async fn carried(bench: &Bench, number: u64) -> Epoch {
    bench.accept(power(number, "power"), 0).await;
    let epoch = claim(bench, 1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(number)]);
    epoch
}

fn sent(number: u64, epoch: Epoch) -> Transition {
    Transition::PowerSent { agent: agent("a"), id: id(number), epoch }
}

fn ended(number: u64, epoch: Epoch, is_up: bool) -> Transition {
    Transition::Ended { agent: agent("a"), id: id(number), epoch, is_up, detail: "so it is".into() }
}

fn verdict(state: CommandState, detail: Option<&str>, secs: i64) -> PowerStep {
    PowerStep { at: at(secs), what: PowerWhat::Verdict { state, detail: detail.map(str::to_owned) } }
}

/// The step that a change tells.
fn step_of(change: &Change) -> Option<&PowerStep> {
    update(&change.news).evidence.as_deref()
}

async fn evidence(bench: &Bench, number: u64) -> Vec<PowerStep> {
    bench.row(number).await.expect("the command is known").evidence
}

async fn the_agent_never_gets_one_and_has_no_say(bench: &Bench) {
    let own = bench.claim(0).await;
    let epoch = carried(bench, 1).await;
    bench.accept(power(2, "other"), 0).await;
    bench.accept(new(3), 0).await;
    assert_eq!(bench.inbox(own, 1).await, [id(3)]);
    assert_eq!(bench.inbox(epoch, 1).await, [id(2)], "and the engine gets nothing else");
    for number in 1..=2 {
        assert_eq!(bench.acknowledge(number, own, 1).await, Verdict::Stale);
        assert_eq!(bench.acknowledge(number, epoch, 1).await, Verdict::Stale);
        for said in [ReceiptState::Progress, ReceiptState::Done] {
            let received = bench.receive(number, said, 1).await;
            assert_eq!((received.verdict, received.changes.len()), (Verdict::Unknown, 0));
        }
        let detail = "too large".to_owned();
        let failed = Transition::Failed { agent: agent("a"), id: id(number), epoch: own, detail };
        assert_eq!(bench.record(failed, 1).await.verdict, Verdict::Stale);
        assert_eq!(bench.state(number).await, CommandState::Queued);
    }
}

async fn the_agents_connection_releases_nothing_of_it(bench: &Bench) {
    let own = bench.claim(0).await;
    let epoch = carried(bench, 1).await;
    bench.record(sent(1, epoch), 2).await;
    bench.accept(new(2), 2).await;
    bench.inbox(own, 2).await;
    let claim = bench.claim_again(3).await;
    assert_eq!(told(&claim.changes), [(id(2), CommandState::Queued)]);
    assert!(bench.release(claim.epoch, 4).await.changes.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Sent);
    assert_eq!(bench.record(ended(1, epoch, true), 5).await.verdict, Verdict::Applied);

    bench.accept(power(3, "power"), 6).await;
    assert_eq!(bench.inbox(epoch, 6).await, [id(3)]);
    let own = bench.claim(6).await;
    assert_eq!(bench.inbox(own, 6).await, [id(2)]);
    assert!(bench.release(epoch, 7).await.changes.is_empty(), "it has been queued all the time");
    assert_eq!(bench.state(2).await, CommandState::Sent, "nor does the engine release the agent's");
}

async fn one_is_queued_until_its_packets_are_out(bench: &Bench) {
    let epoch = carried(bench, 1).await;
    assert_eq!(bench.state(1).await, CommandState::Queued);
    assert!(bench.inbox(epoch, 1).await.is_empty(), "it is given once");
    let Submitted::Duplicate(news) = bench.submit(power(1, "power"), 1).await else {
        panic!("no repetition")
    };
    assert_eq!(news.state(), CommandState::Queued);

    let recorded = bench.record(sent(1, epoch), 2).await;
    assert_eq!(
        (recorded.verdict, told(&recorded.changes)),
        (Verdict::Applied, vec![(id(1), CommandState::Sent)])
    );
    let again = bench.record(sent(1, epoch), 3).await;
    assert_eq!((again.verdict, again.changes.len()), (Verdict::Applied, 0));
    let outcome = bench.outcome(1).await;
    assert_eq!((outcome.state, outcome.at), (CommandState::Sent, at(2)));
    let Submitted::Duplicate(news) = bench.submit(power(1, "power"), 3).await else {
        panic!("no repetition")
    };
    assert_eq!(news.state(), CommandState::Sent);

    assert_eq!(told(&bench.release(epoch, 4).await.changes), [(id(1), CommandState::Queued)]);
    let epoch = claim(bench, 5).await;
    assert_eq!(bench.inbox(epoch, 5).await, [id(1)]);
    assert_eq!(bench.state(1).await, CommandState::Queued);
}

async fn a_step_is_kept_and_told_once(bench: &Bench) {
    let epoch = carried(bench, 1).await;
    let recorded = bench.record(step(1, epoch, 2), 2).await;
    let [told] = &recorded.changes[..] else { panic!("told as {:?}", recorded.changes) };
    assert_eq!(
        (recorded.verdict, update(&told.news).outcome.state),
        (Verdict::Applied, CommandState::Queued)
    );
    assert_eq!((step_of(told), &*told.by), (Some(&no_relay(2)), "op:test"));
    let both = vec![sent(1, epoch), step(1, epoch, 3)];
    let recorded = bench.store.record(both, at(3)).await.unwrap();
    assert_eq!(update(&recorded[1].changes[0].news).outcome.state, CommandState::Sent);

    let again = bench.record(step(1, epoch, 3), 4).await;
    assert_eq!((again.verdict, again.changes.len()), (Verdict::Applied, 0));
    assert_eq!(evidence(bench, 1).await, [no_relay(2), no_relay(3)]);
    bench.release(epoch, 5).await;
    assert_eq!(evidence(bench, 1).await, [no_relay(2), no_relay(3)], "it stays for who carries it next");
    for secs in 0..100 {
        let epoch = claim(bench, 6).await;
        bench.inbox(epoch, 6).await;
        bench.record(step(1, epoch, 10 + secs), 6).await;
    }
    assert!(evidence(bench, 1).await.len() < 64, "and does not grow without end");
}

async fn the_engine_ends_it_by_a_verdict(bench: &Bench) {
    for (number, is_up, state) in [(1, true, CommandState::Done), (2, false, CommandState::Failed)] {
        let epoch = carried(bench, number).await;
        bench.record(step(number, epoch, 2), 2).await;
        let mine = Transition::Evidence {
            agent: agent("a"),
            id: id(number),
            epoch,
            step: verdict(state, Some("so it is"), 2),
        };
        let recorded = bench.record(mine, 2).await;
        assert_eq!(
            (recorded.verdict, recorded.changes.len()),
            (Verdict::Applied, 0),
            "it comes with the end"
        );
        let recorded = bench.record(ended(number, epoch, is_up), 3).await;
        assert_eq!(
            (recorded.verdict, told(&recorded.changes)),
            (Verdict::Applied, vec![(id(number), state)])
        );
        let verdict = verdict(state, Some("so it is"), 3);
        assert_eq!(step_of(&recorded.changes[0]), Some(&verdict));
        let outcome = bench.outcome(number).await;
        assert_eq!((outcome.state, outcome.detail.as_deref()), (state, Some("so it is")));
        assert_eq!(evidence(bench, number).await, [no_relay(2), verdict]);

        let again = bench.record(ended(number, epoch, is_up), 4).await;
        assert_eq!((again.verdict, again.changes.len()), (Verdict::Applied, 0));
        assert_eq!(bench.record(ended(number, epoch, !is_up), 4).await.verdict, Verdict::Late);
        assert_eq!(bench.record(step(number, epoch, 4), 4).await.verdict, Verdict::Late);
        assert_eq!(bench.record(sent(number, epoch), 4).await.verdict, Verdict::Late);
        assert_eq!(bench.receive(number, ReceiptState::Done, 4).await.verdict, Verdict::Unknown);
        assert!(bench.release(epoch, 4).await.changes.is_empty());
    }
    assert_eq!(bench.pending().await, 0);
}

async fn what_ends_it_otherwise_is_a_verdict_too(bench: &Bench) {
    bench.accept(power(1, "power"), 0).await;
    let cancelled = bench.cancel(1, 1).await.changes;
    assert_eq!(told(&cancelled), [(id(1), CommandState::Cancelled)]);
    bench.accept(power(2, "power"), 2).await;
    let superseded = bench.accept(NewCommand { expires: at(3600), ..power(3, "power") }, 3).await;
    assert_eq!(told(&superseded), [(id(2), CommandState::Superseded)]);
    let expired = bench.sweep(10, 3600).await.changes;
    assert_eq!(told(&expired), [(id(3), CommandState::Expired)]);
    for (number, changes, secs) in [(1, cancelled, 1), (2, superseded, 3), (3, expired, 3600)] {
        let expected = verdict(bench.state(number).await, None, secs);
        assert_eq!(step_of(&changes[0]), Some(&expected));
        assert_eq!(evidence(bench, number).await, [expected]);
    }
    bench.accept(new(4), 4).await;
    assert_eq!(step_of(&bench.cancel(4, 5).await.changes[0]), None, "of another kind there is none");
}

async fn a_stale_epoch_decides_nothing(bench: &Bench) {
    let old = carried(bench, 1).await;
    let epoch = claim(bench, 2).await;
    let own = bench.claim(2).await;
    for stale in [old, epoch, own, Epoch(99)] {
        for transition in [sent(1, stale), step(1, stale, 2), ended(1, stale, true)] {
            let recorded = bench.record(transition.clone(), 2).await;
            assert_eq!(recorded.verdict, Verdict::Stale, "{transition:?} while {epoch:?} carries nothing");
            assert!(recorded.changes.is_empty());
        }
    }
    assert!(bench.store.inbox(&agent("a"), old, 16, at(2)).await.unwrap().stale);
    assert_eq!(bench.inbox(epoch, 2).await, [id(1)]);
    assert_eq!(bench.record(ended(1, old, true), 2).await.verdict, Verdict::Stale);
    assert_eq!(bench.release(old, 2).await.verdict, Verdict::Stale);
    bench.accept(new(2), 2).await;
    bench.inbox(own, 2).await;
    for number in [2, 3] {
        assert_eq!(
            bench.record(ended(number, own, true), 2).await.verdict,
            Verdict::Unknown,
            "it is no power"
        );
    }
    assert_eq!(bench.record(ended(1, epoch, true), 3).await.verdict, Verdict::Applied);
}

async fn what_is_carried_is_decided_when_it_is_let_go(bench: &Bench) {
    bench.accept(NewCommand { expires: at(10), ..power(1, "one") }, 0).await;
    bench.accept(power(2, "two"), 0).await;
    let epoch = claim(bench, 1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(1), id(2)]);
    let requested = bench.cancel(2, 2).await;
    assert_eq!(requested.verdict, Verdict::Requested);
    let outcome = &update(&requested.changes[0].news).outcome;
    assert_eq!((outcome.state, outcome.cancel_requested), (CommandState::Queued, true));
    assert!(bench.sweep(10, 20).await.changes.is_empty());
    let expected = [(id(1), CommandState::Expired), (id(2), CommandState::Cancelled)];
    let released = bench.release(epoch, 20).await;
    assert_eq!(told(&released.changes), expected);
    assert!(released.changes.iter().all(|change| step_of(change).is_some()));
}

async fn a_newer_one_waits_behind_it(bench: &Bench) {
    let epoch = carried(bench, 1).await;
    assert!(bench.accept(power(2, "power"), 1).await.is_empty());
    assert!(bench.inbox(epoch, 1).await.is_empty());
    assert_eq!(told(&bench.record(ended(1, epoch, false), 2).await.changes), [(id(1), CommandState::Failed)]);
    assert_eq!(bench.inbox(epoch, 2).await, [id(2)]);
    bench.accept(power(3, "power"), 3).await;
    let released = bench.release(epoch, 4).await;
    assert_eq!(told(&released.changes), [(id(2), CommandState::Superseded)]);
    assert_eq!(update(&released.changes[0].news).outcome.superseded_by, Some(id(3)));
}

async fn the_slots_of_the_lanes_are_two(bench: &Bench) {
    bench.accept(power(1, "s"), 0).await;
    assert!(bench.accept(in_slot(2, "s"), 0).await.is_empty());
    assert!(bench.accept_for_group(to_group_in_slot(3, "g", "s"), 0).await.is_empty());
    let (own, epoch) = (bench.claim(1).await, claim(bench, 1).await);
    assert_eq!(bench.inbox(epoch, 1).await, [id(1)]);
    assert_eq!(bench.inbox(own, 1).await, [id(3)], "what the engine carries does not hold it up");
    assert!(bench.accept(power(4, "s"), 2).await.is_empty());
    let transition = Transition::Acknowledged { agent: agent("a"), id: id(3), epoch: own };
    let arrived = bench.record(transition, 2).await.changes;
    assert_eq!(told(&arrived), [(id(3), CommandState::Acknowledged), (id(2), CommandState::Superseded)]);
    bench.accept(in_slot(5, "s"), 3).await;
    let ended = bench.record(ended(1, epoch, true), 3).await.changes;
    assert_eq!(told(&ended), [(id(1), CommandState::Done)]);
    assert_eq!((bench.inbox(own, 3).await, bench.inbox(epoch, 3).await), (vec![id(5)], vec![id(4)]));
}

async fn they_count_among_the_hundred(bench: &Bench) {
    for number in 1..=PENDING_MAX as u64 {
        let slot = format!("s{number}");
        bench.accept(if number % 2 == 0 { power(number, &slot) } else { in_slot(number, &slot) }, 0).await;
    }
    assert_eq!(bench.pending().await, 100);
    assert_eq!(bench.submit(power(200, "one-more"), 1).await, Submitted::Full);
    assert_eq!(bench.submit(new(200), 1).await, Submitted::Full);
    assert_eq!(bench.accept(power(200, "s2"), 1).await.len(), 1);
}

async fn pending(bench: &Bench, after: Option<u64>, max: usize) -> (Vec<(String, u64)>, Option<u64>) {
    let found = bench.store.read(Query::Power { after, max }).await.unwrap();
    let Rows::Power { commands, next } = found else { panic!("not what was asked: {found:?}") };
    let number = |id_of| (1..100).find(|&number| id(number) == id_of).unwrap();
    (commands.into_iter().map(|(agent, id)| (agent.to_string(), number(id))).collect(), next)
}

async fn the_pending_ones_are_found_in_order_of_acceptance(bench: &Bench) {
    assert_eq!(pending(bench, None, 10).await, (Vec::new(), None));
    for (number, of) in [(9, "b"), (1, "a"), (5, "B"), (7, "a")] {
        let target = Target::Agent(agent(of));
        let slot = format!("s{number}");
        bench.accept(NewCommand { target, ..power(number, &slot) }, 0).await;
    }
    bench.accept(new(20), 0).await;
    let all = [("b", 9), ("a", 1), ("b", 5), ("a", 7)].map(|(of, number)| (of.to_owned(), number));
    let (page, next) = pending(bench, None, 3).await;
    assert_eq!(page, all[..3]);
    assert_eq!(pending(bench, next, 3).await, (all[3..].to_vec(), None));

    let epoch = claim(bench, 1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(1), id(7)]);
    bench.record(step(1, epoch, 2), 2).await;
    bench.record(ended(1, epoch, true), 3).await;
    bench.cancel(9, 3).await;
    assert_eq!(pending(bench, None, 10).await.0, [all[2].clone(), all[3].clone()], "carried or not");
    bench.sweep(10, 3600).await;
    bench.release(epoch, 3600).await;
    assert!(pending(bench, None, 10).await.0.is_empty());
}

async fn revoking_ends_it_and_moving_asks_for_its_end(bench: &Bench) {
    bench.accept(NewCommand { scope: group("g"), ..power(1, "one") }, 0).await;
    bench.accept(power(2, "two"), 0).await;
    let epoch = claim(bench, 1).await;
    bench.inbox(epoch, 1).await;
    let moved = bench.admin(move_to("a", "x"), 2).await;
    let AdminOutcome::Moved { changes, .. } = moved else { panic!("not moved: {moved:?}") };
    assert!(update(&changes[0].news).outcome.cancel_requested, "its publisher may not command there");
    assert_eq!(told(&changes), [(id(1), CommandState::Queued)]);
    assert_eq!(told(&bench.release(epoch, 3).await.changes), [(id(1), CommandState::Cancelled)]);

    let epoch = claim(bench, 4).await;
    assert_eq!(bench.inbox(epoch, 4).await, [id(2)]);
    let revoke = AdminOp::RevokeAgent { agent: agent("a"), scope: group("x") };
    let AdminOutcome::Revoked { changes } = bench.admin(revoke, 5).await else { panic!("not revoked") };
    assert_eq!(told(&changes), [(id(2), CommandState::Cancelled)]);
    assert_eq!(bench.admin(create("a", "g", 7), 6).await, AdminOutcome::Done);
    assert_eq!(bench.record(ended(2, epoch, true), 6).await.verdict, Verdict::Unknown);
    assert_eq!(bench.release(epoch, 6).await.verdict, Verdict::Stale);
    assert_eq!(bench.row(2).await.unwrap().submission.kind, Kind::Power);
}
