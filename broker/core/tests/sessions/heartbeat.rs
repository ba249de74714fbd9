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

/// What happens between a session and its peer.
enum Then {
    Sent,
    Heard,
    Acknowledged,
}

/// A second, what happens in it, and when the connection is due then.
type Step = (u64, Then, u64);

#[test]
fn who_was_sent_something_is_to_be_heard_within_20_s() {
    use Then::{Acknowledged, Heard, Sent};
    let cases: [(&str, &[Step]); 7] = [
        ("dead", &[(10, Sent, 30)]),
        ("the oldest counts", &[(10, Sent, 30), (25, Sent, 30)]),
        ("heard, and not acknowledged", &[(10, Sent, 30), (25, Heard, 45), (44, Heard, 64)]),
        ("acknowledged", &[(10, Sent, 30), (11, Heard, 31), (11, Acknowledged, 101)]),
        ("sent again", &[(10, Sent, 30), (11, Heard, 31), (11, Acknowledged, 101), (12, Sent, 32)]),
        ("the keep-alive ends before", &[(75, Sent, 90)]),
        ("heard at the same time", &[(10, Heard, 100), (10, Sent, 30)]),
    ];
    for (what, steps) in cases {
        let mut heartbeat = Heartbeat::new(60, KEEP_ALIVE_MAX_SECS, 0);
        let mut timer_ms = heartbeat.deadline_ms();
        for (secs, then, due) in steps {
            let now_ms = secs * 1000;
            match then {
                Sent => heartbeat.sent(now_ms),
                Heard => heartbeat.heard(now_ms),
                Acknowledged => heartbeat.acknowledged(),
            }
            timer_ms = heartbeat.poll_rearm().unwrap_or(timer_ms);
            assert_eq!(heartbeat.poll_rearm(), None, "{what}: told once");
            assert_eq!(heartbeat.deadline_ms(), due * 1000, "{what} at {secs}");
            assert!(timer_ms <= due * 1000, "{what}: the timer fires at {timer_ms}, too late");
        }
        let due_ms = heartbeat.deadline_ms();
        assert_eq!(heartbeat.end(due_ms - 1), None, "{what}");
        assert!(heartbeat.end(due_ms).is_some(), "{what}");
    }
}

#[test]
fn it_is_told_which_of_the_two_was_over() {
    let mut heartbeat = Heartbeat::new(60, KEEP_ALIVE_MAX_SECS, 0);
    heartbeat.sent(69_000);
    assert_eq!(heartbeat.end(500_000).map(|end| end.reason), Some(ReasonCode::ImplementationSpecificError));
    let mut heartbeat = Heartbeat::new(60, KEEP_ALIVE_MAX_SECS, 0);
    heartbeat.sent(70_000);
    assert_eq!(heartbeat.end(500_000).map(|end| end.reason), Some(ReasonCode::KeepAliveTimeout));
}

#[test]
fn waiting_for_an_acknowledgement_takes_no_room() {
    assert_eq!(size_of::<Heartbeat>(), 16);
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
