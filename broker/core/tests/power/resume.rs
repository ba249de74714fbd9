//! Attempts go on behind a restart of the broker where they stood.

use wakemq_core::power::{PowerAction, PowerAttempt};
use wakemq_protocol::CommandState::{Acknowledged, Done, Failed};
use wakemq_protocol::PowerStep;

use crate::fixture::{Attempt, T0, heard, settings, sleeper};

/// What was durable when the broker ended, after two relays were asked and one acknowledged.
fn evidence() -> Vec<PowerStep> {
    let mut attempt = Attempt::start(sleeper(false), settings());
    attempt.found(&["a", "b"], T0);
    attempt.told("a", Acknowledged, T0 + 50);
    attempt.actions();
    attempt.evidence
}

fn resume(evidence: &[PowerStep], now_ms: u64) -> Attempt {
    Attempt::of(PowerAttempt::resume(sleeper(false), settings(), [2; 10], evidence, now_ms))
}

#[test]
fn rounds_and_the_time_of_the_first_packet_go_on() {
    let mut attempt = resume(&evidence(), T0 + 12_000);
    assert_eq!(attempt.actions(), [PowerAction::Sent]);
    assert_eq!(attempt.machine.commands().count(), 2, "what became of them is still of interest");
    attempt.wait_until(T0 + 30_000);
    assert_eq!(attempt.found(&["a", "c"], T0 + 30_000), ["c", "a"]);
    assert_eq!(attempt.asked[0].1, 2);
    attempt.machine.handle_heard(&heard(T0 + 40_000, Some(15)), T0 + 40_100);
    assert_eq!(attempt.end(), (Done, "booted 26 s after the first packet".to_owned()));
}

#[test]
fn of_rounds_that_were_missed_the_last_is_made_up_for() {
    let mut attempt = resume(&evidence(), T0 + 61_000);
    assert_eq!(attempt.actions(), [PowerAction::Sent, PowerAction::FindRelays]);
    attempt.machine.handle_candidates(Vec::new(), T0 + 61_000);
    // Who is up may need a minute to come back.
    attempt.wait_until(T0 + 61_000 + 65_000);
    assert_eq!(attempt.end(), (Failed, "sent by a, did not come up within 120 s".to_owned()));
}

#[test]
fn nobody_is_asked_before_those_who_are_awake_could_come_back() {
    let mut attempt = resume(&[], T0);
    assert_eq!(attempt.actions(), []);
    attempt.machine.handle_heard(&heard(T0 + 20_000, Some(900)), T0 + 20_100);
    assert_eq!(attempt.end(), (Done, "was already up".to_owned()));

    let mut attempt = resume(&[], T0);
    attempt.wait_until(T0 + 65_000);
    assert_eq!(attempt.found(&["a"], T0 + 65_000), ["a"]);
}

#[test]
fn what_it_told_before_the_restart_is_judged_behind_it() {
    let mut attempt = Attempt::start(sleeper(false), settings());
    attempt.found(&["a"], T0);
    attempt.machine.handle_heard(&heard(T0 + 40_000, Some(15)), T0 + 40_100);
    assert_eq!(attempt.end(), (Done, "booted 26 s after the first packet".to_owned()));
    // Less precisely: the time of its CONNECT is not kept.
    let mut resumed = resume(&attempt.evidence, T0 + 99_000);
    assert_eq!(resumed.end(), (Done, "booted 15 to 27 s after the first packet".to_owned()));
    assert_eq!(resumed.steps(), [""; 0]);
}
