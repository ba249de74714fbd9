//! An agent's subscriptions, publishes, and how its session ends.

use wakemq_core::packet::{ClientPacket, QoS, ReasonCode, ServerPacket};
use wakemq_core::{AgentAction, AgentSession, End};
use wakemq_protocol::limits::AGENT_PUBLISHES_PER_SEC;
use wakemq_protocol::{Facts, ReceiptState, Report};

use crate::fixture::{
    BOTH, V4, V5, agent, command_id, connect, drain_agent, puback, publish, subscribe, unsubscribe, will,
};

const OWN: &str = "wake/v1/agents/printer-7/commands";
const RECEIPTS: &str = "wake/v1/agents/Printer-7/receipts";
const FACTS: &str = "wake/v1/agents/Printer-7/facts";

fn receipt_json() -> String {
    format!(r#"{{"id":"{}","state":"done"}}"#, command_id(1))
}

fn handle(session: &mut AgentSession, packet: ClientPacket) -> Vec<AgentAction> {
    session.handle_packet(packet, 0);
    drain_agent(session)
}

/// The reasons and the Reason String of the SUBACK that must be among the actions.
fn suback(actions: &[AgentAction]) -> (Vec<ReasonCode>, bool) {
    for action in actions {
        if let AgentAction::Send(ServerPacket::SubAck { reasons, reason_string, packet_id: 5 }) = action {
            return (reasons.clone(), reason_string.is_some());
        }
    }
    panic!("no SUBACK 5 in {actions:?}");
}

#[test]
fn the_claim_comes_before_the_suback_and_the_fetch_behind_it() {
    for level in BOTH {
        let mut session = agent(connect(level));
        session.handle_packet(subscribe(5, &[(OWN, QoS::AtLeastOnce)]), 0);
        assert_eq!(session.poll_action(), Some(AgentAction::Claim));
        session.handle_claimed();
        let actions = drain_agent(&mut session);
        assert_eq!(suback(&actions[..1]), (vec![ReasonCode::GrantedQoS1], false));
        assert_eq!(actions[1..], [AgentAction::Fetch { max: 16 }]);
    }
}

#[test]
fn a_second_subscription_is_granted_and_claims_nothing() {
    let mut session = agent(connect(V5));
    handle(&mut session, subscribe(4, &[(OWN, QoS::AtLeastOnce)]));
    let actions = handle(&mut session, subscribe(5, &[(OWN, QoS::AtLeastOnce)]));
    assert_eq!(suback(&actions), (vec![ReasonCode::GrantedQoS1], false));
    assert_eq!(actions.len(), 1);
}

#[test]
fn each_filter_gets_its_own_answer() {
    use ReasonCode::*;
    for level in BOTH {
        for (filter, qos, reason) in [
            (OWN, QoS::AtLeastOnce, GrantedQoS1),
            ("wake/v1/agents/PRINTER-7/commands", QoS::AtLeastOnce, GrantedQoS1),
            (OWN, QoS::ExactlyOnce, GrantedQoS1),
            (OWN, QoS::AtMostOnce, ImplementationSpecificError),
            ("wake/v1/agents/printer-8/commands", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/agents/+/commands", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/agents/printer-7/receipts", QoS::AtLeastOnce, NotAuthorized),
            ("wake/v1/groups/commands", QoS::AtLeastOnce, NotAuthorized),
            ("#", QoS::AtLeastOnce, NotAuthorized),
            ("$share/a/wake/v1/agents/printer-7/commands", QoS::AtLeastOnce, SharedSubscriptionsNotSupported),
        ] {
            let mut session = agent(connect(level));
            let actions = handle(&mut session, subscribe(5, &[(filter, qos)]));
            assert_eq!(suback(&actions), (vec![reason], reason.is_error()), "{filter}");
            assert_eq!(actions.contains(&AgentAction::Claim), !reason.is_error(), "{filter}");
        }
        let mut session = agent(connect(level));
        let actions = handle(&mut session, subscribe(5, &[("#", QoS::AtMostOnce), (OWN, QoS::AtLeastOnce)]));
        assert_eq!(suback(&actions), (vec![NotAuthorized, GrantedQoS1], true));
        assert_eq!(actions[0], AgentAction::Claim, "one good filter is enough");
    }
}

#[test]
fn a_subscription_identifier_is_refused() {
    let ClientPacket::Subscribe(mut wanted) = subscribe(5, &[(OWN, QoS::AtLeastOnce)]) else {
        unreachable!()
    };
    wanted.subscription_id = Some(1);
    let actions = handle(&mut agent(connect(V5)), ClientPacket::Subscribe(wanted));
    assert_eq!(suback(&actions), (vec![ReasonCode::SubscriptionIdentifiersNotSupported], true));
    assert_eq!(actions.len(), 1, "and claims nothing");
}

#[test]
fn unsubscribing_releases_what_the_claim_carries() {
    let mut session = agent(connect(V5));
    handle(&mut session, subscribe(4, &[(OWN, QoS::AtLeastOnce)]));
    session.handle_claimed();
    drain_agent(&mut session);
    let unsuback = |packet_id, reasons| AgentAction::Send(ServerPacket::UnsubAck { packet_id, reasons });
    let (done, nothing) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
    assert_eq!(handle(&mut session, unsubscribe(6, &["a"])), [unsuback(6, vec![nothing])]);
    assert_eq!(
        handle(&mut session, unsubscribe(7, &[OWN, OWN])),
        [AgentAction::Release, unsuback(7, vec![done, nothing])]
    );
    assert_eq!(handle(&mut session, unsubscribe(8, &[OWN])), [unsuback(8, vec![nothing])]);
    session.handle_inbox_changed();
    assert_eq!(drain_agent(&mut session), [], "not subscribed is offline");
}

#[test]
fn receipts_and_facts_are_acknowledged_once_they_are_stored() {
    for level in BOTH {
        for packet_id in [Some(9), None] {
            let mut session = agent(connect(level));
            let actions =
                handle(&mut session, ClientPacket::Publish(publish(RECEIPTS, &receipt_json(), packet_id)));
            match &actions[..] {
                [AgentAction::Receipt { receipt, packet_id: asked }] => {
                    assert_eq!((receipt.id, receipt.state), (command_id(1), ReceiptState::Done));
                    assert_eq!(*asked, packet_id);
                }
                other => panic!("{other:?}"),
            }
            session.handle_stored(packet_id);
            let acks = packet_id.map(|packet_id| puback_sent(packet_id, ReasonCode::Success));
            let stored = drain_agent(&mut session);
            assert_eq!(stored, acks.into_iter().collect::<Vec<_>>(), "nothing answers QoS 0");

            let actions =
                handle(&mut session, ClientPacket::Publish(publish(FACTS, r#"{"instance":"i"}"#, packet_id)));
            let facts = Box::new(Facts { instance: "i".into(), ..Facts::default() });
            assert_eq!(actions, [AgentAction::Facts { facts, packet_id }]);
        }
    }
}

fn puback_sent(packet_id: u16, reason: ReasonCode) -> AgentAction {
    AgentAction::Send(ServerPacket::PubAck { packet_id, reason, reason_string: None })
}

/// What a publish at QoS 1 was answered with; the rest has to be a warning.
fn refusal(actions: &[AgentAction]) -> ReasonCode {
    match actions {
        [
            AgentAction::Warn(_),
            AgentAction::Send(ServerPacket::PubAck { packet_id: 9, reason, reason_string: Some(_) }),
        ] => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_payload_is_refused_and_the_connection_lives_on() {
    let too_large = format!(r#"{{"instance":"{}"}}"#, "i".repeat(8 * 1024));
    for level in BOTH {
        for (topic, payload) in
            [(RECEIPTS, "done"), (RECEIPTS, "{}"), (FACTS, ""), (FACTS, "[]"), (FACTS, &*too_large)]
        {
            let packet = ClientPacket::Publish(publish(topic, payload, Some(9)));
            let actions = handle(&mut agent(connect(level)), packet);
            assert_eq!(refusal(&actions), ReasonCode::PayloadFormatInvalid, "{topic} {payload:.20}");
        }
        let packet = ClientPacket::Publish(publish(RECEIPTS, "done", None));
        let actions = handle(&mut agent(connect(level)), packet);
        assert!(matches!(actions[..], [AgentAction::Warn(_)]), "{actions:?}");
    }
}

#[test]
fn what_a_payload_held_is_not_in_the_log() {
    let payload = format!(r#"{{"id":"{}","state":"hunter2"}}"#, command_id(1));
    let packet = ClientPacket::Publish(publish(RECEIPTS, &payload, Some(9)));
    for action in handle(&mut agent(connect(V5)), packet) {
        match action {
            AgentAction::Warn(text) => assert!(!text.contains("hunter2"), "{text}"),
            AgentAction::Send(ServerPacket::PubAck { reason_string, .. }) => {
                assert!(reason_string.unwrap().contains("hunter2"), "its author may read it");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_report_is_told_and_acknowledged() {
    const REPORTS: &str = "wake/v1/agents/printer-7/reports";
    for level in BOTH {
        for packet_id in [Some(9), None] {
            let mut session = agent(connect(level));
            let packet = ClientPacket::Publish(publish(REPORTS, r#"{"disk":7}"#, packet_id));
            let report = Report::from_json(br#"{"disk":7}"#).unwrap();
            assert_eq!(handle(&mut session, packet), [AgentAction::Report { report, packet_id }]);
            session.handle_stored(packet_id);
            let reason = ReasonCode::Success;
            let puback = |packet_id| ServerPacket::PubAck { packet_id, reason, reason_string: None };
            let expected: Vec<_> = packet_id.map(puback).map(AgentAction::Send).into_iter().collect();
            assert_eq!(drain_agent(&mut session), expected);
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(60 * 1024));
        for bad in ["", "7", "[]", "hunter2", &long] {
            let packet = ClientPacket::Publish(publish(REPORTS, bad, Some(9)));
            let actions = handle(&mut agent(connect(level)), packet);
            assert_eq!(refusal(&actions), ReasonCode::PayloadFormatInvalid, "{}", bad.len());
        }
    }
}

#[test]
fn a_foreign_publish_closes_in_3_1_1_alone() {
    for foreign in [
        OWN,
        "wake/v1/agents/printer-8/receipts",
        "wake/v1/groups/commands",
        "wake/v1/operators/console/responses/a",
        "home/lamp",
        "é",
    ] {
        let packet = || ClientPacket::Publish(publish(foreign, "{}", Some(9)));
        assert_eq!(
            refusal(&handle(&mut agent(connect(V5)), packet())),
            ReasonCode::NotAuthorized,
            "{foreign}"
        );
        match &handle(&mut agent(connect(V4)), packet())[..] {
            [AgentAction::Close(end)] => assert_eq!(end.reason, ReasonCode::NotAuthorized, "{foreign}"),
            other => panic!("{foreign}: {other:?}"),
        }
    }
    let packet = ClientPacket::Publish(publish("home/lamp", "{}", None));
    let actions = handle(&mut agent(connect(V5)), packet);
    assert!(matches!(actions[..], [AgentAction::Warn(_)]), "nothing answers QoS 0: {actions:?}");
}

#[test]
fn reading_pauses_at_the_tenth_publish_of_a_second() {
    let mut session = agent(connect(V5));
    let mut one = |now_ms| {
        session.handle_packet(ClientPacket::Publish(publish(FACTS, "bad", None)), now_ms);
        let actions = drain_agent(&mut session);
        actions.iter().find_map(|action| match action {
            AgentAction::Pause { until_ms } => Some(*until_ms),
            _ => None,
        })
    };
    for _ in 1..AGENT_PUBLISHES_PER_SEC {
        assert_eq!(one(70_000), None);
    }
    assert_eq!(one(70_400), Some(71_000), "publishes that are refused count too");
    assert_eq!(one(71_000), None, "a new second");
}

#[test]
fn pings_never_pause() {
    let mut session = agent(connect(V5));
    for _ in 0..3 * AGENT_PUBLISHES_PER_SEC {
        assert_eq!(handle(&mut session, ClientPacket::PingReq), [AgentAction::Send(ServerPacket::PingResp)]);
    }
}

#[test]
fn subscriptions_count_like_publishes() {
    let mut session = agent(connect(V5));
    let mut paused = Vec::new();
    for n in 1..=AGENT_PUBLISHES_PER_SEC {
        let packet =
            if n % 2 == 1 { subscribe(1, &[(OWN, QoS::AtLeastOnce)]) } else { unsubscribe(1, &[OWN]) };
        let actions = handle(&mut session, packet);
        if actions.iter().any(|action| matches!(action, AgentAction::Pause { .. })) {
            paused.push(n);
        }
    }
    assert_eq!(paused, [AGENT_PUBLISHES_PER_SEC]);
}

#[test]
fn a_puback_for_nothing_closes() {
    for level in BOTH {
        match &handle(&mut agent(connect(level)), puback(1, ReasonCode::Success))[..] {
            [AgentAction::Close(end)] => {
                assert_eq!(
                    (end.reason, &*end.text),
                    (ReasonCode::ProtocolError, "PUBACK 1 for nothing that is in flight",)
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_receipt_that_cannot_be_stored_is_refused_where_that_can_be_said() {
    let mut session = agent(connect(V5));
    session.handle_store_failed(Some(7));
    match &drain_agent(&mut session)[..] {
        [AgentAction::Send(ServerPacket::PubAck { packet_id: 7, reason, reason_string: Some(_) })] => {
            assert_eq!(*reason, ReasonCode::ImplementationSpecificError);
        }
        other => panic!("{other:?}"),
    }
    for (level, packet_id) in [(V5, None), (V4, Some(7)), (V4, None)] {
        let mut session = agent(connect(level));
        session.handle_store_failed(packet_id);
        match &drain_agent(&mut session)[..] {
            [AgentAction::Close(end)] => assert_eq!(end.reason, ReasonCode::ServerUnavailable),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_eviction_closes_with_its_reason() {
    let mut session = agent(connect(V5));
    let end = End::new(ReasonCode::SessionTakenOver, "a newer connection took over");
    session.handle_evicted(end.clone());
    assert_eq!(drain_agent(&mut session), [AgentAction::Close(end)]);
}

/// Ends a session that has a will, and returns what is left to do.
fn last_will(level: wakemq_core::packet::ProtocolLevel, said: Option<ClientPacket>) -> Vec<AgentAction> {
    let mut connect = connect(level);
    connect.will = Some(will(RECEIPTS, &receipt_json()));
    let mut session = agent(connect);
    if let Some(packet) = said {
        session.handle_packet(packet, 0);
        match &drain_agent(&mut session)[..] {
            [AgentAction::Close(_)] => {}
            other => panic!("{other:?}"),
        }
    }
    session.handle_closed();
    drain_agent(&mut session)
}

#[test]
fn a_will_is_published_unless_the_client_said_goodbye() {
    use ReasonCode::*;
    let disconnect =
        |reason, session_expiry_secs| Some(ClientPacket::Disconnect { reason, session_expiry_secs });
    let due = |actions: Vec<AgentAction>| match &actions[..] {
        [] => false,
        [AgentAction::Receipt { packet_id: None, .. }] => true,
        other => panic!("{other:?}"),
    };
    assert!(due(last_will(V4, None)) && due(last_will(V5, None)), "a lost connection");
    assert!(!due(last_will(V4, disconnect(Success, None))));
    assert!(!due(last_will(V5, disconnect(Success, Some(0)))));
    assert!(due(last_will(V5, disconnect(DisconnectWithWill, None))));
    assert!(due(last_will(V5, disconnect(UnspecifiedError, None))));
    assert!(due(last_will(V5, disconnect(Success, Some(1)))), "that was no good DISCONNECT");
    assert!(due(last_will(V5, Some(puback(1, Success)))), "and neither is a broken rule");
}

#[test]
fn a_disconnect_that_raises_the_session_expiry_is_an_error() {
    let ended = |session_expiry_secs| {
        let packet = ClientPacket::Disconnect { reason: ReasonCode::Success, session_expiry_secs };
        match &handle(&mut agent(connect(V5)), packet)[..] {
            [AgentAction::Close(end)] => end.reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended(None), ReasonCode::Success);
    assert_eq!(ended(Some(0)), ReasonCode::Success);
    assert_eq!(ended(Some(1)), ReasonCode::ProtocolError);
}

#[test]
fn what_was_to_be_done_is_forgotten_when_the_connection_has_ended() {
    let mut session = agent(connect(V5));
    session.handle_packet(subscribe(5, &[(OWN, QoS::AtLeastOnce)]), 0);
    session.handle_closed();
    assert_eq!(drain_agent(&mut session), []);
}
