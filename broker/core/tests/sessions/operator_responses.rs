//! Responses to an operator: at the quality it asked for, in order, and bounded.

use wakemq_core::packet::{Connect, QoS, ReasonCode, ServerPublish};
use wakemq_core::{OperatorAction, OperatorSession, Response};

use crate::fixture::{BOTH, V4, V5, connect, drain_operator, puback, sent, subscribed, unsubscribe};

const ALL: &str = "wake/v1/operators/console/responses/#";
const TOPIC: &str = "wake/v1/operators/console/responses/a";
/// Most responses that wait for a slow operator, as the session's documentation says.
const WAITING_MAX: usize = 10_000;

fn response() -> Response {
    Response { topic: TOPIC.into(), correlation_data: Some(b"job".to_vec()) }
}

fn payloads(session: &mut OperatorSession) -> Vec<(Option<u16>, u8)> {
    sent(session).iter().map(|publish| (publish.packet_id, publish.payload[0])).collect()
}

#[test]
fn a_response_goes_out_at_the_quality_of_the_subscription() {
    for level in BOTH {
        for (qos, packet_id) in
            [(QoS::AtMostOnce, None), (QoS::AtLeastOnce, Some(1)), (QoS::ExactlyOnce, Some(1))]
        {
            let mut session = subscribed(connect(level), &[(TOPIC, qos)]);
            session.handle_response(&response(), b"{}".to_vec());
            let expected = ServerPublish {
                topic: TOPIC.into(),
                payload: b"{}".to_vec(),
                packet_id,
                correlation_data: Some(b"job".to_vec()),
                ..ServerPublish::default()
            };
            assert_eq!(sent(&mut session), [expected]);
        }
    }
}

#[test]
fn of_overlapping_subscriptions_the_highest_quality_counts_and_it_comes_once() {
    let mut session = subscribed(connect(V5), &[(ALL, QoS::AtMostOnce), (TOPIC, QoS::AtLeastOnce)]);
    session.handle_response(&response(), b"x".to_vec());
    assert_eq!(payloads(&mut session), [(Some(1), b'x')]);
}

#[test]
fn the_same_filter_again_replaces_the_quality() {
    let mut session = subscribed(connect(V5), &[(TOPIC, QoS::AtLeastOnce), (TOPIC, QoS::AtMostOnce)]);
    session.handle_response(&response(), b"x".to_vec());
    assert_eq!(payloads(&mut session), [(None, b'x')]);
}

#[test]
fn without_a_subscription_nothing_is_sent() {
    let mut session = subscribed(connect(V5), &[("wake/v1/operators/console/responses/b", QoS::AtLeastOnce)]);
    session.handle_response(&response(), b"x".to_vec());
    assert_eq!(sent(&mut session), []);
    let mut session = subscribed(connect(V5), &[(ALL, QoS::AtLeastOnce)]);
    session.handle_packet(unsubscribe(2, &[ALL]), 0);
    drain_operator(&mut session);
    session.handle_response(&response(), b"x".to_vec());
    assert_eq!(sent(&mut session), []);
}

#[test]
fn no_more_is_in_flight_than_the_operator_takes() {
    for (receive_maximum, max) in [(1, 1), (2, 2), (65_535, 256)] {
        let mut session = subscribed(Connect { receive_maximum, ..connect(V5) }, &[(ALL, QoS::AtLeastOnce)]);
        for n in 0..=255_u8 {
            session.handle_response(&response(), vec![n]);
        }
        session.handle_response(&response(), vec![0]);
        assert_eq!(sent(&mut session).len(), max);
    }
}

#[test]
fn a_puback_makes_room_for_the_next_in_order() {
    let mut session = subscribed(Connect { receive_maximum: 1, ..connect(V5) }, &[(ALL, QoS::AtLeastOnce)]);
    (1..=3).for_each(|n| session.handle_response(&response(), vec![n]));
    assert_eq!(payloads(&mut session), [(Some(1), 1)]);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    assert_eq!(payloads(&mut session), [(Some(2), 2)]);
    session.handle_packet(puback(2, ReasonCode::UnspecifiedError), 0);
    assert_eq!(payloads(&mut session), [(Some(3), 3)], "an error is an acknowledgement too");
}

#[test]
fn an_operator_that_does_not_acknowledge_is_ended_at_a_bound() {
    let mut session = subscribed(Connect { receive_maximum: 1, ..connect(V5) }, &[(ALL, QoS::AtLeastOnce)]);
    for _ in 0..=WAITING_MAX {
        session.handle_response(&response(), vec![0]);
    }
    assert_eq!(sent(&mut session).len(), 1, "one is in flight, the others wait");
    session.handle_response(&response(), vec![0]);
    match &drain_operator(&mut session)[..] {
        [OperatorAction::Close(end)] => assert_eq!(end.reason, ReasonCode::QuotaExceeded),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_too_large_for_the_operator_is_warned_of_and_left_out() {
    // Header, topic, packet id, in 5 a length of properties and Correlation Data, payload.
    let sizes = [(V4, 1 + 1 + 2 + TOPIC.len() + 2 + 10), (V5, 1 + 1 + 2 + TOPIC.len() + 2 + 1 + 6 + 10)];
    for (level, size) in sizes {
        for (max, fits) in [(size, true), (size - 1, false)] {
            let maximum_packet_size = u32::try_from(max).ok();
            let connect = Connect { maximum_packet_size, ..connect(level) };
            let mut session = subscribed(connect, &[(ALL, QoS::AtLeastOnce)]);
            session.handle_response(&response(), vec![0; 10]);
            match &drain_operator(&mut session)[..] {
                [OperatorAction::Send(_)] => assert!(fits, "{level:?} {max}"),
                [OperatorAction::Warn(_)] => assert!(!fits, "{level:?} {max}"),
                other => panic!("{other:?}"),
            }
            session.handle_response(&response(), Vec::new());
            assert_eq!(sent(&mut session).len(), 1, "smaller ones still come");
        }
    }
}
