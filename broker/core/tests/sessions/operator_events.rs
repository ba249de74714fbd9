//! Events to an operator: numbered, at the quality it asked for, by its present rights, and bounded.

use wakemq_core::packet::{Connect, QoS, ReasonCode, ServerPacket, ServerPublish};
use wakemq_core::{Following, OperatorAction, OperatorSession, Response};
use wakemq_protocol::{Event, EventBody, EventNews, SecurityWhat, Timestamp, to_json};

use crate::fixture::{
    BOTH, V5, connect, drain_operator, operator, puback, rights, sent, subscribe, subscribed, unsubscribe,
};

const ALL: &str = "wake/v1/events/#";
const TOPIC: &str = "wake/v1/events/security/a";
const RESPONSE: &str = "wake/v1/operators/console/responses/a";
/// Most events that wait for a slow operator, as the session's documentation says.
const WAITING_MAX: usize = 1_000;

fn news() -> EventNews {
    EventNews {
        at: Timestamp::from_unix_ms(0),
        group: "a".parse().expect("a good group"),
        body: EventBody::Security {
            what: SecurityWhat::WrongSecrets,
            who: None,
            addresses: vec!["192.0.2.1".into()],
            detail: "{\"".into(),
        },
    }
}

/// The numbers of the events since the last look.
fn numbers(session: &mut OperatorSession) -> Vec<u64> {
    let number =
        |publish: ServerPublish| serde_json::from_slice::<Event>(&publish.payload).expect("an event").seq;
    sent(session).into_iter().map(number).collect()
}

fn event(session: &mut OperatorSession, topic: &str, lost: u64) {
    session.handle_event(topic, &to_json(&news()), lost);
}

fn following(filters: &[&str], scope: &str) -> OperatorAction {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    OperatorAction::Follow(Following { filters, scope: scope.parse().expect("a good group") })
}

#[test]
fn an_event_goes_out_with_its_number_in_front() {
    for level in BOTH {
        for (qos, packet_id) in [(QoS::AtMostOnce, None), (QoS::AtLeastOnce, Some(1))] {
            let mut session = subscribed(connect(level), &[(ALL, qos)]);
            event(&mut session, TOPIC, 0);
            let [publish] = &sent(&mut session)[..] else { panic!("not one") };
            assert_eq!((&*publish.topic, publish.packet_id), (TOPIC, packet_id));
            let told: Event = serde_json::from_slice(&publish.payload).unwrap();
            assert_eq!(told, Event { seq: 1, news: news() });
        }
    }
}

#[test]
fn numbers_leap_over_what_was_lost() {
    let mut session = subscribed(connect(V5), &[("wake/v1/events/security/a", QoS::AtMostOnce)]);
    event(&mut session, TOPIC, 0);
    event(&mut session, TOPIC, 3);
    event(&mut session, "wake/v1/events/security/b", 2);
    event(&mut session, TOPIC, 0);
    session.handle_events_lost(10);
    event(&mut session, TOPIC, 0);
    assert_eq!(
        numbers(&mut session),
        [1, 5, 8, 19],
        "what is not for it has no number, but may have lost some"
    );
}

#[test]
fn of_overlapping_subscriptions_the_highest_quality_counts_and_it_comes_once() {
    let filters =
        [(ALL, QoS::AtMostOnce), ("wake/v1/events/+/a/#", QoS::AtLeastOnce), (TOPIC, QoS::AtMostOnce)];
    let mut session = subscribed(connect(V5), &filters);
    event(&mut session, TOPIC, 0);
    event(&mut session, "wake/v1/events/security", 0);
    let ids: Vec<_> = sent(&mut session).iter().map(|publish| publish.packet_id).collect();
    assert_eq!(ids, [Some(1), None]);
}

#[test]
fn a_subscription_is_answered_once_the_events_are_followed() {
    let own = "wake/v1/operators/console/responses/#";
    let mut session = operator(connect(V5));
    session.handle_packet(subscribe(1, &[(own, QoS::AtLeastOnce), (ALL, QoS::AtMostOnce)]), 0);
    match &drain_operator(&mut session)[..] {
        [follow, OperatorAction::Send(ServerPacket::SubAck { reasons, .. })] => {
            assert_eq!(*follow, following(&[ALL], ""));
            assert_eq!(*reasons, [ReasonCode::GrantedQoS1, ReasonCode::Success]);
        }
        other => panic!("{other:?}"),
    }
    session.handle_packet(subscribe(2, &[(ALL, QoS::AtLeastOnce)]), 0);
    assert_eq!(drain_operator(&mut session).len(), 1, "the same again changes nothing");
    session.handle_packet(unsubscribe(3, &[own, ALL]), 0);
    match &drain_operator(&mut session)[..] {
        [follow, OperatorAction::Send(ServerPacket::UnsubAck { .. })] => {
            assert_eq!(*follow, following(&[], ""))
        }
        other => panic!("{other:?}"),
    }
    event(&mut session, TOPIC, 0);
    assert_eq!(sent(&mut session), []);
}

#[test]
fn rights_are_those_of_the_moment() {
    let mut session = subscribed(connect(V5), &[(ALL, QoS::AtMostOnce)]);
    session.handle_rights(rights(false, ""));
    assert_eq!(drain_operator(&mut session), [], "it looks where it did");
    event(&mut session, TOPIC, 0);
    session.handle_rights(rights(true, "a/paris"));
    assert_eq!(drain_operator(&mut session)[1..], [following(&[ALL], "a/paris")]);
    for topic in ["security", "security/a", "security/a/paris-2", "security/b"] {
        event(&mut session, &format!("wake/v1/events/{topic}"), 0);
    }
    assert_eq!(sent(&mut session), []);
    for topic in ["security/a/paris", "security/a/paris/floor-2"] {
        event(&mut session, &format!("wake/v1/events/{topic}"), 0);
    }
    assert_eq!(numbers(&mut session), [2, 3]);
    let mut session = operator(connect(V5));
    session.handle_rights(rights(true, "a"));
    assert_eq!(drain_operator(&mut session), [], "nothing is followed");
}

#[test]
fn a_right_to_command_may_come_and_go() {
    let mut session = operator(connect(V5));
    let mut submitted = || {
        let wanted = crate::fixture::publish("wake/v1/groups/commands", r#"{"kind":"wake"}"#, Some(9));
        session.handle_packet(wakemq_core::packet::ClientPacket::Publish(wanted), 0);
        let submitted =
            drain_operator(&mut session).iter().any(|action| matches!(action, OperatorAction::Submit(_)));
        session.handle_rights(rights(!submitted, ""));
        submitted
    };
    assert_eq!([submitted(), submitted(), submitted()], [true, false, true]);
}

#[test]
fn an_operator_that_does_not_acknowledge_loses_events_with_a_count_and_stays() {
    let connect = Connect { receive_maximum: 1, ..connect(V5) };
    let mut session = subscribed(connect, &[(ALL, QoS::AtLeastOnce), (RESPONSE, QoS::AtLeastOnce)]);
    (0..=WAITING_MAX).for_each(|_| event(&mut session, TOPIC, 0));
    assert_eq!(numbers(&mut session), [1], "one is in flight, the others wait");
    (0..5).for_each(|_| event(&mut session, TOPIC, 0));
    assert_eq!(sent(&mut session), [], "there is no room for them");
    let response = Response { topic: RESPONSE.into(), correlation_data: None };
    session.handle_response(&response, b"{}".to_vec());
    for number in 2..=WAITING_MAX as u64 + 1 {
        session
            .handle_packet(puback(if number == 2 { 1 } else { number as u16 - 1 }, ReasonCode::Success), 0);
        assert_eq!(numbers(&mut session), [number]);
    }
    let last = WAITING_MAX as u16 + 1;
    session.handle_packet(puback(last, ReasonCode::Success), 0);
    assert_eq!(sent(&mut session)[0].topic, RESPONSE, "responses have room of their own");
    session.handle_packet(puback(last + 1, ReasonCode::Success), 0);
    event(&mut session, TOPIC, 0);
    assert_eq!(numbers(&mut session), [WAITING_MAX as u64 + 7], "five numbers tell of the five");
}

#[test]
fn events_that_wait_have_a_bound_in_bytes_too() {
    let connect = Connect { receive_maximum: 1, ..connect(V5) };
    let mut session = subscribed(connect, &[(ALL, QoS::AtLeastOnce)]);
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(60_000));
    let room = (0..200).filter(|_| session.handle_event(TOPIC, body.as_bytes(), 0)).count();
    let mut got = 0;
    while let [publish] = &sent(&mut session)[..] {
        got += 1;
        session.handle_packet(puback(publish.packet_id.unwrap(), ReasonCode::Success), 0);
    }
    assert!(got == room && (60..=70).contains(&got), "{got} of {room}");
}

#[test]
fn an_event_that_is_too_large_for_the_operator_is_left_out_with_its_number() {
    let connect = Connect { maximum_packet_size: Some(400), ..connect(V5) };
    let mut session = subscribed(connect, &[(ALL, QoS::AtMostOnce)]);
    event(&mut session, TOPIC, 0);
    session.handle_event(TOPIC, format!("{{\"a\":\"{}\"}}", "x".repeat(400)).as_bytes(), 0);
    event(&mut session, TOPIC, 0);
    assert_eq!(numbers(&mut session), [1, 3]);
}
