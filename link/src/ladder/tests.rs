//! The rules of climbing, one by one.

use std::collections::VecDeque;

use super::*;
use crate::{Backoff, Ladder, NetworkKey};
use ClimberAction::{Cancel, Check, Connect, Dial, GiveUp, Move, Probe};

const HOUR_MS: u64 = 3_600_000;
const LOST: Lost = Lost::Ended { return_secs: 60 };

fn ways(hosts: &[&str], proxy: ProxyUse) -> Ways {
    Ways::new(&Ladder::parse(hosts).unwrap(), proxy)
}

fn names(ways: &Ways) -> Vec<String> {
    ways.ids().map(|id| ways.get(id).to_string()).collect()
}

fn network(number: u8) -> Option<NetworkKey> {
    Some(NetworkKey::new(Some(wakemq_protocol::MacAddr::new([0, 0x16, 0x3e, 0, 0, number])), None))
}

/// A climber, with the ids of its ways and what it wants.
struct Test {
    climber: Climber,
    ids: Vec<WayId>,
}

/// Half of what is possible, in all waits.
fn at(now_ms: u64) -> Moment {
    Moment { now_ms, random: 0.5 }
}

impl Test {
    /// Starts a climber of MQTT to 8883 and 443, WebSocket and long poll, at 0.
    fn start(proxy: ProxyUse, worked: Option<usize>) -> Self {
        let ways = ways(&["broker"], proxy);
        let ids: Vec<_> = ways.ids().collect();
        let mut climber = Climber::new(ways, Backoff::default());
        climber.handle_start(network(1), worked.map(|index| ids[index]), at(0));
        Self { climber, ids }
    }

    /// A climber that is connected by this way since 0.
    fn connected(index: usize) -> Self {
        let mut test = Self::start(ProxyUse::None, Some(index));
        let way = test.ids[index];
        test.climber.handle_up(way, at(0));
        test.climber.handle_connected(way, at(0));
        assert_eq!(test.actions(), [Dial(way), Connect(way)]);
        test
    }

    fn actions(&mut self) -> Vec<ClimberAction> {
        std::iter::from_fn(|| self.climber.poll_action()).collect()
    }

    fn up(&mut self, index: usize, now_ms: u64) -> Vec<ClimberAction> {
        self.climber.handle_up(self.ids[index], at(now_ms));
        self.actions()
    }

    fn failed(&mut self, index: usize, failure: Failure, now_ms: u64) -> Vec<ClimberAction> {
        self.climber.handle_failed(self.ids[index], failure, at(now_ms));
        self.actions()
    }

    /// Lets time pass to the next timer, which is due then.
    fn timer(&mut self, now_ms: u64) -> Vec<ClimberAction> {
        assert_eq!(self.climber.poll_timeout(), Some(now_ms));
        self.climber.handle_timeout(at(now_ms));
        self.actions()
    }
}

#[test]
fn the_ways_are_listed_from_the_best_to_the_worst() {
    assert_eq!(
        names(&ways(&["broker"], ProxyUse::None)),
        ["mqtt broker:8883", "mqtt broker:443", "websocket broker:443", "poll broker:443"]
    );
    assert_eq!(
        names(&ways(&["broker"], ProxyUse::First)),
        [
            "mqtt broker:443 proxied",
            "mqtt broker:8883 proxied",
            "websocket broker:443 proxied",
            "poll broker:443 proxied",
            "mqtt broker:8883",
            "mqtt broker:443",
            "websocket broker:443",
            "poll broker:443",
        ]
    );
    assert_eq!(names(&ways(&["broker"], ProxyUse::Last))[..2], ["mqtt broker:8883", "mqtt broker:443"]);
    assert!(names(&ways(&["broker"], ProxyUse::Only)).iter().all(|name| name.ends_with(" proxied")));
    assert_eq!(
        names(&ways(&["a:8883", "a:443", "b:1883"], ProxyUse::None)),
        [
            "mqtt a:8883",
            "mqtt a:443",
            "mqtt b:1883",
            "websocket a:443",
            "websocket b:1883",
            "poll a:443",
            "poll b:1883",
        ]
    );
}

#[test]
fn ways_are_found_by_what_they_print() {
    let ways = ways(&["[fd00::1]", "broker:1"], ProxyUse::First);
    for id in ways.ids() {
        assert_eq!(ways.find(&ways.get(id).to_string()), Some(id));
    }
    assert_eq!(ways.find("mqtt elsewhere:443"), None);
}

#[test]
fn ways_start_3_s_apart_and_the_first_that_is_up_sends_connect() {
    let mut test = Test::start(ProxyUse::None, None);
    let [a, b, c, _] = test.ids[..] else { panic!() };
    assert_eq!(test.actions(), [Dial(a)]);
    assert_eq!(test.timer(3_000), [Dial(b)]);
    assert_eq!(test.timer(6_000), [Dial(c)]);
    assert_eq!(test.up(1, 6_500), [Connect(b)]);
    test.climber.handle_connected(b, at(6_600));
    assert_eq!(test.actions(), [Cancel(a), Cancel(c)]);
    assert_eq!(test.climber.connected(), Some(b));
}

#[test]
fn what_worked_last_here_is_tried_first() {
    let mut test = Test::start(ProxyUse::None, Some(2));
    let [a, b, c, d] = test.ids[..] else { panic!() };
    assert_eq!(test.actions(), [Dial(c)]);
    assert_eq!(test.failed(2, Failure::Way, 10), [Dial(a)]);
    assert_eq!(test.failed(0, Failure::Way, 20), [Dial(b)]);
    assert_eq!(test.failed(1, Failure::Way, 30), [Dial(d)]);
}

#[test]
fn a_door_that_is_closed_is_closed_for_every_transport() {
    let mut test = Test::start(ProxyUse::None, None);
    let [a, b, ..] = test.ids[..] else { panic!() };
    assert_eq!(test.actions(), [Dial(a)]);
    assert_eq!(test.failed(0, Failure::Door, 10), [Dial(b)]);
    assert_eq!(test.failed(1, Failure::Door, 20), [], "neither WebSocket nor long poll is tried");
    assert_eq!(test.climber.resting_until_ms(), Some(520));
}

#[test]
fn a_proxy_that_is_at_fault_ends_what_goes_through_it() {
    let mut test = Test::start(ProxyUse::First, None);
    test.actions();
    assert_eq!(test.failed(0, Failure::Proxy, 10), [Dial(test.ids[4])]);
}

#[test]
fn one_connect_is_outstanding_and_the_next_comes_5_s_later() {
    let mut test = Test::start(ProxyUse::None, None);
    let [a, b, c, _] = test.ids[..] else { panic!() };
    assert_eq!(test.actions(), [Dial(a)]);
    assert_eq!(test.up(0, 100), [Connect(a)]);
    assert_eq!(test.timer(3_000), [Dial(b)]);
    assert_eq!(test.up(1, 3_100), []);
    assert_eq!(test.timer(5_100), [Cancel(a), Dial(c), Connect(b)]);
    // It breaks: the next waits for its turn all the same.
    assert_eq!(test.up(2, 5_200), []);
    let [.., d] = test.ids[..] else { panic!() };
    assert_eq!(test.failed(1, Failure::Way, 5_300), [Dial(d)]);
    assert_eq!(test.timer(10_100), [Connect(c)]);
    test.climber.handle_connected(c, at(10_200));
    assert_eq!(test.actions(), [Cancel(d)]);
}

#[test]
fn without_another_way_connect_may_take_10_s() {
    let mut test = Test::start(ProxyUse::None, None);
    for index in 0..3 {
        test.failed(index, Failure::Way, 10);
    }
    assert_eq!(test.up(3, 20), [Connect(test.ids[3])]);
    assert_eq!(test.timer(10_020), [Cancel(test.ids[3])]);
    assert_eq!(test.climber.resting_until_ms(), Some(10_520));
}

#[test]
fn connects_keep_their_distance_over_networks_too() {
    let mut test = Test::start(ProxyUse::None, None);
    let a = test.ids[0];
    assert_eq!(test.up(0, 100), [Dial(a), Connect(a)]);
    test.climber.handle_network(network(2), None, at(1_000));
    assert_eq!(test.actions(), [Cancel(a), Dial(a)]);
    assert_eq!(test.up(0, 1_100), []);
    test.climber.handle_timeout(at(5_100));
    assert!(test.actions().contains(&Connect(a)));
}

#[test]
fn a_way_that_says_nothing_ends_after_20_s_and_rounds_become_rare() {
    let mut test = Test::start(ProxyUse::None, None);
    let mut now_ms = 0;
    let mut waits = Vec::new();
    for _ in 0..11 {
        while test.climber.resting_until_ms().is_none() {
            now_ms = test.climber.poll_timeout().unwrap();
            test.climber.handle_timeout(at(now_ms));
        }
        assert_eq!(test.actions().len(), 8);
        let until_ms = test.climber.resting_until_ms().unwrap();
        waits.push(until_ms - now_ms);
        now_ms = until_ms;
        test.climber.handle_timeout(at(now_ms));
    }
    assert_eq!(waits[..4], [500, 1_000, 2_000, 4_000]);
    assert_eq!(waits[10], 150_000);
}

#[test]
fn a_better_way_is_probed_every_hour_and_only_success_moves() {
    let mut test = Test::connected(2);
    let [a, b, c, _] = test.ids[..] else { panic!() };
    let due_ms = HOUR_MS + HOUR_MS / 20;
    assert_eq!(test.timer(due_ms), [Probe(a)]);
    assert_eq!(test.timer(due_ms + 20_000), [Cancel(a), Probe(b)]);
    assert_eq!(test.failed(1, Failure::Door, due_ms + 20_100), []);
    assert_eq!(test.climber.connected(), Some(c));
    assert_eq!(test.timer(2 * due_ms), [Probe(a)]);
    assert_eq!(test.up(0, 2 * due_ms + 50), [Move(a)]);
    assert_eq!(test.climber.connected(), None);
    test.climber.handle_connected(a, at(2 * due_ms + 60));
    assert_eq!(test.climber.connected(), Some(a));
    assert_eq!(test.climber.poll_timeout(), None, "there is nothing better");
}

#[test]
fn nothing_is_probed_while_the_connection_may_be_dead() {
    let due_ms = HOUR_MS + HOUR_MS / 20;
    let mut test = Test::connected(1);
    let [a, b, ..] = test.ids[..] else { panic!() };
    assert_eq!(test.timer(due_ms), [Probe(a)]);
    test.climber.handle_network(network(1), None, at(due_ms + 10));
    assert_eq!(test.actions(), [Check, Cancel(a)]);
    assert_eq!(test.up(0, due_ms + 20), []);
    assert_eq!(test.timer(due_ms + 1_010), [GiveUp, Dial(b)]);

    // The network is told first, then the timer fires that was due while the machine was suspended.
    let mut test = Test::connected(1);
    test.climber.handle_network(network(1), None, at(5 * HOUR_MS));
    test.climber.handle_timeout(at(5 * HOUR_MS));
    assert_eq!(test.actions(), [Check]);
    test.climber.handle_alive();
    test.climber.handle_timeout(at(5 * HOUR_MS));
    assert_eq!(test.actions(), [], "the resume may be told yet");
    assert_eq!(test.timer(5 * HOUR_MS + 2_000), [Probe(a)]);
}

#[test]
fn a_move_that_fails_leads_back_at_once_and_is_not_tried_for_six_hours() {
    let mut test = Test::connected(1);
    let [a, b, ..] = test.ids[..] else { panic!() };
    let due_ms = HOUR_MS + HOUR_MS / 20;
    assert_eq!(test.timer(due_ms), [Probe(a)]);
    assert_eq!(test.up(0, due_ms + 50), [Move(a)]);
    assert_eq!(test.failed(0, Failure::Way, due_ms + 60), [Dial(b)]);
    assert_eq!(test.up(1, due_ms + 160), [], "CONNECT keeps its distance");
    test.climber.handle_timeout(at(due_ms + 5_050));
    assert!(test.actions().contains(&Connect(b)));
    let back_ms = due_ms + 5_100;
    test.climber.handle_connected(b, at(back_ms));
    test.actions();
    let mut now_ms = back_ms;
    for _ in 0..5 {
        now_ms += due_ms;
        assert_eq!(test.timer(now_ms), [], "it is left alone");
    }
    assert_eq!(test.timer(now_ms + due_ms), [Probe(a)]);
}

#[test]
fn a_way_is_not_to_blame_where_no_other_leads_to_the_broker() {
    let mut test = Test::connected(1);
    let [a, b, c, _] = test.ids[..] else { panic!() };
    test.climber.handle_lost(LOST, at(100_000));
    test.timer(130_000);
    assert_eq!(test.up(1, 130_010), [Connect(b)]);
    for index in [1, 0, 2, 3] {
        test.failed(index, Failure::Way, 130_020);
    }
    let again_ms = test.climber.resting_until_ms().unwrap();
    assert_eq!(test.timer(again_ms), [Dial(b)]);
    test.failed(1, Failure::Way, 136_000);
    test.failed(0, Failure::Way, 136_000);
    assert_eq!(test.up(2, 136_000), [Connect(c)]);
    test.climber.handle_connected(c, at(136_000));
    assert_eq!(test.timer(136_000 + HOUR_MS + HOUR_MS / 20), [Probe(a)]);
    assert_eq!(test.failed(0, Failure::Way, 5_000_000), [Probe(b)]);
}

#[test]
fn a_lost_connection_comes_back_as_the_broker_advised() {
    let mut test = Test::connected(0);
    test.climber.handle_lost(LOST, at(100_000));
    assert_eq!(test.climber.resting_until_ms(), Some(130_000));
    assert_eq!(test.timer(130_000), [Dial(test.ids[0])]);
}

#[test]
fn who_was_taken_over_waits_unless_it_was_an_echo_of_its_own() {
    let mut test = Test::connected(0);
    test.climber.handle_lost(Lost::TakenOver, at(100_000));
    assert_eq!(test.climber.resting_until_ms(), Some(160_000));

    let mut test = Test::start(ProxyUse::None, None);
    test.up(0, 100);
    test.timer(3_000);
    test.up(1, 3_100);
    test.timer(5_100);
    test.climber.handle_connected(test.ids[1], at(5_200));
    test.climber.handle_lost(Lost::TakenOver, at(6_000));
    assert_eq!(test.climber.resting_until_ms(), Some(6_500));
}

#[test]
fn a_refusal_ends_the_round_and_is_not_the_ways_fault() {
    for (refusal, wait_ms) in [
        (Refusal::ForGood, 225_000),
        (Refusal::Later { return_secs: None }, 500),
        (Refusal::Later { return_secs: Some(90) }, 45_000),
    ] {
        let mut test = Test::start(ProxyUse::None, None);
        let [a, b, ..] = test.ids[..] else { panic!() };
        test.up(0, 100);
        assert_eq!(test.timer(3_000), [Dial(b)]);
        test.climber.handle_refused(a, refusal, at(3_100));
        assert_eq!(test.actions(), [Cancel(b)]);
        assert_eq!(test.climber.resting_until_ms(), Some(3_100 + wait_ms), "{refusal:?}");
    }
    let mut test = Test::connected(0);
    test.climber.handle_refused(test.ids[0], Refusal::ForGood, at(10));
    assert_eq!(test.climber.resting_until_ms(), Some(225_010), "what comes after CONNECT may be refused too");
}

#[test]
fn the_same_network_that_comes_back_has_a_second_to_prove_that_the_connection_lives() {
    let mut test = Test::connected(0);
    test.climber.handle_network(None, None, at(10_000));
    assert_eq!(test.actions(), []);
    test.climber.handle_network(network(1), None, at(20_000));
    assert_eq!(test.actions(), [Check]);
    test.climber.handle_alive();
    assert_eq!(test.climber.poll_timeout(), None);
    test.climber.handle_network(network(1), None, at(30_000));
    assert_eq!(test.actions(), [Check]);
    assert_eq!(test.timer(31_000), [GiveUp, Dial(test.ids[0])]);
}

#[test]
fn another_network_gives_up_what_there_is_and_tries_what_worked_there() {
    let mut test = Test::connected(0);
    test.climber.handle_network(network(2), Some(test.ids[3]), at(10_000));
    assert_eq!(test.actions(), [GiveUp, Dial(test.ids[3])]);
    // The same again is no news.
    test.climber.handle_network(network(2), Some(test.ids[3]), at(10_500));
    assert_eq!(test.actions(), []);
}

#[test]
fn a_network_that_comes_while_resting_is_tried_at_once_with_a_new_back_off() {
    let mut test = Test::connected(0);
    test.climber.handle_refused(test.ids[0], Refusal::ForGood, at(10));
    test.climber.handle_network(network(2), None, at(10_000));
    assert_eq!(test.actions(), [Dial(test.ids[0])]);
    for index in 0..4 {
        test.failed(index, Failure::Way, 10_010);
    }
    assert_eq!(test.climber.resting_until_ms(), Some(10_510));
}

#[test]
fn a_resume_gives_up_what_there_is() {
    let mut test = Test::connected(0);
    test.climber.handle_resumed(at(9_000_000));
    assert_eq!(test.actions(), [GiveUp, Dial(test.ids[0])]);
}

#[test]
fn what_came_after_the_resume_is_not_given_up_when_that_is_told() {
    let mut test = Test::connected(0);
    let a = test.ids[0];
    test.climber.handle_network(network(2), None, at(9_000_000));
    assert_eq!(test.actions(), [GiveUp, Dial(a)]);
    assert_eq!(test.up(0, 9_000_300), [Connect(a)]);
    test.climber.handle_resumed(at(9_001_500));
    assert_eq!(test.actions(), [], "the CONNECT would hold up the next");
    test.climber.handle_connected(a, at(9_001_600));
    test.climber.handle_resumed(at(9_001_700));
    assert_eq!(test.actions(), [Check], "it is young enough to live, and has to show it");
    assert_eq!(test.timer(9_002_700), [GiveUp, Dial(a)]);
    test.climber.handle_resumed(at(9_004_700));
    assert_eq!(test.actions(), [Cancel(a), Dial(a)], "this round is from before");
}

#[test]
fn a_network_that_flaps_does_not_make_a_storm() {
    let mut test = Test::connected(0);
    let mut dialled = Vec::new();
    let mut flaps = VecDeque::from_iter((0..300).map(|n| 1_000_000 + n * 1_000));
    while let Some(flap_ms) = flaps.pop_front() {
        while let Some(due_ms) = test.climber.poll_timeout().filter(|due_ms| *due_ms < flap_ms) {
            test.climber.handle_timeout(at(due_ms));
            dialled
                .extend(test.actions().iter().filter(|action| **action == Dial(test.ids[0])).map(|_| due_ms));
        }
        let number = u8::try_from(flap_ms / 1_000 % 2).unwrap();
        test.climber.handle_network(network(number + 10), None, at(flap_ms));
        dialled.extend(test.actions().iter().filter(|action| **action == Dial(test.ids[0])).map(|_| flap_ms));
    }
    let expected = 2 + 300 / 20;
    assert!(dialled.len().abs_diff(expected) <= 1, "{dialled:?}");
}

#[test]
fn what_comes_late_changes_nothing() {
    let mut test = Test::connected(0);
    for index in [1, 2] {
        assert_eq!(test.up(index, 10), []);
        assert_eq!(test.failed(index, Failure::Door, 10), []);
        test.climber.handle_connected(test.ids[index], at(10));
        test.climber.handle_refused(test.ids[index], Refusal::ForGood, at(10));
    }
    assert_eq!(test.climber.connected(), Some(test.ids[0]));
    test.climber.handle_lost(LOST, at(20));
    let until_ms = test.climber.resting_until_ms();
    test.climber.handle_lost(LOST, at(30));
    test.climber.handle_alive();
    assert_eq!(test.climber.resting_until_ms(), until_ms);
}
