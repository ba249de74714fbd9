//! The library against a scripted broker: what goes over the wire, and what a lost connection does not lose.

use std::time::Duration;

use crate::fake::{Came, Fake, Peer};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason};
use tokio::task::JoinSet;
use wakemq_protocol::{AgentId, CommandState, Kind, Submission};
use wakemq_publisher::{Publisher, SubmitError, Verdict, Wanted};

/// Longer than any test takes; only what is broken waits so long.
const LONG: Duration = Duration::from_secs(60);

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn wake() -> Submission {
    Submission::new(Kind::Wake)
}

async fn connect(fake: &Fake, receive_max: u16) -> (Publisher, Peer) {
    let profile = fake.profile();
    let (publisher, peer) = tokio::join!(Publisher::connect(&profile), fake.session(receive_max));
    (publisher.unwrap(), peer)
}

#[tokio::test]
async fn a_command_is_accepted_followed_and_the_farewell_is_orderly() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        let came = peer.submission().await;
        assert_eq!(*came.agent(), agent("pc-1"));
        assert_eq!(
            Some(&came.correlation_data[..]),
            came.submission.id.as_ref().map(|id| &id.as_bytes()[..])
        );
        peer.accept(&came).await;
        peer.tell(&came, CommandState::Sent).await;
        peer.tell(&came, CommandState::Acknowledged).await;
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))));
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))));
        assert!(matches!(peer.recv().await, Some(Packet::Disconnect(_))));
        assert!(peer.recv().await.is_none());
        came
    };
    let user = async {
        let mut command = publisher.submit(&agent("pc-1"), wake()).await.unwrap();
        assert_eq!(command.wait(Wanted::Acknowledged, LONG).await, Ok(Verdict::Reached));
        publisher.close().await;
        assert_eq!(command.wait(Wanted::Done, LONG).await, Err(SubmitError::Closed));
        command.id()
    };
    let (came, id) = tokio::join!(script, user);
    assert_eq!(came.submission.id, Some(id));
}

#[tokio::test]
async fn news_that_come_along_with_the_acceptance_are_given() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        let came = peer.submission().await;
        peer.tell(&came, CommandState::Queued).await;
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))), "the publisher has the news");
        peer.accept(&came).await;
        peer
    };
    let user = async {
        let mut command = publisher.submit(&agent("pc-1"), wake()).await.unwrap();
        let news = tokio::time::timeout(LONG, command.next()).await.expect("the news were lost").unwrap();
        assert_eq!(news.map(|news| news.state()), Some(CommandState::Queued));
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn an_unanswered_submission_goes_out_again_by_the_same_id() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        let first = peer.submission().await;
        drop(peer);
        let mut peer = fake.session(10).await;
        let second = peer.submission().await;
        assert_eq!(first.submission, second.submission);
        assert_eq!((&first.target, &first.response_topic), (&second.target, &second.response_topic));
        peer.accept(&second).await;
        peer.tell(&second, CommandState::Done).await;
        peer
    };
    let user = async {
        let mut command = publisher.submit(&agent("pc-1"), wake()).await.unwrap();
        assert_eq!(command.wait(Wanted::Acknowledged, LONG).await, Ok(Verdict::Reached));
        assert_eq!(command.next().await, Ok(None), "done is the end");
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn a_followed_command_is_bound_anew_after_a_lost_connection() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        let first = peer.submission().await;
        peer.accept(&first).await;
        peer.tell(&first, CommandState::Queued).await;
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))));
        drop(peer);
        let mut peer = fake.session(10).await;
        let again = peer.submission().await;
        assert_eq!(first.submission, again.submission);
        peer.accept(&again).await;
        peer.tell(&again, CommandState::Expired).await;
        peer
    };
    let user = async {
        let mut command = publisher.submit(&agent("pc-1"), wake()).await.unwrap();
        assert_eq!(command.wait(Wanted::Acknowledged, LONG).await, Ok(Verdict::Missed));
        assert_eq!(command.outcome().unwrap().state, CommandState::Expired);
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn thousands_are_pipelined_within_receive_maximum() {
    const COUNT: usize = 3_000;
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 7).await;
    let script = async {
        let mut most = 0;
        let mut came: Vec<Came> = Vec::new();
        for answered in 0..COUNT {
            // The window is filled before anything is answered, as long as there is something to fill it with.
            while came.len() < 7.min(COUNT - answered) {
                came.push(peer.submission().await);
            }
            most = most.max(came.len());
            let first = came.remove(0);
            peer.accept(&first).await;
        }
        most
    };
    let user = async {
        let mut tasks = JoinSet::new();
        for number in 0..COUNT {
            let publisher = publisher.clone();
            tasks.spawn(async move {
                let agent = agent(&format!("pc-{number}"));
                publisher.submit(&agent, wake()).await.map(|command| command.id())
            });
        }
        let ids: std::collections::HashSet<_> =
            tasks.join_all().await.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), COUNT);
    };
    let (most, ()) = tokio::join!(script, user);
    assert_eq!(most, 7);
}

#[tokio::test]
async fn refusals_are_told_apart_and_harm_no_others() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        for reason in [
            PubAckReason::NotAuthorized,
            PubAckReason::PayloadFormatInvalid,
            PubAckReason::QuotaExceeded,
            PubAckReason::ImplementationSpecificError,
        ] {
            let came = peer.submission().await;
            peer.refuse(&came, reason, "words").await;
        }
        let came = peer.submission().await;
        peer.refuse(&came, PubAckReason::ImplementationSpecificError, "id_conflict: taken").await;
        let came = peer.submission().await;
        peer.accept(&came).await;
        peer
    };
    let user = async {
        let target = agent("pc-1");
        let words = || Some("words".to_owned());
        let refusal =
            async || publisher.submit(&target, wake()).await.map(|command| command.id()).unwrap_err();
        assert_eq!(refusal().await, SubmitError::NotAllowed(words()));
        assert_eq!(refusal().await, SubmitError::BadPayload(words()));
        assert_eq!(refusal().await, SubmitError::Quota(words()));
        assert!(matches!(refusal().await, SubmitError::Refused { .. }));
        assert!(matches!(refusal().await, SubmitError::IdConflict(_)));
        let too_long = Submission { reason: Some("x".repeat(2_000)), ..wake() };
        let error = publisher.submit(&target, too_long).await.map(|command| command.id());
        assert!(matches!(error, Err(SubmitError::Invalid(_))), "{error:?}");
        publisher.submit(&target, wake()).await.unwrap();
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn an_operator_who_is_refused_on_return_is_told_so() {
    let fake = Fake::start().await;
    let (publisher, mut peer) = connect(&fake, 10).await;
    let script = async {
        peer.submission().await;
        drop(peer);
        let mut peer = fake.peer().await;
        peer.connack(ConnectReturnCode::BadUserNamePassword, None).await;
        assert!(peer.recv().await.is_none());
    };
    let user = async {
        let first = publisher.submit(&agent("pc-1"), wake()).await.map(|command| command.id());
        assert!(first.as_ref().is_err_and(SubmitError::is_not_allowed), "{first:?}");
        let second = publisher.submit(&agent("pc-1"), wake()).await.map(|command| command.id());
        assert!(second.as_ref().is_err_and(SubmitError::is_not_allowed), "{second:?}");
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn a_wrong_secret_is_not_allowed_and_a_strange_certificate_is_told() {
    let fake = Fake::start().await;
    let profile = fake.profile();
    let script = async {
        fake.peer().await.connack(ConnectReturnCode::BadUserNamePassword, None).await;
    };
    let (error, ()) = tokio::join!(Publisher::connect(&profile), script);
    assert!(error.unwrap_err().is_not_allowed());
    let mut profile = fake.profile();
    profile.ca = Fake::start().await.profile().ca;
    let error = tokio::select! {
        result = Publisher::connect(&profile) => result.unwrap_err(),
        _ = fake.accept() => panic!("the handshake must not succeed"),
    };
    assert!(error.is_certificate() && !error.is_not_allowed(), "{error}");
}
