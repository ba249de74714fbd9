//! How commands get to an agent: room in flight, sizes, commands for the moment, and what PUBACKs mean.

use wakemq_core::packet::{Connect, QoS, ReasonCode, ServerPacket, ServerPublish};
use wakemq_core::{AgentAction, AgentSession};
use wakemq_protocol::limits::PENDING_MAX;
use wakemq_protocol::{Command, to_json};

use crate::fixture::{
    BOTH, V4, V5, agent, command, command_id, commands_sent, connect, drain_agent, puback, subscribe,
    unsubscribe,
};

const OWN: &str = "wake/v1/agents/Printer-7/commands";

/// A session that has subscribed and waits for its first page.
fn subscribed(connect: Connect) -> AgentSession {
    let mut session = agent(connect);
    session.handle_packet(subscribe(1, &[(OWN, QoS::AtLeastOnce)]), 0);
    session.handle_claimed();
    drain_agent(&mut session);
    session
}

/// A session that has subscribed and found its inbox empty.
fn idle(connect: Connect) -> AgentSession {
    let mut session = subscribed(connect);
    session.handle_page(Vec::new(), false, 0);
    assert_eq!(drain_agent(&mut session), []);
    session
}

fn receiving(receive_maximum: u16) -> Connect {
    Connect { receive_maximum, ..connect(V5) }
}

fn commands(numbers: std::ops::Range<u64>) -> Vec<Command> {
    numbers.map(command).collect()
}

#[test]
fn a_page_is_sent_in_order_at_qos_1_under_the_agents_own_spelling() {
    for level in BOTH {
        let mut session = subscribed(connect(level));
        session.handle_page(commands(1..3), false, 0);
        let publish = |packet_id, n| {
            AgentAction::Send(ServerPacket::Publish(ServerPublish {
                topic: OWN.into(),
                payload: to_json(&command(n)),
                packet_id: Some(packet_id),
                ..ServerPublish::default()
            }))
        };
        assert_eq!(drain_agent(&mut session), [publish(1, 1), publish(2, 2)]);
    }
}

#[test]
fn no_more_is_fetched_than_the_agent_takes_and_never_more_than_16() {
    for (receive_maximum, max) in [(1, 1), (15, 15), (16, 16), (17, 16), (65_535, 16)] {
        let mut session = idle(receiving(receive_maximum));
        session.handle_inbox_changed();
        assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max }]);
    }
}

#[test]
fn a_fetch_asks_for_the_room_that_is_left() {
    let mut session = subscribed(receiving(3));
    session.handle_page(commands(1..3), false, 0);
    drain_agent(&mut session);
    session.handle_inbox_changed();
    assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max: 1 }]);
    session.handle_page(commands(3..4), false, 0);
    drain_agent(&mut session);
    session.handle_inbox_changed();
    assert_eq!(drain_agent(&mut session), [], "no room");
    session.handle_packet(puback(2, ReasonCode::Success), 0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Acknowledged(command_id(2))]);
    session.handle_recorded(0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max: 1 }], "the poke was kept");
}

#[test]
fn a_poke_during_a_fetch_leads_to_another() {
    let mut session = subscribed(connect(V5));
    session.handle_inbox_changed();
    session.handle_inbox_changed();
    assert_eq!(drain_agent(&mut session), [], "one at a time");
    session.handle_page(Vec::new(), false, 0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max: 16 }]);
    session.handle_page(Vec::new(), false, 0);
    assert_eq!(drain_agent(&mut session), [], "and only one more");
}

#[test]
fn an_acknowledgement_looks_for_the_next_of_its_slot() {
    let mut session = subscribed(connect(V5));
    session.handle_page(commands(1..2), true, 0);
    drain_agent(&mut session);
    session.handle_packet(puback(1, ReasonCode::NoMatchingSubscribers), 0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Acknowledged(command_id(1))], "0x10 is no error");
    session.handle_recorded(0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max: 16 }]);
}

#[test]
fn an_acknowledgement_looks_for_nothing_where_nothing_was_left() {
    let mut session = subscribed(connect(V5));
    session.handle_page(commands(1..2), false, 0);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    drain_agent(&mut session);
    session.handle_recorded(0);
    assert_eq!(drain_agent(&mut session), []);

    // A page that is under way may leave something because the command was still carried when it was read.
    session.handle_page(commands(2..3), false, 0);
    session.handle_packet(puback(2, ReasonCode::Success), 0);
    session.handle_inbox_changed();
    session.handle_recorded(0);
    session.handle_page(Vec::new(), true, 0);
    assert_eq!(drain_agent(&mut session).last(), Some(&AgentAction::Fetch { max: 16 }));
}

#[test]
fn an_agent_that_answers_with_an_error_fails_the_command() {
    let mut session = subscribed(connect(V5));
    session.handle_page(commands(1..2), false, 0);
    drain_agent(&mut session);
    session.handle_packet(puback(1, ReasonCode::QuotaExceeded), 0);
    let detail = "the agent answered 0x97, quota exceeded".to_owned();
    assert_eq!(drain_agent(&mut session), [AgentAction::Failed { id: command_id(1), detail }]);
}

#[test]
fn a_packet_id_is_free_again_once_it_is_acknowledged() {
    let mut session = subscribed(receiving(1));
    session.handle_page(commands(1..2), false, 0);
    assert_eq!(commands_sent(&drain_agent(&mut session)), [(1, command_id(1))]);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    match &drain_agent(&mut session)[..] {
        [AgentAction::Acknowledged(_), AgentAction::Close(end)] => {
            assert_eq!(end.reason, ReasonCode::ProtocolError);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_too_large_for_the_agent_fails_and_the_rest_goes_on() {
    for level in BOTH {
        // The size of a PUBLISH of command 1: header, topic, packet id, in 5 a length of properties, payload.
        let size = 1 + 2 + 2 + OWN.len() + 2 + usize::from(level == V5) + to_json(&command(1)).len();
        for (max, fits) in [(size, true), (size - 1, false)] {
            let maximum_packet_size = u32::try_from(max).ok();
            let mut session = subscribed(Connect { maximum_packet_size, ..connect(level) });
            let large = Command { reason: Some("r".repeat(200)), ..command(9) };
            session.handle_page(vec![large, command(1)], false, 0);
            let actions = drain_agent(&mut session);
            match &actions[0] {
                AgentAction::Failed { id, detail } => {
                    assert_eq!(*id, command_id(9));
                    assert!(detail.ends_with(&format!("is above the agent's maximum of {max}")), "{detail}");
                }
                other => panic!("{other:?}"),
            }
            let sent = if fits { vec![(2, command_id(1))] } else { vec![] };
            assert_eq!(commands_sent(&actions), sent, "{level:?} {max}");
        }
    }
}

#[test]
fn a_failed_command_takes_no_room() {
    let mut session = subscribed(Connect { maximum_packet_size: Some(50), ..receiving(1) });
    session.handle_page(commands(1..2), true, 0);
    assert!(matches!(drain_agent(&mut session)[..], [AgentAction::Failed { .. }]));
    session.handle_recorded(0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Fetch { max: 1 }]);
}

#[test]
fn a_command_for_the_moment_goes_out_at_once_or_waits_for_room() {
    let mut session = idle(receiving(1));
    session.handle_live(command(1), 0);
    assert_eq!(commands_sent(&drain_agent(&mut session)), [(1, command_id(1))]);
    session.handle_live(command(2), 0);
    session.handle_live(command(3), 0);
    assert_eq!(drain_agent(&mut session), []);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    session.handle_recorded(0);
    let actions = drain_agent(&mut session);
    assert_eq!(commands_sent(&actions), [(2, command_id(2))], "in order");
}

#[test]
fn a_command_for_the_moment_does_not_take_room_that_a_fetch_was_promised() {
    let mut session = subscribed(receiving(2));
    session.handle_live(command(9), 0);
    assert_eq!(drain_agent(&mut session), []);
    session.handle_page(commands(1..3), false, 0);
    let sent = commands_sent(&drain_agent(&mut session));
    assert_eq!(sent, [(1, command_id(1)), (2, command_id(2))]);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    session.handle_recorded(0);
    assert_eq!(commands_sent(&drain_agent(&mut session)), [(3, command_id(9))]);
}

#[test]
fn commands_for_the_moment_are_bounded_and_end_with_the_subscription() {
    let mut session = idle(receiving(1));
    session.handle_live(command(0), 0);
    drain_agent(&mut session);
    let beyond = u64::try_from(PENDING_MAX).unwrap() + 1;
    (1..=beyond).for_each(|n| session.handle_live(command(n), 0));
    let mut sent = Vec::new();
    for packet_id in 1..=101 {
        session.handle_packet(puback(packet_id, ReasonCode::Success), 0);
        session.handle_recorded(0);
        sent.extend(commands_sent(&drain_agent(&mut session)));
        session.handle_page(Vec::new(), false, 0);
        sent.extend(commands_sent(&drain_agent(&mut session)));
    }
    assert_eq!(sent.len(), PENDING_MAX);

    let mut session = idle(receiving(1));
    session.handle_live(command(1), 0);
    session.handle_live(command(2), 0);
    session.handle_packet(unsubscribe(3, &[OWN]), 0);
    drain_agent(&mut session);
    session.handle_live(command(3), 0);
    session.handle_packet(puback(1, ReasonCode::Success), 0);
    session.handle_recorded(0);
    assert_eq!(drain_agent(&mut session), [AgentAction::Acknowledged(command_id(1))]);
}

#[test]
fn a_page_that_comes_after_unsubscribe_is_not_sent() {
    let mut session = subscribed(connect(V4));
    session.handle_packet(unsubscribe(2, &[OWN]), 0);
    session.handle_page(commands(1..3), false, 0);
    assert_eq!(commands_sent(&drain_agent(&mut session)), []);

    // Nor is it when the agent has subscribed again before: the new claim fetches what the old one lost.
    let mut session = subscribed(connect(V4));
    session.handle_packet(unsubscribe(2, &[OWN]), 0);
    session.handle_packet(subscribe(3, &[(OWN, QoS::AtLeastOnce)]), 0);
    session.handle_page(commands(1..3), false, 0);
    session.handle_claimed();
    let actions = drain_agent(&mut session);
    assert_eq!(commands_sent(&actions), []);
    assert_eq!(actions.last(), Some(&AgentAction::Fetch { max: 16 }));
}

#[test]
fn a_claim_that_is_answered_after_unsubscribe_fetches_nothing() {
    let mut session = agent(connect(V5));
    session.handle_packet(subscribe(1, &[(OWN, QoS::AtLeastOnce)]), 0);
    session.handle_packet(unsubscribe(2, &[OWN]), 0);
    session.handle_claimed();
    let actions = drain_agent(&mut session);
    assert!(actions.contains(&AgentAction::Release), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, AgentAction::Fetch { .. })), "{actions:?}");
}
