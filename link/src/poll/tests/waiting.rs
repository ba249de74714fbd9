use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use super::broker::{Asked, Broker};
use crate::mqtt::{ConnectError, Event, Incoming, ReasonCode, SessionError};
use crate::poll::PollSession;

const A: &str = "0197c1b2-0000-7000-8000-00000000000a";
const B: &str = "0197c1b2-0000-7000-8000-00000000000b";

async fn command(session: &mut PollSession) -> Incoming {
    let event = session.next_event().await.unwrap();
    let Event::Publish(incoming) = event else { panic!("{event:?}") };
    incoming
}

/// Waits for the next request while nothing happens on the session.
async fn next(session: &mut PollSession, broker: &mut Broker) -> Asked {
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        asked = broker.asked() => asked,
    }
}

async fn event(session: &mut PollSession) -> Event {
    session.next_event().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn polls_follow_each_other_on_one_connection_and_acknowledge_what_was_given_out() {
    let mut broker = Broker::start().await;
    let mut first = None;
    let connected = broker
        .connect(async |broker| {
            first = Some(broker.asked().await);
            advance(Duration::from_secs(3)).await;
        })
        .await;
    let ((mut session, connected), first) = (connected.unwrap(), first.unwrap());
    assert_eq!((connected.keep_alive_secs, connected.receive_maximum), (480, 16));
    assert_eq!(first.path, "/v1/poll");
    assert!(first.head.contains("authorization: Bearer wma_"), "{}", first.head);
    assert_eq!(first.body, json!({"heartbeat": 480, "instance": "i1"}));

    session.subscribe().unwrap();
    assert_eq!(event(&mut session).await, Event::Subscribed { codes: vec![ReasonCode(1)], reason: None });
    // What this version does not know goes to the agent as it is.
    let commands = json!([{"id": A, "kind": "wake"}, {"id": B, "kind": "dance", "priority": "utmost"}]);
    first.json("200 OK", &json!({"status": "commands", "commands": commands}));
    let (a, b) = (command(&mut session).await, command(&mut session).await);
    assert_eq!(a.topic, "wake/v1/agents/pc-1/commands");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&b.payload).unwrap(), commands[1]);
    session.ack(a.pkid.unwrap()).unwrap();
    session.ack(b.pkid.unwrap()).unwrap();
    let second = next(&mut session, &mut broker).await;
    assert_eq!((second.connection, second.acknowledged()), (1, vec![A, B]));

    session.set_heartbeat(600);
    advance(Duration::from_secs(480)).await;
    second.idle();
    assert_eq!(event(&mut session).await, Event::Idle);
    let third = next(&mut session, &mut broker).await;
    assert_eq!(third.body, json!({"heartbeat": 600, "instance": "i1"}));
    assert_eq!(third.connection, 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_poll_waits_for_acknowledgements_but_not_for_ever() {
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    first.commands(&[A, B]);
    let (a, _) = (command(&mut session).await, command(&mut session).await);
    for (pause, is_acknowledged) in [(9, false), (2, true)] {
        tokio::select! {
            event = session.next_event() => panic!("{event:?}"),
            () = advance(Duration::from_secs(pause)) => {}
        }
        if !is_acknowledged {
            assert!(broker.is_quiet(), "it has 10 s for the first acknowledgement");
        }
    }
    let second = next(&mut session, &mut broker).await;
    assert!(second.acknowledged().is_empty());
    // Given again, it is not given out again, and has the pause that it had.
    second.commands(&[A]);
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = async { for _ in 0..4 { advance(Duration::from_secs(2)).await } } => {
            assert!(broker.is_quiet(), "it has 10 s again");
        }
    }
    session.ack(a.pkid.unwrap()).unwrap();
    session.ack(a.pkid.unwrap()).unwrap();
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = advance(Duration::from_millis(500)) => assert!(broker.is_quiet(), "the other may still come"),
    }
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = async { advance(Duration::from_millis(1100)).await; std::future::pending().await } => {}
        asked = broker.asked() => assert_eq!(asked.acknowledged(), [A]),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_first_poll_is_one_of_the_connection() {
    let problem = |detail: &str| {
        json!({"type": "urn:wakemq:problem:x", "title": "x", "status": 401, "detail": detail}).to_string()
    };
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    };
    for (answer, code, expected) in [
        (answer("401 Unauthorized", "", &problem("no such secret")), Some(0x86), "no such secret (401 "),
        (answer("403 Forbidden", "", &problem("an operator's")), Some(0x87), "an operator's (403 "),
        (answer("429 Slow", "retry-after: 7\r\n", ""), Some(0x9F), "429 "),
        (answer("503 No", "retry-after: 7\r\n", &problem("later")), Some(0x88), "later (503 "),
        (
            answer("404 Not Found", "", "<html>lost"),
            None,
            "404 Not Found with what is not a broker's: \"<html>lost\"",
        ),
        (answer("200 OK", "", "<html>Log in"), None, "not a broker's"),
        (answer("200 OK", "", r#"{"status":"retry","after":7}"#), Some(0x8B), "server shutting down"),
    ] {
        let mut broker = Broker::start().await;
        let refused = broker.connect(async |broker| broker.asked().await.raw(&answer)).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{expected:?}: {refused}");
        match (&refused, code) {
            (ConnectError::Refused { code: found, return_secs, .. }, Some(code)) => {
                assert_eq!(found.0, code);
                assert_eq!(*return_secs, (code > 0x87).then_some(7));
            }
            (ConnectError::Session(SessionError::Protocol(_)), None) => assert!(refused.is_retryable()),
            _ => panic!("{refused:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_broker_bounds_the_heartbeat_and_must_mean_it() {
    let mut broker = Broker::start().await;
    let bound = |secs: u32| json!({"status": "heartbeat_out_of_range", "heartbeat": secs});
    let connected = broker
        .connect(async |broker| {
            broker.asked().await.json("422 Unprocessable Content", &bound(120));
            let second = broker.asked().await;
            assert_eq!(second.body["heartbeat"], 120);
            second.commands(&[A]);
        })
        .await;
    let (mut session, connected) = connected.unwrap();
    assert_eq!((connected.keep_alive_secs, session.heartbeat_secs()), (120, 120));
    let pkid = command(&mut session).await.pkid.unwrap();
    session.ack(pkid).unwrap();
    next(&mut session, &mut broker).await.json("422 Unprocessable Content", &bound(120));
    assert!(matches!(session.next_event().await, Err(SessionError::Protocol(_))));
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_a_session_are_told_as_mqtt_tells_them() {
    for (answer, expected) in [
        (json!({"status": "superseded"}), (ReasonCode::TAKEN_OVER, None)),
        (json!({"status": "retry", "after": 9}), (ReasonCode::SHUTTING_DOWN, Some(9))),
    ] {
        let mut broker = Broker::start().await;
        let (mut session, first) = broker.session().await;
        first.json("200 OK", &answer);
        let event = event(&mut session).await;
        let Event::ServerDisconnect { code, return_secs, .. } = event else { panic!("{event:?}") };
        assert_eq!((code, return_secs), expected);
        assert!(matches!(session.next_event().await, Err(SessionError::Closed)));
    }
    // Revoked meanwhile.
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    first.status("401 Unauthorized");
    let ended = event(&mut session).await;
    assert!(matches!(ended, Event::ServerDisconnect { code: ReasonCode::BAD_CREDENTIALS, .. }), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_an_answer_is_silence_and_one_that_is_cut_an_error() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = advance(Duration::from_secs(480 + 16)) => {}
    }
    let (ended, ()) = tokio::join!(session.next_event(), advance(Duration::from_secs(2)));
    assert!(matches!(ended, Err(SessionError::Silent(quiet)) if quiet.as_secs() >= 500), "{ended:?}");

    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    first.hang_up();
    assert!(session.next_event().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_cut_tells_for_how_long_it_had_waited() {
    for by_proxy in [false, true] {
        let mut broker = Broker::start().await;
        let (mut session, first) = broker.session().await;
        tokio::select! {
            event = session.next_event() => panic!("{event:?}"),
            () = advance(Duration::from_secs(120)) => {}
        }
        if by_proxy {
            first.status("504 Gateway Timeout");
        } else {
            first.hang_up();
        }
        assert!(session.next_event().await.is_err());
        assert_eq!(session.cut_after().map(|quiet| quiet.as_secs()), Some(123), "{by_proxy}");
    }
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    first.status("401 Unauthorized");
    event(&mut session).await;
    assert_eq!(session.cut_after(), None);
}

#[tokio::test(start_paused = true)]
async fn silence_that_is_noticed_long_after_it_was_due_is_a_suspend_and_teaches_nothing() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = advance(Duration::from_secs(100)) => {}
    }
    let (ended, ()) = tokio::join!(session.next_event(), advance(Duration::from_secs(8 * 3600)));
    assert!(matches!(ended, Err(SessionError::PingTimeout)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_between_two_polls_is_dialled_again() {
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    advance(Duration::from_secs(480)).await;
    first.raw("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 17\r\n\r\n{\"status\":\"idle\"}");
    assert_eq!(event(&mut session).await, Event::Idle);
    let second = next(&mut session, &mut broker).await;
    assert_eq!(second.connection, 2);
    advance(Duration::from_secs(480)).await;
    second.idle();
    assert_eq!(event(&mut session).await, Event::Idle);
    // Closed as soon as the next request comes: it was not read.
    next(&mut session, &mut broker).await.hang_up();
    assert_eq!(next(&mut session, &mut broker).await.connection, 3);
}

#[tokio::test(start_paused = true)]
async fn an_idle_answer_that_comes_at_once_proves_nothing_and_is_not_asked_for_in_a_loop() {
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    first.idle();
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = advance(Duration::from_millis(900)) => assert!(broker.is_quiet()),
    }
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = async { advance(Duration::from_millis(200)).await; std::future::pending().await } => {}
        _ = broker.asked() => {}
    }
}
