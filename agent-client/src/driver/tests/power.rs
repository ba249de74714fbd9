//! Relay commands, changed facts, and a machine that resumes.

use std::net::{Ipv4Addr, UdpSocket};

use wakemq_protocol::MagicPacket;

use super::*;

const LOOPBACK: &str =
    r#"[{"name":"lo","mac":"00:16:3e:00:00:01","medium":"wired","addresses":["127.0.0.1/8"]}]"#;

#[tokio::test(start_paused = true)]
async fn a_relay_command_is_carried_out_by_the_agent_itself() {
    let listener = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            owner.declare(LOOPBACK);
            let job = serde_json::json!({"macs": ["00:16:3e:00:00:02"], "ports": [port]});
            broker.command_with(7, id(), "relay", job).await;
            assert_eq!(broker.acknowledged().await, 7);
            let (receipt, publish) = broker.published().await;
            assert_eq!(
                (&receipt["state"], &receipt["detail"]),
                (&"done".into(), &"sent 6 packets on lo".into())
            );
            broker.answer(&publish, PubAckReason::Success).await;
            assert!(owner.commands.try_recv().is_err(), "it is not for the handler");
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
            assert!(owner.unconfirmed().is_empty());
        })
        .await;
    assert!(matches!(end, End::Shutdown));
    let mut buffer = [0; 200];
    let length = listener.recv(&mut buffer).unwrap();
    assert_eq!(MagicPacket::parse(&buffer[..length]).unwrap().mac.to_string(), "00:16:3e:00:00:02");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_a_relay_job_end() {
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            owner.declare(LOOPBACK);
            let job = serde_json::json!({"macs": ["00:16:3e:00:00:02"], "ports": [40_000]});
            broker.command_with(7, id(), "relay", job).await;
            assert_eq!(broker.acknowledged().await, 7);
            owner.shutdown.take().unwrap().send(()).unwrap();
            let (receipt, publish) = broker.published().await;
            assert_eq!(receipt["state"], "done");
            broker.answer(&publish, PubAckReason::Success).await;
            broker.goodbye().await;
        })
        .await;
    assert!(matches!(end, End::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn facts_are_told_again_when_they_have_changed_and_only_then() {
    let (end, ()) = Rig::new()
        .await
        .play(async |mut broker, mut owner| {
            broker.begin().await;
            // Nothing that the facts tell of has changed; and a clock that was set is no resume.
            owner.noticed.send(Noticed::NetworkChanged).await.unwrap();
            owner.noticed.send(Noticed::ClockSet).await.unwrap();
            assert!(matches!(broker.receive().await, Packet::PingReq(_)));
            broker.send(Packet::PingResp(PingResp)).await;

            owner.declare(LOOPBACK);
            owner.noticed.send(Noticed::NetworkChanged).await.unwrap();
            let (facts, publish) = broker.published().await;
            assert_eq!(publish.topic, "wake/v1/agents/a1/facts");
            assert_eq!((&facts["interfaces"][0]["name"], &facts["relay"]), (&"lo".into(), &true.into()));
            broker.answer(&publish, PubAckReason::Success).await;
            owner.shutdown.take().unwrap().send(()).unwrap();
            broker.goodbye().await;
        })
        .await;
    assert!(matches!(end, End::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_resume_ends_a_wait_and_what_went_wrong_before_is_forgotten() {
    let Rig { mut driver, mut inbox, mut owner, session, broker, .. } = Rig::new().await;
    drop((session, broker));
    let mut place = Place::find().await;
    driver.seeker.start(place.key());
    driver.facts.resumed_for_test();
    let script = async {
        let is_long = |now: &Status| matches!(now.connection, Connection::Waiting { retry_in, .. } if retry_in.as_secs() > 20);
        owner.status.wait_for(is_long).await.unwrap();
        let began = Instant::now();
        owner.noticed.send(Noticed::ClockSet).await.unwrap();
        // Nobody listens, which is known at once: it is the first wait of a back-off again.
        let is_short = |now: &Status| matches!(now.connection, Connection::Waiting { retry_in, .. } if retry_in.as_secs() < 1);
        owner.status.wait_for(is_short).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        owner.shutdown.take().unwrap().send(()).unwrap();
    };
    let (next, ()) = tokio::join!(driver.seek(&mut inbox, &mut place, None), script);
    assert!(matches!(next, Next::Shutdown));
}
