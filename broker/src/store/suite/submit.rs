//! Accepting, repeating, refusing.

use wakemq_protocol::{CommandState, Priority};

use super::fixture::*;
use crate::store::{Actor, Delivery, NewCommand, Submitted, Target, Verdict};

super::for_each_backend!(
    a_repetition_is_answered_with_the_present_state,
    another_use_of_an_id_is_a_conflict,
    who_may_not_command_whom,
    the_spelling_of_an_agent_does_not_matter,
    a_hundred_are_pending_at_most,
    what_is_superseded_makes_room,
    what_has_expired_makes_room,
    a_refusal_is_recorded,
    a_live_command_needs_its_connection,
    a_live_command_ends_with_its_connection,
    a_live_command_takes_no_slot,
);

async fn a_repetition_is_answered_with_the_present_state(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let Submitted::Duplicate(news) = bench.submit(new(1), 1).await else { panic!("not a duplicate") };
    let outcome = &update(&news).outcome;
    assert_eq!((outcome.state, outcome.at), (CommandState::Queued, at(0)));
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 2).await;
    let Submitted::Duplicate(news) = bench.submit(new(1), 3).await else { panic!("not a duplicate") };
    let outcome = &update(&news).outcome;
    assert_eq!((outcome.state, outcome.at), (CommandState::Sent, at(2)));
    bench.acknowledge(1, epoch, 4).await;
    let Submitted::Duplicate(news) = bench.submit(new(1), 5).await else { panic!("not a duplicate") };
    let outcome = &update(&news).outcome;
    assert_eq!((outcome.state, outcome.at), (CommandState::Acknowledged, at(4)));
    // A later expiry is no other command: it follows from when it was submitted.
    let later = NewCommand { expires: at(9999), ..new(1) };
    assert!(matches!(bench.submit(later, 6).await, Submitted::Duplicate(_)));
    let twice = bench.store.submit(vec![new(2), new(2)], at(7)).await.unwrap();
    assert!(matches!(&twice[..], [Submitted::Accepted { .. }, Submitted::Duplicate(_)]));
}

async fn another_use_of_an_id_is_a_conflict(bench: &Bench) {
    bench.accept(new(1), 0).await;
    let others = [
        NewCommand { actor: Actor { by: "op:other".into(), address: None }, ..new(1) },
        NewCommand { target: Target::Agent(agent("b")), ..new(1) },
        NewCommand { submission: submission(None, Priority::High), ..new(1) },
    ];
    for other in others {
        assert_eq!(bench.submit(other, 1).await, Submitted::Conflict);
    }
}

async fn who_may_not_command_whom(bench: &Bench) {
    assert_eq!(
        bench.submit(NewCommand { target: Target::Agent(agent("x")), ..new(1) }, 0).await,
        Submitted::Unknown
    );
    assert_eq!(bench.submit(NewCommand { scope: group("g/other"), ..new(1) }, 0).await, Submitted::Forbidden);
    assert!(!bench.is_known(1).await);
    bench.accept(NewCommand { scope: group("g"), ..new(1) }, 0).await;
}

async fn the_spelling_of_an_agent_does_not_matter(bench: &Bench) {
    bench.accept(NewCommand { target: Target::Agent(agent("A")), ..new(1) }, 0).await;
    assert!(matches!(bench.submit(new(1), 0).await, Submitted::Duplicate(_)));
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, [id(1)]);
}

async fn a_hundred_are_pending_at_most(bench: &Bench) {
    let epoch = bench.claim(0).await;
    let hundredth = NewCommand { delivery: live(epoch), ..new(100) };
    bench.accept(hundredth, 0).await;
    for number in 1..=99 {
        bench.accept(new(number), 0).await;
    }
    assert_eq!(bench.pending().await, 100);
    assert_eq!(bench.submit(new(101), 0).await, Submitted::Full);
    let another = NewCommand { delivery: live(epoch), ..new(101) };
    assert_eq!(bench.submit(another, 0).await, Submitted::Full);
    assert!(matches!(bench.submit(new(1), 0).await, Submitted::Duplicate(_)), "a repetition needs no room");
    bench.accept(NewCommand { target: Target::Agent(agent("b")), ..new(101) }, 0).await;
    assert_eq!(bench.inbox(epoch, 1).await.len(), 16);
    assert_eq!(bench.submit(new(102), 1).await, Submitted::Full, "what is carried is pending");
    assert_eq!(bench.acknowledge(1, epoch, 2).await, Verdict::Applied);
    bench.accept(new(102), 3).await;
}

async fn what_is_superseded_makes_room(bench: &Bench) {
    bench.accept(in_slot(1, "s"), 0).await;
    for number in 2..=100 {
        bench.accept(new(number), 0).await;
    }
    assert_eq!(bench.submit(new(101), 0).await, Submitted::Full);
    assert_eq!(told(&bench.accept(in_slot(101, "s"), 0).await), [(id(1), CommandState::Superseded)]);
}

async fn what_has_expired_makes_room(bench: &Bench) {
    bench.accept(NewCommand { expires: at(10), ..new(1) }, 0).await;
    for number in 2..=100 {
        bench.accept(new(number), 0).await;
    }
    assert_eq!(bench.submit(new(101), 9).await, Submitted::Full);
    assert_eq!(told(&bench.accept(new(101), 10).await), [(id(1), CommandState::Expired)]);
    assert_eq!(bench.submit(new(102), 10).await, Submitted::Full);
}

async fn a_refusal_is_recorded(bench: &Bench) {
    let refused = NewCommand {
        target: Target::Agent(agent("x")),
        delivery: Delivery::Refused("no such kind".into()),
        ..new(1)
    };
    let (outcome, changes) = accepted(bench.submit(refused.clone(), 5).await);
    assert_eq!((outcome.state, outcome.detail.as_deref()), (CommandState::Refused, Some("no such kind")));
    assert!(changes.is_empty());
    assert_eq!(bench.state(1).await, CommandState::Refused);
    assert!(matches!(bench.submit(refused, 6).await, Submitted::Duplicate(_)));
    assert_eq!(bench.submit(new(1), 6).await, Submitted::Conflict);
    assert_eq!(bench.cancel(1, 7).await.verdict, Verdict::Late);
}

async fn a_live_command_needs_its_connection(bench: &Bench) {
    let live = |number, epoch| NewCommand { delivery: Delivery::Live(epoch), expires: at(0), ..new(number) };
    assert_eq!(accepted(bench.submit(live(1, Vec::new()), 0).await).0.state, CommandState::Expired);
    let old = bench.claim(0).await;
    let epoch = bench.claim(0).await;
    assert_eq!(
        accepted(bench.submit(live(2, vec![(agent("a"), old)]), 0).await).0.state,
        CommandState::Expired
    );
    assert_eq!(
        accepted(bench.submit(live(3, vec![(agent("a"), epoch)]), 0).await).0.state,
        CommandState::Sent
    );
    assert_eq!(bench.state(3).await, CommandState::Sent);
    assert!(bench.inbox(epoch, 0).await.is_empty());
    assert_eq!(bench.acknowledge(3, epoch, 1).await, Verdict::Applied);
    assert_eq!(bench.state(3).await, CommandState::Acknowledged);
    assert_eq!(bench.pending().await, 0);
}

async fn a_live_command_ends_with_its_connection(bench: &Bench) {
    let epoch = bench.claim(0).await;
    bench.accept(NewCommand { delivery: live(epoch), expires: at(0), ..new(1) }, 0).await;
    assert!(bench.sweep(10, 1).await.changes.is_empty(), "what is carried does not expire");
    assert_eq!(told(&bench.release(epoch, 2).await.changes), [(id(1), CommandState::Expired)]);
    assert_eq!(bench.state(1).await, CommandState::Expired);
}

async fn a_live_command_takes_no_slot(bench: &Bench) {
    let epoch = bench.claim(0).await;
    bench.accept(in_slot(1, "s"), 0).await;
    let live = NewCommand { delivery: live(epoch), ..in_slot(2, "s") };
    assert!(bench.accept(live, 0).await.is_empty(), "it supersedes nothing");
    assert_eq!(bench.inbox(epoch, 0).await, [id(1)]);
}
