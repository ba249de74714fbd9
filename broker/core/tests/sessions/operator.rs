//! What an operator may publish and subscribe to, and the order of what it is answered.

use wakemq_core::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, ServerPacket,
};
use wakemq_core::{End, OperatorAction, OperatorSession, Refusal, Response, SubmitRequest};
use wakemq_protocol::{Kind, Submission, Target};

use crate::fixture::{
    BOTH, KEEP_ALIVE_MAX_SECS, V4, V5, connect, drain_operator, operator, puback, publish, rights, subscribe,
    unsubscribe, will,
};

const COMMANDS: &str = "wake/v1/agents/printer-7/commands";
const WAKE: &str = r#"{"kind":"wake"}"#;

fn handle(session: &mut OperatorSession, publish: ClientPublish) -> Vec<OperatorAction> {
    session.handle_packet(ClientPacket::Publish(publish), 0);
    drain_operator(session)
}

fn handle_new(level: ProtocolLevel, publish: ClientPublish) -> Vec<OperatorAction> {
    handle(&mut operator(connect(level)), publish)
}

fn submit(
    level: ProtocolLevel,
    packet_id: Option<u16>,
    submission: Result<Submission, Refusal>,
) -> OperatorAction {
    OperatorAction::Submit(SubmitRequest {
        target: Target::Agent("printer-7".parse().expect("a good id")),
        submission,
        message_expiry_secs: None,
        response: None,
        packet_id,
        record_refusal: level == V4,
    })
}

fn puback_sent(packet_id: u16, reason: ReasonCode) -> OperatorAction {
    OperatorAction::Send(ServerPacket::PubAck { packet_id, reason, reason_string: None })
}

/// What a publish with packet id 9 was refused with; the rest has to be a warning.
fn refusal(actions: &[OperatorAction]) -> ReasonCode {
    match actions {
        [
            OperatorAction::Warn(_),
            OperatorAction::Send(ServerPacket::PubAck { packet_id: 9, reason, reason_string: Some(_) }),
        ] => *reason,
        other => panic!("{other:?}"),
    }
}

fn closing(actions: &[OperatorAction]) -> ReasonCode {
    match actions {
        [OperatorAction::Close(end)] => end.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_is_submitted_and_acknowledged_once_it_is_durable() {
    for level in BOTH {
        for packet_id in [Some(9), None] {
            let mut session = operator(connect(level));
            let actions = handle(&mut session, publish(COMMANDS, WAKE, packet_id));
            assert_eq!(actions, [submit(level, packet_id, Ok(Submission::new(Kind::Wake)))]);
            session.handle_submitted(vec![(packet_id, Ok(()))]);
            let expected: Vec<_> =
                packet_id.map(|packet_id| puback_sent(packet_id, ReasonCode::Success)).into_iter().collect();
            assert_eq!(drain_operator(&mut session), expected, "nothing answers QoS 0");
        }
    }
}

#[test]
fn message_expiry_and_response_topic_go_along() {
    let mut session = operator(connect(V5));
    let topic = "wake/v1/operators/console/responses/a/b".to_owned();
    let wanted = ClientPublish {
        message_expiry_secs: Some(30),
        response_topic: Some(topic.clone()),
        correlation_data: Some(vec![7; 128]),
        ..publish(COMMANDS, WAKE, Some(9))
    };
    match &handle(&mut session, wanted)[..] {
        [OperatorAction::Submit(request)] => {
            assert_eq!(request.message_expiry_secs, Some(30));
            let correlation_data = Some(vec![7; 128]);
            assert_eq!(request.response, Some(Response { topic, correlation_data }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_response_topic_that_is_not_the_operators_own_is_refused() {
    for foreign in [
        "wake/v1/operators/other/responses/a",
        "wake/v1/operators/console/responses/",
        "wake/v1/operators/console-2/responses/a",
        "wake/v1/agents/printer-7/commands",
        "home/lamp",
    ] {
        let wanted =
            ClientPublish { response_topic: Some(foreign.into()), ..publish(COMMANDS, WAKE, Some(9)) };
        assert_eq!(refusal(&handle_new(V5, wanted)), ReasonCode::NotAuthorized, "{foreign}");
    }
}

#[test]
fn correlation_data_has_at_most_128_bytes() {
    let wanted = ClientPublish {
        response_topic: Some("wake/v1/operators/console/responses/a".into()),
        correlation_data: Some(vec![7; 129]),
        ..publish(COMMANDS, WAKE, Some(9))
    };
    assert_eq!(refusal(&handle_new(V5, wanted)), ReasonCode::QuotaExceeded);
}

/// What is no good command, the reason, and whether it could be read.
const BAD: &[(&str, ReasonCode, bool)] = &[
    ("", ReasonCode::PayloadFormatInvalid, false),
    ("wake", ReasonCode::PayloadFormatInvalid, false),
    (r#"{"kind":"wake","ttl":2592001}"#, ReasonCode::PayloadFormatInvalid, false),
    (r#"{"kind":"power","ttl":0}"#, ReasonCode::ImplementationSpecificError, true),
    (r#"{"kind":"defragment"}"#, ReasonCode::ImplementationSpecificError, true),
    (r#"{"kind":"relay"}"#, ReasonCode::NotAuthorized, true),
];

#[test]
fn in_5_a_bad_command_is_refused_in_its_puback() {
    for (payload, reason, _) in BAD {
        assert_eq!(refusal(&handle_new(V5, publish(COMMANDS, payload, Some(9)))), *reason, "{payload}");
    }
}

#[test]
fn power_is_for_one_agent_and_takes_time() {
    for (topic, payload, message_expiry_secs, allowed) in [
        (COMMANDS, r#"{"kind":"power"}"#, None, true),
        (COMMANDS, r#"{"kind":"power","ttl":60}"#, Some(1), true),
        (COMMANDS, r#"{"kind":"power","ttl":60}"#, Some(0), false),
        (COMMANDS, r#"{"kind":"power","ttl":0}"#, None, false),
        ("wake/v1/groups/paris/commands", r#"{"kind":"power"}"#, None, false),
    ] {
        let publish = ClientPublish { message_expiry_secs, ..publish(topic, payload, Some(9)) };
        let actions = handle_new(V5, publish);
        if allowed {
            assert!(matches!(&actions[..], [OperatorAction::Submit(_)]), "{topic} {payload}: {actions:?}");
        } else {
            assert_eq!(refusal(&actions), ReasonCode::ImplementationSpecificError, "{topic} {payload}");
        }
    }
}

#[test]
fn in_3_1_1_a_bad_command_is_warned_of_recorded_and_acknowledged() {
    for (payload, reason, readable) in BAD {
        let mut session = operator(connect(V4));
        match &handle(&mut session, publish(COMMANDS, payload, Some(9)))[..] {
            [OperatorAction::Warn(_), OperatorAction::Submit(request)] => {
                let refusal = request.submission.as_ref().unwrap_err();
                assert_eq!((refusal.reason, refusal.submission.is_some()), (*reason, *readable), "{payload}");
                assert_eq!(request.packet_id, Some(9));
            }
            other => panic!("{payload}: {other:?}"),
        }
        session.handle_submitted(vec![(Some(9), Ok(()))]);
        assert_eq!(drain_operator(&mut session), [puback_sent(9, ReasonCode::Success)]);
    }
}

#[test]
fn what_a_payload_held_is_not_in_the_log() {
    for level in BOTH {
        let payload = r#"{"kind":"wake","priority":"hunter2"}"#;
        let actions = handle_new(level, publish(COMMANDS, payload, Some(9)));
        match &actions[0] {
            OperatorAction::Warn(text) => assert!(!text.contains("hunter2"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn groups_are_commanded_as_agents_are() {
    for (topic, group) in [("wake/v1/groups/commands", ""), ("wake/v1/groups/a/b/commands", "a/b")] {
        for level in BOTH {
            let actions = handle_new(level, publish(topic, WAKE, Some(9)));
            let [OperatorAction::Submit(request)] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!(request.target, Target::Group(group.parse().expect("a good path")), "{topic}");
        }
    }
}

#[test]
fn a_target_that_is_not_the_operators_is_foreign() {
    for level in BOTH {
        let mut session = operator(connect(level));
        handle(&mut session, publish("wake/v1/groups/b/commands", WAKE, Some(9)));
        let forbidden = Refusal::new(ReasonCode::NotAuthorized, "the group b is not yours to command");
        session.handle_submitted(vec![(Some(9), Err(forbidden))]);
        let actions = drain_operator(&mut session);
        match level {
            V4 => assert_eq!(closing(&actions), ReasonCode::NotAuthorized),
            V5 => assert_eq!(refusal(&actions), ReasonCode::NotAuthorized),
        }
    }
}

#[test]
fn a_foreign_publish_closes_in_3_1_1_alone() {
    for foreign in [
        "wake/v1/agents/printer-7/receipts",
        "wake/v1/operators/console/responses/a",
        "wake/v1/events/command/a",
        "home/lamp",
    ] {
        let wanted = publish(foreign, WAKE, Some(9));
        assert_eq!(refusal(&handle_new(V5, wanted.clone())), ReasonCode::NotAuthorized, "{foreign}");
        assert_eq!(closing(&handle_new(V4, wanted)), ReasonCode::NotAuthorized, "{foreign}");
    }
}

#[test]
fn a_viewer_commands_nobody() {
    let viewer = |level| {
        let eve = "eve".parse().unwrap();
        OperatorSession::new(eve, rights(false, ""), connect(level), KEEP_ALIVE_MAX_SECS, 0)
    };
    for topic in [COMMANDS, "wake/v1/groups/commands"] {
        let wanted = publish(topic, WAKE, Some(9));
        assert_eq!(refusal(&handle(&mut viewer(V5), wanted.clone())), ReasonCode::NotAuthorized);
        assert_eq!(closing(&handle(&mut viewer(V4), wanted)), ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_refusal_of_the_engines_is_told_and_warned_of() {
    let mut session = operator(connect(V5));
    let refused = Refusal::new(ReasonCode::QuotaExceeded, "100 commands are pending for this agent");
    session.handle_submitted(vec![(Some(9), Err(refused.clone()))]);
    assert_eq!(refusal(&drain_operator(&mut session)), ReasonCode::QuotaExceeded);
    session.handle_submitted(vec![(None, Err(refused))]);
    assert!(matches!(drain_operator(&mut session)[..], [OperatorAction::Warn(_)]), "nothing answers QoS 0");
}

#[test]
fn pubacks_keep_the_order_of_the_publishes() {
    let mut session = operator(connect(V5));
    for (packet_id, payload) in [(1, WAKE), (2, WAKE), (3, "bad"), (4, WAKE)] {
        session.handle_packet(ClientPacket::Publish(publish(COMMANDS, payload, Some(packet_id))), 0);
    }
    // As the broker does: gather submissions, and answer them before anything else.
    let mut batch = Vec::new();
    let mut sent = Vec::new();
    loop {
        let action = session.poll_action();
        match action {
            Some(OperatorAction::Submit(request)) => batch.push(request.packet_id),
            None if batch.is_empty() => break,
            other if !batch.is_empty() => {
                other.into_iter().for_each(|action| session.put_back(action));
                session.handle_submitted(batch.drain(..).map(|packet_id| (packet_id, Ok(()))).collect());
            }
            Some(OperatorAction::Send(ServerPacket::PubAck { packet_id, reason, .. })) => {
                sent.push((packet_id, reason.is_error()));
            }
            other => assert!(matches!(other, Some(OperatorAction::Warn(_))), "{other:?}"),
        }
    }
    assert_eq!(sent, [(1, false), (2, false), (3, true), (4, false)]);
}

#[test]
fn a_store_that_cannot_write_is_told_in_5_and_closes_in_3_1_1() {
    let mut session = operator(connect(V5));
    session.handle_store_failed(vec![Some(1), None, Some(2)]);
    let told: Vec<_> = drain_operator(&mut session)
        .into_iter()
        .map(|action| match action {
            OperatorAction::Send(ServerPacket::PubAck { packet_id, reason, reason_string: Some(_) }) => {
                (packet_id, reason)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let failed = ReasonCode::ImplementationSpecificError;
    assert_eq!(told, [(1, failed), (2, failed)]);
    let mut session = operator(connect(V4));
    session.handle_packet(ClientPacket::PingReq, 0);
    session.handle_store_failed(vec![Some(1), Some(2)]);
    match &drain_operator(&mut session)[..] {
        [OperatorAction::Close(end), ..] => assert_eq!(end.reason, ReasonCode::ServerUnavailable),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_filter_gets_its_own_answer() {
    use ReasonCode::*;
    for level in BOTH {
        for (filter, qos, reason) in [
            ("wake/v1/operators/console/responses/a", QoS::AtMostOnce, Success),
            ("wake/v1/operators/console/responses/a", QoS::AtLeastOnce, GrantedQoS1),
            ("wake/v1/operators/console/responses/#", QoS::ExactlyOnce, GrantedQoS1),
            ("wake/v1/operators/console/responses/+/b", QoS::AtLeastOnce, GrantedQoS1),
            ("wake/v1/operators/+/responses/a", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/operators/console-2/responses/a", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/operators/other/responses/#", QoS::AtLeastOnce, NotAuthorized),
            (COMMANDS, QoS::AtLeastOnce, NotAuthorized),
            ("#", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/events", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/#", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/+/command", QoS::AtLeastOnce, NotAuthorized),
            ("$share/a/wake/v1/events/#", QoS::AtLeastOnce, SharedSubscriptionsNotSupported),
        ] {
            let mut session = operator(connect(level));
            session.handle_packet(subscribe(5, &[(filter, qos)]), 0);
            match &drain_operator(&mut session)[..] {
                [OperatorAction::Send(ServerPacket::SubAck { packet_id: 5, reasons, reason_string })] => {
                    assert_eq!(*reasons, [reason], "{filter}");
                    assert_eq!(reason_string.is_some(), reason.is_error(), "{filter}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_subscription_identifier_is_refused() {
    let own = "wake/v1/operators/console/responses/#";
    let ClientPacket::Subscribe(mut wanted) = subscribe(5, &[(own, QoS::AtLeastOnce)]) else {
        unreachable!()
    };
    wanted.subscription_id = Some(1);
    let mut session = operator(connect(V5));
    session.handle_packet(ClientPacket::Subscribe(wanted), 0);
    match &drain_operator(&mut session)[..] {
        [OperatorAction::Send(ServerPacket::SubAck { reasons, .. })] => {
            assert_eq!(*reasons, [ReasonCode::SubscriptionIdentifiersNotSupported]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_seventeenth_subscription_is_too_many_and_the_same_again_is_not() {
    let mut session = operator(connect(V5));
    let filter = |n: u16| format!("wake/v1/operators/console/responses/{n}");
    let mut reason = |n: u16| {
        session.handle_packet(subscribe(5, &[(&filter(n), QoS::AtLeastOnce)]), 0);
        match &drain_operator(&mut session)[..] {
            [OperatorAction::Send(ServerPacket::SubAck { reasons, .. })] => reasons[0],
            other => panic!("{other:?}"),
        }
    };
    for n in 0..16 {
        assert_eq!(reason(n), ReasonCode::GrantedQoS1);
    }
    assert_eq!(reason(3), ReasonCode::GrantedQoS1);
    assert_eq!(reason(16), ReasonCode::QuotaExceeded);
    session.handle_packet(unsubscribe(6, &[&filter(3), &filter(16)]), 0);
    let reasons = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let unsuback = OperatorAction::Send(ServerPacket::UnsubAck { packet_id: 6, reasons });
    assert_eq!(drain_operator(&mut session), [unsuback]);
}

#[test]
fn an_eviction_closes_with_its_reason() {
    let mut session = operator(connect(V5));
    let end = End::new(ReasonCode::SessionTakenOver, "another connection has this client id");
    session.handle_evicted(end.clone());
    assert_eq!(drain_operator(&mut session), [OperatorAction::Close(end)]);
}

/// Ends a session that has a will, and returns what is left to do.
fn last_will(level: ProtocolLevel, topic: &str, said: Option<ReasonCode>) -> Vec<OperatorAction> {
    let mut session = operator(Connect { will: Some(will(topic, WAKE)), ..connect(level) });
    if let Some(reason) = said {
        session.handle_packet(ClientPacket::Disconnect { reason, session_expiry_secs: None }, 0);
        assert_eq!(closing(&drain_operator(&mut session)), ReasonCode::Success);
    }
    session.handle_closed();
    drain_operator(&mut session)
}

#[test]
fn a_will_is_submitted_unless_the_client_said_goodbye() {
    for level in BOTH {
        let submitted = [submit(level, None, Ok(Submission::new(Kind::Wake)))];
        assert_eq!(last_will(level, COMMANDS, None), submitted);
        assert_eq!(last_will(level, COMMANDS, Some(ReasonCode::Success)), []);
    }
    let submitted = [submit(V5, None, Ok(Submission::new(Kind::Wake)))];
    assert_eq!(last_will(V5, COMMANDS, Some(ReasonCode::DisconnectWithWill)), submitted);
}

#[test]
fn a_wills_topic_is_authorised_again_when_it_is_published() {
    for level in BOTH {
        let left = last_will(level, "home/lamp", None);
        assert!(!left.iter().any(|action| matches!(action, OperatorAction::Submit(_))), "{left:?}");
    }
}

#[test]
fn a_puback_for_nothing_closes() {
    for level in BOTH {
        let mut session = operator(connect(level));
        session.handle_packet(puback(1, ReasonCode::Success), 0);
        assert_eq!(closing(&drain_operator(&mut session)), ReasonCode::ProtocolError);
    }
}
