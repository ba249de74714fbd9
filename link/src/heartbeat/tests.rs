//! The search in virtual time: the documented case to the second, single rules, and networks at random.

mod network;

use proptest::prelude::*;

use super::*;
use network::{Asked, MINUTE_MS, Network, Outcome, START_MS};

fn minutes(initial: u32, minimum: u32, maximum: u32, step: u32) -> HeartbeatSettings {
    HeartbeatSettings {
        initial_secs: initial * 60,
        minimum_secs: minimum * 60,
        maximum_secs: maximum * 60,
        step_secs: step * 60,
    }
}

/// The documented case, on a network that cuts quiet connections after 13 minutes.
fn documented() -> Network {
    let mut network = Network::new(minutes(15, 8, 28, 4), None, Some(13 * MINUTE_MS));
    network.run_until(START_MS + 16 * MINUTE_MS);
    // Asked 8 at 15:20, 12 at 23:20; the command comes 4 minutes after that.
    network.command_at(START_MS + 27 * MINUTE_MS + 20_000);
    network.run_until(START_MS + 120 * MINUTE_MS);
    network
}

#[test]
fn the_documented_case_settles_at_12_minutes() {
    let network = documented();
    // The asks that look for something: those of the main connection until it has an answer, then the spare's.
    let looked: Vec<_> = network.looked_for().map(|ask| (ask.secs / 60, ask.outcome)).collect();
    assert_eq!(
        looked,
        [
            (15, Outcome::NoAnswer),
            (8, Outcome::Idle),
            (12, Outcome::Answered),
            (12, Outcome::Idle),
            (16, Outcome::NoAnswer),
        ]
    );
    assert_eq!(network.heartbeat.interval_secs(), 12 * 60);
    assert!(network.heartbeat.is_settled(network.now_ms));
}

#[test]
fn in_the_documented_case_every_ask_comes_when_it_should_and_where() {
    let ask = |at_secs: u64, spare: bool, mins: u32, outcome| Asked {
        at_ms: START_MS + at_secs * 1_000,
        spare,
        secs: mins * 60,
        outcome,
    };
    let (at, main, spare) = (|min: u64, secs: u64| min * 60 + secs, false, true);
    let expected = [
        ask(at(0, 0), main, 15, Outcome::NoAnswer),
        ask(at(15, 20), main, 8, Outcome::Idle),
        ask(at(23, 20), spare, 12, Outcome::Answered),
        ask(at(23, 20), main, 8, Outcome::Answered),
        ask(at(27, 20), spare, 12, Outcome::Idle),
        ask(at(27, 20), main, 8, Outcome::Idle),
        ask(at(35, 20), main, 8, Outcome::Idle),
        ask(at(39, 20), spare, 16, Outcome::NoAnswer),
        ask(at(43, 20), main, 12, Outcome::Idle),
        ask(at(55, 20), main, 12, Outcome::Idle),
        ask(at(67, 20), main, 12, Outcome::Idle),
    ];
    let mut asked = documented().asked;
    asked.sort_by_key(|ask| (ask.at_ms, !ask.spare));
    assert_eq!(asked[..expected.len()], expected);
    assert!(asked[expected.len()..].iter().all(|ask| !ask.spare && ask.secs == 12 * 60), "{asked:?}");
}

#[test]
fn a_raise_that_failed_is_tried_again_after_7_days_and_not_before() {
    let mut network = documented();
    let failed_ms = network.heartbeat.learned().unwrap().raise_failed_ms.unwrap();
    assert_eq!(failed_ms, START_MS + 55 * MINUTE_MS + 40_000);
    let before = network.spares().len();
    network.run_until(failed_ms + REST_MS - 1);
    assert_eq!(network.spares().len(), before);
    network.forgets_after_ms = None;
    network.run_until(failed_ms + REST_MS + 120 * MINUTE_MS);
    assert_eq!(network.spares()[before..], [16 * 60, 20 * 60, 24 * 60, 28 * 60]);
    assert_eq!(network.heartbeat.interval_secs(), 28 * 60);
}

#[test]
fn what_was_learned_outlives_the_process_and_its_rest_too() {
    let learned = documented().heartbeat.learned().unwrap();
    let text = serde_json::to_string(&learned).unwrap();
    assert_eq!(text, r#"{"interval_secs":720,"proven":true,"raise_failed_ms":1800003340000}"#);
    let learned = serde_json::from_str(&text).unwrap();
    let mut network = Network::new(minutes(15, 8, 28, 4), Some(learned), Some(13 * MINUTE_MS));
    network.run_until(START_MS + 24 * 60 * MINUTE_MS);
    assert!(network.asked.iter().all(|ask| !ask.spare && ask.secs == 12 * 60), "{:?}", network.asked);
}

#[test]
fn a_clock_that_was_ahead_does_not_forbid_raises_for_years() {
    let ahead = Learned { raise_failed_ms: Some(START_MS * 2), ..Learned::proven(480) };
    let heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), Some(ahead), START_MS);
    assert_eq!(heartbeat.rest_until_ms(), START_MS + REST_MS);
}

/// A heartbeat whose spare asks for 12 minutes, 8 being safe; at 0.
fn raising() -> Heartbeat {
    let safe = Learned::proven(480);
    let mut heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), Some(safe), 0);
    heartbeat.handle_connected(0);
    assert_eq!(heartbeat.poll_timeout(), None, "nothing is raised before the connection bore what is safe");
    heartbeat.handle_idle(0);
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::OpenSpare { secs: 720 }));
    heartbeat
}

#[test]
fn silence_counts_only_if_the_broker_is_within_reach() {
    for reached in [true, false] {
        let mut heartbeat = raising();
        heartbeat.handle_spare(SpareNews::Quiet, 1_000);
        assert_eq!(heartbeat.poll_timeout(), Some(741_000));
        heartbeat.handle_timeout(741_000);
        assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::CloseSpare));
        assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::Check));
        heartbeat.handle_checked(reached, 742_000);
        if reached {
            assert_eq!(heartbeat.poll_timeout(), Some(743_000), "a resume may be told yet");
            heartbeat.handle_timeout(743_000);
        }
        assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, reached.then_some(741_000));
        let next_ms = if reached { 741_000 + REST_MS } else { 742_000 + POSTPONED_MS };
        assert_eq!(heartbeat.poll_timeout(), Some(next_ms));
    }
}

#[test]
fn a_check_without_an_answer_and_one_that_the_heartbeat_answers() {
    let doubted = || {
        let mut heartbeat = raising();
        heartbeat.handle_spare(SpareNews::Quiet, 0);
        heartbeat.handle_spare(SpareNews::Silent, 720_100);
        assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::Check));
        heartbeat
    };
    let mut heartbeat = doubted();
    heartbeat.handle_timeout(750_100);
    assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, None);
    let mut heartbeat = doubted();
    heartbeat.handle_checked(true, 3_600_000);
    assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, None, "it was suspended meanwhile");
    let mut heartbeat = doubted();
    heartbeat.handle_idle(730_000);
    assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, Some(720_100));
    let mut heartbeat = doubted();
    heartbeat.handle_disconnected(730_000);
    heartbeat.handle_checked(true, 730_001);
    assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, None, "the way was lost meanwhile");
}

#[test]
fn a_resume_that_is_told_after_the_check_withdraws_what_the_spare_seemed_to_tell() {
    let mut heartbeat = raising();
    heartbeat.handle_spare(SpareNews::Quiet, 0);
    heartbeat.handle_spare(SpareNews::Silent, 740_000);
    heartbeat.handle_checked(true, 740_800);
    heartbeat.handle_disconnected(741_500);
    heartbeat.handle_timeout(742_000);
    assert_eq!(heartbeat.learned().unwrap().raise_failed_ms, None);
}

#[test]
fn a_machine_that_was_suspended_measured_nothing() {
    let mut heartbeat = raising();
    heartbeat.handle_spare(SpareNews::Quiet, 0);
    heartbeat.handle_timeout(3_600_000);
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::CloseSpare));
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::OpenSpare { secs: 720 }), "it is tried again");
}

#[test]
fn answers_that_come_early_are_no_measure_and_tries_become_rare() {
    let mut heartbeat = raising();
    let mut now_ms = 0;
    let mut waits = Vec::new();
    for _ in 0..9 {
        heartbeat.handle_spare(SpareNews::Quiet, now_ms);
        now_ms += 719_999;
        heartbeat.handle_spare(SpareNews::Idle, now_ms);
        assert_eq!(heartbeat.interval_secs(), 480);
        let due_ms = heartbeat.due_ms().unwrap_or(now_ms);
        waits.push((due_ms - now_ms) / MINUTE_MS);
        now_ms = due_ms;
        heartbeat.handle_timeout(now_ms);
        assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::OpenSpare { secs: 720 }));
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 360, 360]);
}

#[test]
fn where_no_spare_can_be_opened_the_safe_interval_stays() {
    let mut heartbeat = raising();
    assert_eq!(heartbeat.poll_timeout(), Some(OPENING_MS));
    heartbeat.handle_timeout(OPENING_MS);
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::CloseSpare));
    assert_eq!(heartbeat.poll_timeout(), Some(OPENING_MS + POSTPONED_MS));
    heartbeat.handle_timeout(OPENING_MS + POSTPONED_MS);
    heartbeat.handle_spare(SpareNews::Unable, OPENING_MS + POSTPONED_MS);
    assert_eq!(heartbeat.poll_timeout(), Some(OPENING_MS + 3 * POSTPONED_MS));
    assert_eq!(heartbeat.interval_secs(), 480);
}

#[test]
fn a_safe_interval_may_fail_once_by_chance_but_not_twice() {
    let safe = Learned { raise_failed_ms: Some(0), ..Learned::proven(720) };
    let mut heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), Some(safe.clone()), 0);
    for _ in 0..3 {
        heartbeat.handle_silence(1);
        heartbeat.handle_idle(2);
    }
    assert_eq!(heartbeat.learned(), Some(safe));
    while heartbeat.poll_action().is_some() {}
    heartbeat.handle_silence(3);
    heartbeat.handle_disconnected(3);
    // What is known outlives the connection, that one ask had no answer too.
    let mut heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), heartbeat.learned(), 4);
    heartbeat.handle_silence(4);
    let unproven = Learned { proven: false, ..Learned::proven(480) };
    assert_eq!(heartbeat.learned(), Some(unproven.clone()));
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::Remember(unproven)));
    heartbeat.handle_idle(5);
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::OpenSpare { secs: 720 }), "it begins anew");
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::Remember(Learned::proven(480))));
}

#[test]
fn the_broker_bounds_what_is_asked_and_what_is_tried() {
    let mut heartbeat = raising();
    heartbeat.handle_bounds(60, 600, 1);
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::CloseSpare));
    assert_eq!(heartbeat.poll_action(), Some(HeartbeatAction::OpenSpare { secs: 600 }));
    heartbeat.handle_bounds(60, 300, 2);
    assert_eq!(heartbeat.interval_secs(), 300);
    assert!(heartbeat.is_settled(2));
    // More than was proven is the broker's wish, not the network's promise.
    heartbeat.handle_bounds(900, 3_540, 3);
    assert_eq!(heartbeat.learned(), Some(Learned { proven: false, ..Learned::proven(900) }));
}

#[test]
fn settings_without_sense_are_put_in_order() {
    let settings = HeartbeatSettings { initial_secs: 9, minimum_secs: 0, maximum_secs: 0, step_secs: 0 };
    let mut heartbeat = Heartbeat::new(settings, None, 0);
    assert_eq!(heartbeat.interval_secs(), 1);
    heartbeat.handle_idle(1);
    assert!(heartbeat.is_settled(1));
    assert_eq!(heartbeat.poll_timeout(), None);
}

#[test]
fn a_first_ask_that_was_too_long_is_not_repeated_on_the_next_connection() {
    let mut heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), None, 0);
    assert_eq!((heartbeat.interval_secs(), heartbeat.learned()), (900, None));
    heartbeat.handle_silence(920_000);
    let heartbeat = Heartbeat::new(minutes(15, 8, 28, 4), heartbeat.learned(), 930_000);
    assert_eq!(heartbeat.interval_secs(), 480);
}

proptest! {
    /// Whatever the network forgets after, and whatever comes and fails meanwhile: the search ends at the longest
    /// step that the network bears, and what is safe is never exceeded but by the first ask.
    #[test]
    fn the_search_ends_at_the_longest_step_that_is_borne(
        (minimum, initial, maximum, step) in (1..20_u32, 1..40_u32, 1..60_u32, 1..10_u32),
        forgets_after in prop::option::of(1..70_u64),
        commands in prop::collection::vec(0..400_u64, 0..6),
        outages in prop::collection::vec((0..400_u64, 1..40_u64), 0..3),
        spare_fails in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        let maximum = maximum.max(minimum);
        let initial = initial.clamp(minimum, maximum);
        let forgets_after_ms = forgets_after.map(|minutes| minutes * MINUTE_MS + 30_000);
        let mut network = Network::new(minutes(initial, minimum, maximum, step), None, forgets_after_ms);
        network.spare_fails = spare_fails;
        for at in commands {
            network.command_at(START_MS + at * MINUTE_MS + 7_000);
        }
        for (at, long) in outages {
            network.outage(START_MS + at * MINUTE_MS + 13_000, long * MINUTE_MS);
        }
        network.run_until(START_MS + 3 * 24 * 60 * MINUTE_MS);

        let bears = |minutes: u32| forgets_after.is_none_or(|most| u64::from(minutes) <= most);
        // An outage may fail the first ask too; then the steps begin at the minimum.
        let climb = |mut at: u32| {
            while at < maximum && bears((at + step).min(maximum)) {
                at = (at + step).min(maximum);
            }
            at * 60
        };
        let mut ends = vec![climb(minimum)];
        if bears(initial) {
            ends.push(climb(initial));
        }
        let found = network.heartbeat.interval_secs();
        if bears(minimum) {
            prop_assert!(ends.contains(&found), "{found} is not among {ends:?}");
            prop_assert!(network.heartbeat.is_settled(network.now_ms));
        } else {
            prop_assert_eq!(found, minimum * 60);
        }
        let mut safe = minimum * 60;
        for ask in &network.asked {
            prop_assert!(ask.spare || ask.secs <= safe || ask.secs == initial * 60, "{:?}", ask);
            if ask.outcome == Outcome::Idle {
                safe = safe.max(ask.secs);
            }
        }
    }
}
