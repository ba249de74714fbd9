//! Keep-alive: one and a half times, counted from the last packet, for both kinds of session.

use wakemq_core::packet::{ClientPacket, ReasonCode, ServerPacket};
use wakemq_core::{AgentAction, Heartbeat, OperatorAction};

use crate::fixture::{BOTH, KEEP_ALIVE_MAX_SECS, agent, connect, drain_agent, drain_operator, operator};

#[test]
fn the_shorter_keep_alive_counts_and_0_is_the_maximum() {
    for (wanted, granted) in [(0, 600), (1, 1), (600, 600), (601, 600), (u16::MAX, 600)] {
        let heartbeat = Heartbeat::new(wanted, KEEP_ALIVE_MAX_SECS, 1_000);
        assert_eq!(heartbeat.keep_alive_secs(), granted);
        assert_eq!(heartbeat.deadline_ms(), 1_000 + u64::from(granted) * 1500);
    }
}

#[test]
fn a_silent_agent_is_ended_after_one_and_a_half_keep_alives() {
    for level in BOTH {
        let mut session = agent(connect(level));
        assert_eq!((session.keep_alive_secs(), session.deadline_ms()), (60, 90_000));
        session.handle_packet(ClientPacket::PingReq, 89_999);
        assert_eq!(drain_agent(&mut session), [AgentAction::Send(ServerPacket::PingResp)]);
        assert_eq!(session.deadline_ms(), 179_999);
        session.handle_timeout(90_000);
        session.handle_timeout(179_998);
        assert_eq!(drain_agent(&mut session), [], "it spoke meanwhile");
        session.handle_timeout(179_999);
        match &drain_agent(&mut session)[..] {
            [AgentAction::Close(end)] => assert_eq!(end.reason, ReasonCode::KeepAliveTimeout),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_silent_operator_is_ended_alike() {
    let mut session = operator(connect(BOTH[1]));
    assert_eq!((session.keep_alive_secs(), session.deadline_ms()), (60, 90_000));
    session.handle_packet(ClientPacket::PingReq, 10_000);
    assert_eq!(drain_operator(&mut session), [OperatorAction::Send(ServerPacket::PingResp)]);
    session.handle_timeout(99_999);
    assert_eq!(drain_operator(&mut session), []);
    session.handle_timeout(100_000);
    match &drain_operator(&mut session)[..] {
        [OperatorAction::Close(end)] => assert_eq!(end.reason, ReasonCode::KeepAliveTimeout),
        other => panic!("{other:?}"),
    }
}
