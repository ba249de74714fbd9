//! What an operator is told of an endpoint that is to be switched on.

use wakemq_core::power::{Place, PowerCase, Unfit, explain};
use wakemq_protocol::Timestamp;
use wakemq_protocol::http::PowerView;

use crate::fixture::{neighbours, place};

fn case(place: &Place) -> PowerCase<'_> {
    PowerCase {
        place,
        connected: false,
        last_seen: Some(Timestamp::from_unix_ms(0)),
        now: Timestamp::from_unix_ms(3 * 3_600_000),
        neighbours: &[],
        unfit: &[],
        broker_addresses: &[],
    }
}

fn says(view: &PowerView, texts: &[&str]) {
    let said: Vec<_> = view.findings.iter().chain(&view.advice).collect();
    for text in texts {
        assert!(said.iter().any(|sentence| sentence.contains(text)), "{text:?} is not in {said:#?}");
    }
}

#[test]
fn what_can_be_woken_by_whom() {
    let place = place("till-4", 7);
    let view = explain(&PowerCase { neighbours: &neighbours(&["w1", "b"]), ..case(&place) });
    assert!(view.can_wake && !view.connected);
    assert_eq!(view.relays.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "w1"]);
    assert_eq!(
        view.findings,
        [
            "till-4 is not connected; it was last seen 3 hours ago, at 1970-01-01T00:00:00Z.",
            "A magic packet would carry its wired MAC 00:16:3e:00:01:07.",
            "It was last on 192.168.1.0/24; the broker saw it behind 203.0.113.7.",
            "2 awake agents may send for it: b (wired) and w1 (wireless).",
        ]
    );
    assert_eq!(view.advice, [""; 0]);
}

#[test]
fn the_only_relay_may_go() {
    let place = place("till-4", 7);
    let view = explain(&PowerCase { neighbours: &neighbours(&["b"]), ..case(&place) });
    says(
        &view,
        &["One awake agent may send for it: b (wired).", "Keep a second one awake on 192.168.1.0/24"],
    );
}

#[test]
fn without_a_relay_it_says_who_does_not_fit_and_what_to_do() {
    let place = place("till-4", 7);
    let unfit =
        [("till-5".parse().unwrap(), Unfit::DoesNotRelay), ("till-6".parse().unwrap(), Unfit::OtherSubnet)];
    let view = explain(&PowerCase { unfit: &unfit, ..case(&place) });
    assert!(!view.can_wake);
    says(
        &view,
        &[
            "No awake agent may send for it.",
            "till-5 is awake, but it does not relay",
            "till-6 is awake, but it is on no subnet of the endpoint.",
            "Let the agent of till-5 relay",
            "Keep an endpoint with an agent awake on 192.168.1.0/24.",
            "[wol] addresses = [\"192.168.1.255\"]",
        ],
    );
    let addresses = ["10.0.5.255:9".to_owned()];
    let view = explain(&PowerCase { broker_addresses: &addresses, ..case(&place) });
    assert!(view.can_wake);
    says(&view, &["The broker would send itself, to 10.0.5.255:9."]);
}

#[test]
fn what_is_not_known_is_said() {
    let unseen = Place { source: None, interfaces: Vec::new(), ..place("till-4", 7) };
    let view = explain(&PowerCase { last_seen: None, ..case(&unseen) });
    assert!(!view.can_wake);
    says(&view, &["has never connected", "Switch it on by hand and let its agent connect once"]);
    says(&explain(&case(&unseen)), &["its agent tells of no interfaces", "Update its agent"]);

    let mut random = place("till-4", 7);
    random.interfaces[0].mac = "02:00:00:00:00:01".parse().unwrap();
    let view = explain(&PowerCase { neighbours: &neighbours(&["b"]), ..case(&random) });
    assert!(!view.can_wake);
    says(&view, &["02:00:00:00:00:01 cannot wake it", "Switch off random hardware addresses"]);

    let mut lost = place("till-4", 7);
    lost.interfaces[0].gateway_mac = None;
    says(&explain(&case(&lost)), &["Nothing tells its 192.168.1.0/24 from the same numbers elsewhere"]);
}

#[test]
fn who_is_connected_looks_up() {
    let place = place("till-4", 7);
    let view = explain(&PowerCase { connected: true, ..case(&place) });
    assert!(view.connected && view.findings[0] == "till-4 is connected: it looks up.");
}

#[test]
fn at_most_ten_relays_are_named() {
    let place = place("till-4", 7);
    let names: Vec<_> = (10..23).map(|n| format!("r{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let view = explain(&PowerCase { neighbours: &neighbours(&names), ..case(&place) });
    assert_eq!(view.relays.len(), 10);
    says(&view, &["13 awake agents may send for it:", "and 3 more."]);
}
