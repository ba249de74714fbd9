use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use super::broker::{Asked, Broker};
use crate::mqtt::{Event, Outgoing, PublishError};
use crate::poll::PollSession;

fn message(name: &str) -> Outgoing {
    let topic = format!("wake/v1/agents/pc-1/{name}");
    Outgoing { topic, payload: r#"{"x":1}"#.into(), ..Outgoing::default() }
}

async fn next(session: &mut PollSession, broker: &mut Broker) -> Asked {
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        asked = broker.asked() => asked,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_published_goes_to_its_endpoint_and_the_status_is_told_as_a_reason_code() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    for (topic, path, status, code) in [
        ("facts", "/v1/facts", "204 No Content", 0x00),
        ("receipts", "/v1/receipts", "204 No Content", 0x00),
        ("receipts", "/v1/receipts", "200 OK", 0x83),
        ("reports", "/v1/reports", "400 Bad Request", 0x99),
        ("receipts", "/v1/receipts", "404 Not Found", 0x99),
        ("receipts", "/v1/receipts", "413 Content Too Large", 0x99),
        ("receipts", "/v1/receipts", "422 Unprocessable Content", 0x99),
        ("receipts", "/v1/receipts", "401 Unauthorized", 0x83),
        ("receipts", "/v1/receipts", "403 Forbidden", 0x83),
        ("receipts", "/v1/receipts", "407 Proxy Authentication Required", 0x83),
        ("receipts", "/v1/receipts", "429 Slow", 0x83),
        ("receipts", "/v1/receipts", "502 Bad Gateway", 0x83),
        ("receipts", "/v1/receipts", "503 No", 0x83),
    ] {
        let token = session.publish(message(topic)).unwrap();
        let asked = next(&mut session, &mut broker).await;
        assert_eq!((asked.connection, &*asked.path, &asked.body), (2, path, &json!({"x": 1})));
        assert!(asked.head.contains("authorization: Bearer wma_"));
        asked.status(status);
        let event = session.next_event().await.unwrap();
        let Event::Published { token: of, code: found, reason } = event else { panic!("{event:?}") };
        assert_eq!((of, found.0, reason.is_some()), (token, code, code != 0), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_as_have_room_and_go_out_in_order() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    let tokens: Vec<_> = (0..16).map(|_| session.publish(message("receipts")).unwrap()).collect();
    assert_eq!((session.capacity(), session.publish(message("facts"))), (0, Err(PublishError::Full)));
    for expected in tokens {
        next(&mut session, &mut broker).await.status("204 No Content");
        let event = session.next_event().await.unwrap();
        assert!(matches!(event, Event::Published { token, .. } if token == expected), "{event:?}");
    }
    assert_eq!(session.capacity(), 16);
    assert_eq!(session.publish(message("commands")), Err(PublishError::Topic));
    let large = Outgoing { payload: vec![b'x'; 61_441].into(), ..message("reports") };
    assert!(matches!(session.publish(large), Err(PublishError::TooLarge { size: 61_441, .. })));
}

#[tokio::test(start_paused = true)]
async fn its_connection_is_kept_for_a_while_and_dialled_again_when_the_broker_closed_it() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    for (pause, connection, closes) in [(0, 2, false), (29, 2, true), (1, 3, false), (31, 4, false)] {
        tokio::select! {
            event = session.next_event() => panic!("{event:?}"),
            () = advance(Duration::from_secs(pause)) => {}
        }
        session.publish(message("facts")).unwrap();
        let asked = next(&mut session, &mut broker).await;
        assert_eq!(asked.connection, connection, "after {pause} s");
        let close = if closes { "connection: close\r\n" } else { "" };
        asked.raw(&format!("HTTP/1.1 204 No Content\r\n{close}\r\n"));
        assert!(matches!(session.next_event().await.unwrap(), Event::Published { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_posted_ends_the_session_as_a_broken_connection_does() {
    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    session.publish(message("facts")).unwrap();
    next(&mut session, &mut broker).await.hang_up();
    assert!(session.next_event().await.is_err());

    let mut broker = Broker::start().await;
    let (mut session, _first) = broker.session().await;
    session.publish(message("facts")).unwrap();
    let _unanswered = next(&mut session, &mut broker).await;
    let (ended, ()) = tokio::join!(session.next_event(), advance(Duration::from_secs(31)));
    assert!(ended.unwrap_err().to_string().contains("no answer within 30 s"));
}
