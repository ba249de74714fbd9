//! The rules of an attempt, one by one.

use wakemq_core::power::{Heard, PowerAction, PowerSettings, Sleeper, Targets};
use wakemq_protocol::CommandState::{Acknowledged, Cancelled, Done, Expired, Failed, Refused};
use wakemq_protocol::{Interface, Medium};

use crate::fixture::{Attempt, T0, heard, settings, sleeper};

/// An attempt for a machine that is away, with two relays asked.
fn asked_two() -> Attempt {
    let mut attempt = Attempt::start(sleeper(false), settings());
    assert_eq!(attempt.found(&["c", "b", "w", "a"], T0), ["a", "b"]);
    attempt
}

#[test]
fn two_are_asked_by_cable_first() {
    let mut attempt = Attempt::start(sleeper(false), settings());
    assert_eq!(attempt.found(&["w1", "w2", "z"], T0), ["z", "w1"]);
    assert_eq!(attempt.steps(), ["relay_asked", "relay_asked"]);
}

#[test]
fn the_job_says_whose_adapter_where_and_on_which_ports() {
    let mut attempt = Attempt::start(sleeper(false), settings());
    attempt.machine.handle_candidates(crate::fixture::neighbours(&["a"]), T0);
    let job = std::iter::from_fn(|| attempt.machine.poll_action()).find_map(|action| match action {
        PowerAction::Ask { job, .. } => Some(serde_json::to_value(job).unwrap()),
        _ => None,
    });
    let expected =
        serde_json::json!({"macs": ["00:16:3e:00:01:07"], "networks": ["192.168.1.0/24"], "ports": [9, 7]});
    assert_eq!(job, Some(expected));
}

#[test]
fn a_third_is_asked_in_the_place_of_one_and_never_a_fourth() {
    for state in [Expired, Failed, Refused] {
        let mut attempt = asked_two();
        attempt.told("a", state, T0 + 10);
        assert_eq!(attempt.found(&["a", "b", "c", "w"], T0 + 20), ["c"], "{state}");
        attempt.told("b", state, T0 + 30);
        attempt.told("c", state, T0 + 40);
        assert_eq!(attempt.actions(), [], "{state}");
        attempt.wait_until(T0 + 30_000);
    }
}

#[test]
fn who_is_silent_for_3_s_is_replaced_once() {
    let mut attempt = asked_two();
    attempt.told("b", Acknowledged, T0 + 100);
    assert_eq!(attempt.actions(), [PowerAction::Sent]);
    attempt.wait_until(T0 + 3_000);
    assert_eq!(attempt.found(&["a", "b", "w"], T0 + 3_010), ["w"]);
    // It speaks after all, and goes: that makes no room.
    attempt.told("a", Acknowledged, T0 + 3_500);
    attempt.told("a", Failed, T0 + 3_600);
    assert_eq!(attempt.actions(), []);
    let steps = attempt.steps();
    assert_eq!(
        steps[2..],
        ["relay_acknowledged", "relay_silent", "relay_asked", "relay_acknowledged", "relay_said"]
    );
}

#[test]
fn rounds_come_at_30_and_60_s_with_fresh_ones_first() {
    let mut attempt = asked_two();
    attempt.told("a", Done, T0 + 100);
    attempt.told("b", Failed, T0 + 100);
    assert_eq!(attempt.actions(), [PowerAction::Sent, PowerAction::FindRelays]);
    attempt.machine.handle_candidates(Vec::new(), T0 + 110);
    attempt.wait_until(T0 + 30_000);
    assert_eq!(attempt.found(&["a", "b", "w"], T0 + 30_010), ["w", "a"], "the unreliable last");
    attempt.told("w", Acknowledged, T0 + 30_100);
    attempt.told("a", Acknowledged, T0 + 30_100);
    attempt.wait_until(T0 + 60_000);
    assert_eq!(attempt.found(&["b"], T0 + 60_010), ["b"]);
    attempt.told("b", Acknowledged, T0 + 60_020);
    attempt.wait_until(T0 + 120_000);
    let expected = "sent by a, b and w, did not come up within 120 s";
    let mut words: Vec<_> = expected.split(' ').collect();
    words.sort_unstable();
    let (state, detail) = attempt.end();
    let mut told: Vec<_> = detail.split(' ').map(|word| word.trim_end_matches(',')).collect();
    told.sort_unstable();
    assert_eq!((state, told), (Failed, words.iter().map(|word| word.trim_end_matches(',')).collect()));
    let rounds: Vec<_> = attempt.asked.iter().map(|(relay, round, _)| (relay.as_str(), *round)).collect();
    assert_eq!(rounds, [("a", 1), ("b", 1), ("w", 2), ("a", 2), ("b", 3)]);
}

#[test]
fn without_a_relay_it_ends_with_the_last_look() {
    let mut attempt = Attempt::start(sleeper(false), settings());
    for at_ms in [T0, T0 + 30_000, T0 + 60_000] {
        if at_ms > T0 {
            attempt.wait_until(at_ms);
        }
        assert_eq!(attempt.actions(), [PowerAction::FindRelays]);
        attempt.machine.handle_candidates(Vec::new(), at_ms);
    }
    let text = "no awake relay on 192.168.1.0/24; the broker has no addresses to send to itself";
    assert_eq!(attempt.end(), (Failed, text.to_owned()));
    assert_eq!(attempt.steps(), ["no_relay", "no_relay", "no_relay"]);
}

#[test]
fn the_broker_sends_where_nobody_else_does() {
    let broker = PowerSettings { broker_sends: true, ..settings() };
    let mut attempt = Attempt::start(sleeper(false), broker.clone());
    attempt.actions();
    attempt.machine.handle_candidates(Vec::new(), T0 + 10);
    let macs = vec!["00:16:3e:00:01:07".parse().unwrap()];
    assert_eq!(attempt.actions(), [PowerAction::SendFromBroker { macs, ports: vec![9, 7] }]);
    attempt.machine.handle_broker_sent(vec!["192.168.1.255:9".into()], Vec::new());
    assert_eq!(attempt.actions(), [PowerAction::Sent]);
    assert_eq!(
        attempt.evidence[0].at.unix_ms(),
        i64::try_from(T0 + 10).unwrap(),
        "when the first packet left"
    );
    attempt.wait_until(T0 + 30_000);
    assert_eq!(attempt.found(&["a"], T0 + 30_010), ["a"], "a relay that has come since");
    attempt.machine.handle_timeout(T0 + 120_010);
    assert_eq!(attempt.end().1, "sent by the broker, did not come up within 120 s");

    let mut attempt = Attempt::start(sleeper(false), broker);
    for at_ms in [T0, T0 + 30_000, T0 + 60_000] {
        attempt.machine.handle_timeout(at_ms);
        attempt.machine.handle_candidates(Vec::new(), at_ms);
        attempt.machine.handle_broker_sent(Vec::new(), vec!["no route".into()]);
    }
    assert_eq!(attempt.end().1, "no awake relay on 192.168.1.0/24; the broker could not send itself");
}

#[test]
fn without_a_mac_it_fails_at_once_unless_the_machine_answers() {
    let radio = Interface {
        medium: Medium::Wireless,
        mac: "02:00:00:00:00:01".parse().unwrap(),
        ..crate::fixture::place("x", 1).interfaces.remove(0)
    };
    let nothing =
        |connected| Sleeper { targets: Targets::of(std::slice::from_ref(&radio)), ..sleeper(connected) };
    let mut attempt = Attempt::start(nothing(false), settings());
    let (state, detail) = attempt.end();
    assert!(state == Failed && detail.starts_with("no MAC known that can wake: 02:00"), "{detail}");

    let mut attempt = Attempt::start(nothing(true), settings());
    assert!(matches!(attempt.actions()[..], [PowerAction::Probe { .. }]));
    attempt.wait_until(T0 + 5_000);
    assert_eq!(attempt.end().0, Failed);
    assert_eq!(attempt.steps(), ["probed", "probe_unanswered"]);
}

#[test]
fn what_looks_connected_is_asked_itself() {
    let mut attempt = Attempt::start(sleeper(true), settings());
    let [PowerAction::Probe { command }] = attempt.actions()[..] else { panic!() };
    assert_eq!(attempt.machine.commands().collect::<Vec<_>>(), [command]);
    attempt.machine.handle_told(command, Expired, None, T0 + 10);
    assert_eq!(attempt.actions(), [], "it may come back within the 5 s");
    attempt.machine.handle_told(command, Acknowledged, None, T0 + 4_999);
    assert_eq!(attempt.end(), (Done, "was already up: it acknowledged a wake".to_owned()));
}

#[test]
fn an_answer_that_comes_late_counts_unless_it_then_tells_more() {
    for tells in [false, true] {
        let mut attempt = Attempt::start(sleeper(true), settings());
        let [PowerAction::Probe { command }] = attempt.actions()[..] else { panic!() };
        attempt.wait_until(T0 + 5_000);
        assert_eq!(attempt.found(&["a"], T0 + 5_000), ["a"]);
        attempt.machine.handle_told(command, Acknowledged, None, T0 + 6_000);
        if tells {
            let resumed = Heard { since_resume: Some(1), ..heard(T0 + 7_000, Some(9_000)) };
            attempt.machine.handle_heard(&resumed, T0 + 7_050);
            assert_eq!(attempt.end(), (Done, "resumed 2 s after the first packet".to_owned()));
        } else {
            attempt.machine.handle_timeout(T0 + 11_000);
            let text = "it acknowledged a wake late, on the connection that it had: it is up";
            assert_eq!(attempt.end(), (Done, text.to_owned()));
        }
    }
}

#[test]
fn the_verdict_is_arithmetic_on_intervals() {
    let up = |connected_ms, since_boot, at_ms| {
        let mut attempt = asked_two();
        attempt.machine.handle_heard(&heard(T0 + connected_ms, since_boot), T0 + at_ms);
        attempt.end()
    };
    for (connected_ms, since_boot, at_ms, state, text) in [
        (30_000, Some(5), 30_100, Done, "booted 26 s after the first packet"),
        // It came up between 0.0 and 1.1 s after: not before the first packet in any case.
        (5_001, Some(5), 5_100, Done, "booted 1 s after the first packet"),
        (5_000, Some(5), 5_100, Done, "came up within 2 s of the first packet, perhaps by itself"),
        (4_000, Some(5), 4_001, Done, "came up within 1 s of the first packet, perhaps by itself"),
        (
            4_000,
            Some(5),
            4_000,
            Failed,
            "was running, unreachable: it booted at least 0 s before the first packet",
        ),
        (9_000, Some(u64::MAX), 9_100, Failed, "was running, unreachable: it booted at least"),
        (9_000, None, 9_100, Failed, "was running, unreachable, as far as can be told: it does not tell"),
        (0, Some(9_000), 10, Done, "was already up: it connected before a packet was sent"),
    ] {
        let (told, detail) = up(connected_ms, since_boot, at_ms);
        assert!(told == state && detail.starts_with(text), "{connected_ms} {since_boot:?}: {detail}");
    }
}

#[test]
fn without_ages_the_ids_decide() {
    let mut attempt = asked_two();
    let heard = Heard { boot_id: Some("b2".into()), ..heard(T0 + 9_000, None) };
    attempt.machine.handle_heard(&heard, T0 + 9_100);
    let (state, detail) = attempt.end();
    assert!(state == Done && detail.contains("has booted or resumed since it was last"), "{detail}");
}

#[test]
fn who_comes_before_a_packet_is_sent_is_up() {
    for (since_boot, text) in [(1, "it came up before a packet was sent"), (900, "was already up")] {
        let mut attempt = Attempt::start(sleeper(false), settings());
        attempt.machine.handle_candidates(Vec::new(), T0 + 10);
        attempt.machine.handle_heard(&heard(T0 + 20_000, Some(since_boot)), T0 + 20_100);
        assert_eq!(attempt.end(), (Done, text.to_owned()));
        assert_eq!(attempt.steps(), ["no_relay", "heard"]);
    }
}

#[test]
fn it_may_be_taken_back() {
    let mut attempt = asked_two();
    attempt.machine.handle_cancelled();
    assert_eq!(attempt.end(), (Cancelled, String::new()));
    attempt.told("a", Acknowledged, T0 + 20);
    attempt.machine.handle_heard(&heard(T0 + 30, Some(1)), T0 + 40);
    attempt.machine.handle_timeout(T0 + 500_000);
    assert_eq!(attempt.actions(), [], "nothing comes after the end");
}

#[test]
fn a_short_timeout_leaves_no_time_for_more_rounds() {
    let mut attempt = Attempt::start(sleeper(false), PowerSettings { timeout_ms: 20_000, ..settings() });
    assert_eq!(attempt.found(&["a"], T0), ["a"]);
    attempt.wait_until(T0 + 3_000);
    assert_eq!(attempt.found(&[], T0 + 3_000), [""; 0]);
    attempt.wait_until(T0 + 20_000);
    let text = "did not come up within 20 s; a was asked to send, but none says that it did";
    assert_eq!(attempt.end(), (Failed, text.to_owned()));
}

#[test]
fn a_right_that_was_taken_away_asks_nobody_and_ends_only_what_was_not_sent() {
    let mut attempt = Attempt::start(sleeper(false), settings());
    assert_eq!(attempt.actions(), [PowerAction::FindRelays]);
    attempt.machine.handle_forbidden("no right".into(), T0 + 10);
    assert_eq!(attempt.end(), (Failed, "no right".to_owned()));
    assert_eq!((attempt.steps(), attempt.asked.len()), (vec!["no_relay".to_owned()], 0));

    let mut attempt = asked_two();
    attempt.told("a", Expired, T0 + 10);
    assert_eq!(attempt.actions(), [PowerAction::FindRelays]);
    attempt.machine.handle_forbidden("no right".into(), T0 + 20);
    attempt.machine.handle_candidates(crate::fixture::neighbours(&["c"]), T0 + 30);
    assert_eq!(attempt.actions(), [], "it may come up by what was sent");
    attempt.machine.handle_heard(&heard(T0 + 20_000, Some(5)), T0 + 20_100);
    assert_eq!(attempt.end().0, Done);
}
