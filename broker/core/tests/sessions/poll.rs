//! An agent that asks by long poll.

use wakemq_core::{PollAction, PollSession};
use wakemq_protocol::http::PollAnswer;
use wakemq_protocol::{Command, CommandId, Priority};

use crate::fixture::*;

const HEARTBEAT_SECS: u32 = 300;

fn actions(session: &mut PollSession) -> Vec<PollAction> {
    std::iter::from_fn(|| session.poll_action()).collect()
}

fn ids(commands: &[Command]) -> Vec<CommandId> {
    commands.iter().map(|command| command.id).collect()
}

/// The ids of an answer; panics if the last action is none.
fn answered(actions: &[PollAction]) -> Vec<CommandId> {
    match actions.last() {
        Some(PollAction::Answer(PollAnswer::Commands { commands })) => ids(commands),
        other => panic!("no commands: {other:?}"),
    }
}

/// A session whose first poll waits since 0.
fn waiting() -> PollSession {
    let mut session = PollSession::default();
    session.handle_poll(HEARTBEAT_SECS, Vec::new(), 0);
    assert_eq!(actions(&mut session), [PollAction::Fetch { max: 16 }]);
    session.handle_page(Vec::new(), 0);
    assert_eq!(actions(&mut session), []);
    session
}

/// A session that was given commands at 0.
fn given(numbers: std::ops::RangeInclusive<u64>) -> PollSession {
    let mut session = waiting();
    session.handle_inbox_changed(0);
    assert_eq!(actions(&mut session), [PollAction::Fetch { max: 16 }]);
    session.handle_page(numbers.clone().map(command).collect(), 0);
    assert_eq!(answered(&actions(&mut session)), numbers.map(command_id).collect::<Vec<_>>());
    session
}

#[test]
fn a_poll_is_idle_when_its_heartbeat_is_over_and_not_before() {
    let mut session = waiting();
    assert_eq!(session.deadline_ms(), 300_000);
    session.handle_timeout(299_999);
    assert_eq!(actions(&mut session), []);
    session.handle_timeout(300_000);
    assert_eq!(actions(&mut session), [PollAction::Answer(PollAnswer::Idle)]);
    assert!(!session.is_away());
    assert_eq!(session.deadline_ms(), 330_000);
    session.handle_timeout(330_000);
    assert_eq!(actions(&mut session), [PollAction::Leave, PollAction::End]);
    assert!(session.is_over());
    assert_eq!(session.deadline_ms(), u64::MAX);
}

#[test]
fn acknowledgements_count_before_the_next_look_into_the_inbox() {
    let mut session = given(1..=2);
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(2), command_id(9), command_id(2)], 1);
    assert_eq!(
        actions(&mut session),
        [PollAction::Acknowledged(command_id(2)), PollAction::Fetch { max: 15 }]
    );
    session.handle_page(vec![command(3)], 1);
    assert_eq!(answered(&actions(&mut session)), [command_id(3)]);
}

#[test]
fn what_a_former_poller_was_given_is_acknowledged_as_soon_as_the_inbox_gives_it() {
    let mut session = PollSession::default();
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(1)], 0);
    assert_eq!(actions(&mut session), [PollAction::Fetch { max: 16 }]);
    session.handle_page(vec![command(1)], 0);
    // It is not given again, and something may have waited for its slot.
    assert_eq!(
        actions(&mut session),
        [PollAction::Acknowledged(command_id(1)), PollAction::Fetch { max: 16 }]
    );
    session.handle_page(vec![command(2)], 0);
    assert_eq!(answered(&actions(&mut session)), [command_id(2)]);

    // It says so of one poll alone.
    let mut session = PollSession::default();
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(1)], 0);
    actions(&mut session);
    session.handle_page(Vec::new(), 0);
    session.handle_inbox_changed(1);
    actions(&mut session);
    session.handle_page(vec![command(1)], 1);
    assert_eq!(answered(&actions(&mut session)), [command_id(1)]);
}

#[test]
fn what_is_not_acknowledged_goes_out_anew_after_a_minute_and_the_heartbeat_waits_for_that() {
    let mut session = given(1..=1);
    session.handle_poll(60, Vec::new(), 0);
    assert_eq!(actions(&mut session), [PollAction::Fetch { max: 15 }]);
    session.handle_page(Vec::new(), 0);
    assert_eq!(session.deadline_ms(), 60_000);
    session.handle_timeout(60_000);
    assert_eq!(
        actions(&mut session),
        [PollAction::LetGo(command_id(1)), PollAction::Fetch { max: 16 }],
        "whether it is idle is not known yet"
    );
    session.handle_page(vec![command(1)], 60_000);
    assert_eq!(answered(&actions(&mut session)), [command_id(1)]);

    // Or it has ended meanwhile.
    session.handle_poll(60, Vec::new(), 60_000);
    actions(&mut session);
    session.handle_page(Vec::new(), 60_000);
    session.handle_timeout(120_000);
    actions(&mut session);
    session.handle_page(Vec::new(), 120_000);
    assert_eq!(actions(&mut session), [PollAction::Answer(PollAnswer::Idle)]);
}

#[test]
fn who_does_not_poll_again_is_away_after_half_a_minute_and_what_it_has_stays_withheld() {
    let mut session = given(1..=1);
    assert_eq!(session.deadline_ms(), 30_000);
    session.handle_timeout(30_000);
    assert_eq!(actions(&mut session), [PollAction::Leave]);
    assert!(session.is_away() && !session.is_over());
    assert_eq!(session.deadline_ms(), 60_000);
    // Back again, and it counts still.
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(1)], 45_000);
    assert_eq!(
        actions(&mut session),
        [PollAction::Acknowledged(command_id(1)), PollAction::Fetch { max: 16 }]
    );

    let mut session = given(1..=1);
    session.handle_timeout(30_000);
    session.handle_timeout(60_000);
    assert_eq!(actions(&mut session), [PollAction::Leave, PollAction::LetGo(command_id(1)), PollAction::End]);
}

#[test]
fn a_client_that_is_gone_is_away_at_once() {
    let mut session = waiting();
    session.handle_dropped();
    assert_eq!(actions(&mut session), [PollAction::Leave, PollAction::End]);

    // One that was answered has half a minute.
    let mut session = given(1..=1);
    session.handle_dropped();
    assert_eq!(actions(&mut session), []);
    assert!(!session.is_away());

    let mut session = given(1..=1);
    session.handle_poll(HEARTBEAT_SECS, Vec::new(), 10_000);
    session.handle_dropped();
    assert_eq!(actions(&mut session), [PollAction::Leave], "what it has stays withheld");
}

#[test]
fn what_is_for_who_is_connected_waits_for_the_next_poll_and_ends_with_the_presence() {
    let live = |n| Command { ttl: 0, ..command(n) };
    let mut session = waiting();
    session.handle_live(live(1), 5);
    assert_eq!(answered(&actions(&mut session)), [command_id(1)]);
    session.handle_live(live(2), 6);
    assert_eq!(actions(&mut session), [], "no poll waits");
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(1)], 7);
    assert_eq!(
        actions(&mut session),
        [PollAction::Acknowledged(command_id(1)), PollAction::Fetch { max: 15 }],
        "its room is kept"
    );
    session.handle_page(vec![Command { priority: Priority::Low, ..command(3) }], 7);
    assert_eq!(answered(&actions(&mut session)), [command_id(2), command_id(3)], "by priority");
    session.handle_live(live(4), 8);
    session.handle_timeout(30_007);
    assert_eq!(
        actions(&mut session),
        [PollAction::LetGo(command_id(4)), PollAction::LetGo(command_id(2)), PollAction::Leave]
    );
    session.handle_live(live(5), 30_008);
    assert_eq!(actions(&mut session), [PollAction::LetGo(command_id(5))], "it came too late");
}

#[test]
fn sixteen_are_given_at_most_and_more_when_some_are_settled() {
    let mut session = given(1..=16);
    session.handle_poll(HEARTBEAT_SECS, Vec::new(), 0);
    assert_eq!(actions(&mut session), [], "there is no room");
    session.handle_inbox_changed(1);
    assert_eq!(actions(&mut session), []);
    session.handle_settled(command_id(7), 2);
    assert_eq!(actions(&mut session), [PollAction::Fetch { max: 1 }]);
    session.handle_page(vec![command(17)], 2);
    assert_eq!(answered(&actions(&mut session)), [command_id(17)]);
    // And without room a poll is idle when it is.
    session.handle_poll(30, Vec::new(), 2);
    session.handle_timeout(30_002);
    assert_eq!(actions(&mut session), [PollAction::Answer(PollAnswer::Idle)]);
}

#[test]
fn an_answer_has_sixty_kibibytes_at_most_and_what_does_not_fit_is_let_go() {
    // Each control character takes six bytes on the wire.
    let large = |n| Command { reason: Some("\u{1}".repeat(1024)), ..command(n) };
    let mut session = waiting();
    session.handle_inbox_changed(0);
    actions(&mut session);
    session.handle_page((1..=16).map(large).collect(), 0);
    let done = actions(&mut session);
    let Some(PollAction::Answer(answer)) = done.last() else { panic!("{done:?}") };
    let bytes = wakemq_protocol::to_json(answer).len();
    assert!((50_000..=60 * 1024).contains(&bytes), "{bytes}");
    let PollAnswer::Commands { commands } = answer else { panic!("{answer:?}") };
    let let_go: Vec<_> = (commands.len() as u64 + 1..=16).map(|n| PollAction::LetGo(command_id(n))).collect();
    assert_eq!(done[..done.len() - 1], let_go);
    // Of the live ones nothing is let go that can go with the next.
    let mut session = waiting();
    for n in 1..=16 {
        session.handle_live(large(n), 0);
    }
    assert_eq!(answered(&actions(&mut session)), [command_id(1)], "it waits for no other");
    session.handle_poll(HEARTBEAT_SECS, Vec::new(), 0);
    let first = answered(&actions(&mut session)).len() as u64;
    session.handle_poll(HEARTBEAT_SECS, (2..2 + first).map(command_id).collect(), 0);
    actions(&mut session);
    session.handle_page(Vec::new(), 0);
    assert_eq!(answered(&actions(&mut session)).len() as u64, 15 - first);
}

#[test]
fn who_is_evicted_has_nothing_left() {
    let mut session = given(1..=3);
    session.handle_poll(HEARTBEAT_SECS, vec![command_id(1)], 1);
    session.handle_evicted();
    assert_eq!(actions(&mut session), [PollAction::End]);
    session.handle_evicted();
    session.handle_timeout(100_000);
    session.handle_dropped();
    assert_eq!(actions(&mut session), [], "it ends once");
}

#[test]
fn a_page_that_comes_when_the_poll_is_answered_already_is_let_go() {
    let mut session = waiting();
    session.handle_inbox_changed(0);
    session.handle_inbox_changed(0);
    assert_eq!(session.poll_action(), Some(PollAction::Fetch { max: 16 }));
    session.handle_live(Command { ttl: 0, ..command(1) }, 0);
    session.handle_page(vec![command(2)], 0);
    let done = actions(&mut session);
    assert_eq!(answered(&done[..1]), [command_id(1)]);
    assert_eq!(done[1..], [PollAction::LetGo(command_id(2))], "and no further page is asked for");
}
