use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use super::broker::{Asked, Broker};
use crate::mqtt::{Event, ReasonCode};
use crate::poll::PollSession;

const A: &str = "0197c1b2-0000-7000-8000-00000000000a";

/// A session that was given a command, did not acknowledge it for 10 s, and polls again.
async fn with_a_late_acknowledgement(broker: &mut Broker) -> (PollSession, Asked, u16) {
    let (mut session, first) = broker.session().await;
    first.commands(&[A]);
    let Event::Publish(incoming) = session.next_event().await.unwrap() else { panic!() };
    let waiting = tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = async { advance(Duration::from_secs(11)).await; std::future::pending().await } => unreachable!(),
        asked = broker.asked() => asked,
    };
    (session, waiting, incoming.pkid.unwrap())
}

async fn next(session: &mut PollSession, broker: &mut Broker) -> Asked {
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        asked = broker.asked() => asked,
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_goes_out_with_a_newer_poll_and_the_older_is_no_takeover() {
    let mut broker = Broker::start().await;
    let (mut session, older, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    let newer = next(&mut session, &mut broker).await;
    assert_eq!((older.connection, newer.connection, newer.acknowledged()), (1, 2, vec![A]));
    older.json("200 OK", &json!({"status": "superseded"}));
    advance(Duration::from_secs(480)).await;
    newer.idle();
    assert_eq!(session.next_event().await.unwrap(), Event::Idle);
    let third = next(&mut session, &mut broker).await;
    assert_eq!((third.connection, third.acknowledged().len()), (2, 0));
    third.json("200 OK", &json!({"status": "superseded"}));
    let ended = session.next_event().await.unwrap();
    assert!(matches!(ended, Event::ServerDisconnect { code: ReasonCode::TAKEN_OVER, .. }), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn two_polls_that_crossed_are_not_a_takeover_either() {
    let mut broker = Broker::start().await;
    let (mut session, older, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    next(&mut session, &mut broker).await.json("200 OK", &json!({"status": "superseded"}));
    advance(Duration::from_secs(480)).await;
    older.idle();
    // Whichever answer comes first.
    tokio::select! {
        event = session.next_event() => assert_eq!(event.unwrap(), Event::Idle),
        asked = broker.asked() => assert_eq!(asked.path, "/v1/poll"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_older_brought_before_it_was_replaced_is_not_lost() {
    let mut broker = Broker::start().await;
    let (mut session, older, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    let _newer = next(&mut session, &mut broker).await;
    older.commands(&["0197c1b2-0000-7000-8000-00000000000b"]);
    assert!(matches!(session.next_event().await.unwrap(), Event::Publish(_)));
}

#[tokio::test(start_paused = true)]
async fn a_check_is_answered_on_the_connection_that_is_checked() {
    let mut broker = Broker::start().await;
    let (mut session, first) = broker.session().await;
    session.check().unwrap();
    let second = next(&mut session, &mut broker).await;
    assert_eq!((first.connection, second.connection), (1, 2));
    first.json("200 OK", &json!({"status": "superseded"}));
    assert_eq!(session.next_event().await.unwrap(), Event::Alive);
    // Again, on what was the other connection.
    session.check().unwrap();
    let third = next(&mut session, &mut broker).await;
    assert_eq!(third.connection, 1);
    // That one is dead: it says nothing, and the owner gives the session up.
    second.hang_up();
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        () = advance(Duration::from_secs(5)) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_counts_as_taken_only_by_the_answer_to_a_poll() {
    let mut broker = Broker::start().await;
    let (mut session, _waiting, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    let bound = json!({"status": "heartbeat_out_of_range", "heartbeat": 120});
    let refused = next(&mut session, &mut broker).await;
    assert_eq!(refused.acknowledged(), [A]);
    refused.json("422 Unprocessable Content", &bound);
    let taken = next(&mut session, &mut broker).await;
    assert_eq!((taken.acknowledged(), &taken.body["heartbeat"]), (vec![A], &json!(120)));
    advance(Duration::from_secs(120)).await;
    taken.idle();
    assert_eq!(session.next_event().await.unwrap(), Event::Idle);
    assert!(next(&mut session, &mut broker).await.acknowledged().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_farewell_keeps_to_the_bound_that_it_is_told() {
    let mut broker = Broker::start().await;
    let (mut session, _waiting, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    let (left, ()) = tokio::join!(session.disconnect(), async {
        let bound = json!({"status": "heartbeat_out_of_range", "heartbeat": 120});
        broker.asked().await.json("422 Unprocessable Content", &bound);
        let last = broker.asked().await;
        assert_eq!((last.acknowledged(), &last.body["heartbeat"]), (vec![A], &json!(120)));
        last.json("200 OK", &json!({"status": "superseded"}));
    });
    left.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_farewell_takes_the_last_acknowledgements_along() {
    let mut broker = Broker::start().await;
    let (mut session, waiting, pkid) = with_a_late_acknowledgement(&mut broker).await;
    session.ack(pkid).unwrap();
    let (left, ()) = tokio::join!(session.disconnect(), async {
        let last = broker.asked().await;
        assert_eq!(last.acknowledged(), [A]);
        advance(Duration::from_secs(3)).await;
    });
    left.unwrap();
    drop(waiting);
}
