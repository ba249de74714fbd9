//! The agent's own session over long poll, against the broker.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wakemq_link::ladder::Way;
use wakemq_link::mqtt::{ConnectOptions, Event, Incoming, Outgoing, ReasonCode};
use wakemq_link::{
    AnySession, Clock, Ladder, ProxySettings, Transport, Trial, Trust, WayDialer, try_heartbeat,
};
use wakemq_protocol::{CommandState, Topic};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::raw::{Login, Version as Mqtt};
use wakemq_tests::wait::{LIMIT, within};

use super::{Scene, agent};

/// How the agent reaches the broker by long poll.
fn way(scene: &Scene) -> Result<(WayDialer, Way)> {
    let trust = Trust::from_pem(&std::fs::read(scene.broker.ca_path())?)?;
    let ladder = Ladder::parse(&[scene.broker.address()?.to_string()])?;
    let rung = ladder.rungs().next().context("no door")?;
    let dialer = WayDialer::new(&trust, ProxySettings::none())?;
    Ok((dialer, Way { transport: Transport::Poll, rung, proxied: false }))
}

async fn session(scene: &Scene) -> Result<AnySession> {
    let (dialer, way) = way(scene)?;
    let mut options = ConnectOptions::new("pc-1", "pc-1", scene.secret.clone());
    options.user_properties.push(("instance".to_owned(), "i1".to_owned()));
    let line = within("a line", dialer.dial(&way)).await??;
    let (mut session, _) = within("a session", AnySession::connect(line, &dialer, &way, &options)).await??;
    session.subscribe(&Topic::AgentCommands(agent()).to_string())?;
    let event = within("the subscription", session.next_event()).await??;
    ensure!(matches!(event, Event::Subscribed { .. }), "{event:?}");
    Ok(session)
}

async fn command(session: &mut AnySession) -> Result<(Incoming, Value)> {
    let event = within("a command", session.next_event()).await??;
    let Event::Publish(incoming) = event else { anyhow::bail!("no command: {event:?}") };
    let command = serde_json::from_slice(&incoming.payload)?;
    Ok((incoming, command))
}

#[tokio::test]
async fn our_agent_is_woken_by_long_poll_and_its_receipt_arrives() -> Result<()> {
    let scene = Scene::start().await?;
    let mut session = session(&scene).await?;
    for number in 0..3 {
        let mut woken = scene.wake().await?;
        let (incoming, command) = command(&mut session).await?;
        assert_eq!(command["id"], woken.id().to_string());
        session.ack(incoming.pkid.context("no packet id")?)?;
        let acknowledged = woken.wait(Wanted::Acknowledged, LIMIT);
        tokio::select! {
            verdict = acknowledged => assert_eq!(verdict?, Verdict::Reached),
            event = session.next_event() => anyhow::bail!("{event:?}"),
        }
        let receipt = json!({"id": command["id"], "state": "done", "detail": format!("{number}")});
        let token = session.publish(Outgoing {
            topic: Topic::AgentReceipts(agent()).to_string(),
            payload: receipt.to_string().into(),
            ..Outgoing::default()
        })?;
        let event = within("the receipt's answer", session.next_event()).await??;
        assert_eq!(event, Event::Published { token, code: ReasonCode::SUCCESS, reason: None });
        assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
        assert_eq!(scene.state(woken.id()).await?, CommandState::Done);
    }
    // It lives, as the broker shows by ending the older of two polls.
    session.check()?;
    assert_eq!(within("a sign of life", session.next_event()).await??, Event::Alive);
    scene.connected(true).await?;
    Ok(())
}

#[tokio::test]
async fn our_agent_is_told_why_its_polls_end() -> Result<()> {
    let scene = Scene::start().await?;
    let mut polling = session(&scene).await?;
    let mut other = scene.broker.dial().await?;
    other.enter(&Login::new(Mqtt::V5, "pc-1", scene.secret.expose())).await?;
    let event = within("the end", polling.next_event()).await??;
    assert!(
        matches!(event, Event::ServerDisconnect { code, .. } if code == ReasonCode::TAKEN_OVER),
        "{event:?}"
    );

    let mut polling = session(&scene).await?;
    assert_eq!(other.closed().await?, Some(0x8E));
    scene.broker.broker.door().close();
    let event = within("the end", polling.next_event()).await??;
    let Event::ServerDisconnect { code, return_secs, .. } = event else { panic!("{event:?}") };
    assert_eq!((code, return_secs), (ReasonCode::SHUTTING_DOWN, Some(1)));
    Ok(())
}

#[tokio::test]
async fn our_agents_trial_is_borne_beside_its_session() -> Result<()> {
    let scene = Scene::start().await?;
    let mut session = scene.broker.dial().await?;
    session.enter(&Login::new(Mqtt::V5, "pc-1", scene.secret.expose())).await?;
    let (dialer, way) = way(&scene)?;
    let trial = within("the trial", try_heartbeat(&dialer, &way, &scene.secret, 1, Clock::default()));
    assert_eq!(trial.await??, Trial::Borne);
    let trial = within("the trial", try_heartbeat(&dialer, &way, &scene.secret, 9999, Clock::default()));
    assert_eq!(trial.await??, Trial::OutOfRange { heartbeat_secs: 3540 });
    session.ping().await?;
    Ok(())
}
