use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use super::broker::{Broker, secret};
use crate::poll::{Trial, TrialError, try_heartbeat};
use crate::{Clock, Transport};

#[tokio::test(start_paused = true)]
async fn a_trial_tells_whether_the_heartbeat_was_borne() {
    let idle = json!({"status": "idle"});
    for (after, status, answer, expected) in [
        (900, "200 OK", idle.clone(), Some(Trial::Borne)),
        (3, "200 OK", idle, None),
        (3, "200 OK", json!({"status": "superseded"}), Some(Trial::Superseded)),
        (3, "200 OK", json!({"status": "retry", "after": 5}), Some(Trial::Retry { after: 5 })),
        (
            3,
            "422 Unprocessable Content",
            json!({"status": "heartbeat_out_of_range", "heartbeat": 60}),
            Some(Trial::OutOfRange { heartbeat_secs: 60 }),
        ),
        (3, "401 Unauthorized", json!({}), None),
    ] {
        let mut broker = Broker::start().await;
        let (dialer, mut way) = (broker.dialer.clone(), broker.way.clone());
        way.transport = Transport::Mqtt;
        let secret = secret();
        let (tried, ()) = tokio::join!(try_heartbeat(&dialer, &way, &secret, 900, Clock::Tokio), async {
            let asked = broker.asked().await;
            assert_eq!(asked.body, json!({"heartbeat": 900, "trial": true}));
            advance(Duration::from_secs(after)).await;
            asked.json(status, &answer);
        });
        match (tried, expected) {
            (Ok(trial), Some(expected)) => assert_eq!(trial, expected),
            (Err(TrialError::Refused(_)), None) => {}
            (other, _) => panic!("{answer}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_without_an_answer_in_time_is_silent() {
    let mut broker = Broker::start().await;
    let (dialer, way, secret) = (broker.dialer.clone(), broker.way.clone(), secret());
    let mut asked = None;
    let (tried, ()) = tokio::join!(try_heartbeat(&dialer, &way, &secret, 60, Clock::Tokio), async {
        asked = Some(broker.asked().await);
        advance(Duration::from_secs(81)).await;
    });
    assert_eq!(tried.unwrap(), Trial::Silent);
}
