//! One live way for each agent, and how a poll ends that is none any more.

use anyhow::Result;
use serde_json::json;
use wakemq_protocol::CommandState;
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::raw::{Login, Version as Mqtt};
use wakemq_tests::wait::{LIMIT, eventually, within};

use super::client::{BOTH, Version};
use super::{Scene, agent, id_of, poll};

#[tokio::test]
async fn a_connect_ends_a_poll_and_a_poll_ends_a_session() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let polling = scene.parked(scene.client(version).await?, poll(&[])).await?;
        let mut session = scene.broker.dial().await?;
        session.enter(&Login::new(Mqtt::V5, "pc-1", scene.secret.expose())).await?;
        let (client, status, answer) = polling.answer().await?;
        assert_eq!((status, answer), (200, json!({"status": "superseded"})));
        session.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
        let polling = client.polling(poll(&[]));
        assert_eq!(session.closed().await?, Some(0x8E));
        let woken = scene.wake().await?;
        let (_client, _, answer) = polling.answer().await?;
        assert_eq!(answer["commands"][0]["id"], id_of(&woken));
        // Between two polls too; what the poll was given goes out again, for an acknowledgement would be for nobody.
        let mut session = scene.broker.dial().await?;
        session.enter(&Login::new(Mqtt::V5, "pc-1", scene.secret.expose())).await?;
        session.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
        assert_eq!(session.command().await?.1["id"], id_of(&woken));
        scene.clock.pass(31_000);
        session.ping().await?;
        scene.connected(true).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_newer_poll_ends_an_older_one_and_goes_on_with_what_it_had() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let (mut given, mut first) = (scene.wake().await?, scene.client(version).await?);
        first.commands(&[]).await?;
        let mut waiting = first.polling(poll(&[]));
        for _ in 0..5 {
            let newer = scene.client(version).await?.polling(poll(&[]));
            let (_, status, answer) = waiting.answer().await?;
            assert_eq!((status, answer), (200, json!({"status": "superseded"})));
            waiting = newer;
        }
        assert!(!waiting.is_answered(), "what was given is withheld still");
        let newest = scene.client(version).await?.polling(poll(&[&id_of(&given)]));
        assert_eq!(given.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
        let woken = scene.wake().await?;
        let (_, _, answer) = newest.answer().await?;
        assert_eq!(answer["commands"][0]["id"], id_of(&woken));
        waiting.answer().await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_polls_at_once_leave_one() -> Result<()> {
    let scene = Scene::start().await?;
    let mut polls = Vec::new();
    for n in 0..40 {
        // Some are of another process.
        let body = json!({"heartbeat": 600, "instance": if n % 10 == 9 { "i2" } else { "i1" }});
        polls.push(scene.client(BOTH[n % 2]).await?.polling(body));
    }
    eventually("all but one to be answered", async || {
        Ok((polls.iter().filter(|poll| !poll.is_answered()).count() <= 1).then_some(()))
    })
    .await?;
    for polling in polls {
        if polling.is_answered() {
            let (_, status, answer) = polling.answer().await?;
            // Two processes that alternate are a clone.
            assert!(status == 429 || answer == json!({"status": "superseded"}), "{status}: {answer}");
        }
    }
    scene.connected(false).await?;
    eventually("nothing to be left", async || {
        let live = scene.broker.broker.engine().registry().live();
        Ok((live.agents == 0 && live.mailboxes == 1).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_client_that_is_gone_while_it_waits_is_not_connected() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let polling = scene.parked(scene.client(version).await?, poll(&[])).await?;
        drop(polling);
        scene.connected(false).await?;
        assert_eq!(scene.broker.scrape()?.of("wakemq_polls_total{answer=\"gone\"}")?, 1.0);
        let queued = scene.wake().await?;
        assert_eq!(scene.state(queued.id()).await?, CommandState::Queued);
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_stops_says_when_to_come_back() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let polling = scene.parked(scene.client(version).await?, poll(&[])).await?;
        let trial = scene.client(version).await?.polling(json!({"heartbeat": 600, "trial": true}));
        scene.trial_waits().await?;
        scene.publisher.close().await;
        let down = tokio::spawn(scene.broker.shutdown());
        for polling in [polling, trial] {
            let (client, status, answer) = polling.answer().await?;
            assert_eq!((status, answer), (200, json!({"status": "retry", "after": 1})));
            drop(client);
        }
        assert_eq!(within("the end", down).await??, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_agent_is_told_so_at_once() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let polling = scene.parked(scene.client(version).await?, poll(&[])).await?;
        let trial = scene.client(version).await?.polling(json!({"heartbeat": 600, "trial": true}));
        scene.trial_waits().await?;
        scene.broker.management()?.revoke_agent(&agent()).await?;
        for polling in [polling, trial] {
            let (mut client, status, answer) = polling.answer().await?;
            assert_eq!((status, &answer["type"]), (401, &json!("urn:wakemq:problem:wrong-secret")));
            assert_eq!(client.post("/v1/poll", &poll(&[])).await?.0, 401, "and so is the next");
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_machines_with_one_secret_are_told_to_wait() -> Result<()> {
    let scene = Scene::start().await?;
    let (mut refused, mut kept) = (None, Vec::new());
    for n in 0..20 {
        let body = json!({"heartbeat": 600, "instance": format!("i{}", n % 2)});
        let polling = scene.client(Version::Http1).await?.polling(body);
        let metrics = &scene.broker.broker.engine().metrics();
        eventually("it to wait, or to be refused", async || {
            let parked = scene.broker.broker.engine().registry().live().agents == 1;
            Ok((polling.is_answered() || parked).then_some(()))
        })
        .await?;
        if metrics.cloned_identities.get() > 0 && polling.is_answered() {
            refused = Some(polling.answer().await?);
            break;
        }
        // A poll of which the client is gone is nobody's.
        kept.push(polling);
    }
    let (_, status, answer) = refused.ok_or_else(|| anyhow::anyhow!("nobody was refused"))?;
    assert_eq!((status, &answer["type"]), (429, &json!("urn:wakemq:problem:cloned-identity")));
    Ok(())
}

#[tokio::test]
async fn a_trial_takes_nothing_over_and_there_is_one_of_them() -> Result<()> {
    let scene = Scene::start().await?;
    let mut session = scene.broker.dial().await?;
    session.enter(&Login::new(Mqtt::V5, "pc-1", scene.secret.expose())).await?;
    session.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let trial = |secs: u32| json!({"heartbeat": secs, "trial": true});
    let older = scene.client(Version::Http1).await?.polling(trial(600));
    let live = || scene.broker.broker.engine().registry().live();
    scene.trial_waits().await?;
    let newer = scene.client(Version::Http2).await?.polling(trial(5));
    let (client, status, answer) = older.answer().await?;
    assert_eq!((status, answer), (200, json!({"status": "superseded"})));
    // Commands go the agent's own way.
    let woken = scene.wake().await?;
    assert_eq!(session.command().await?.1["id"], id_of(&woken));
    assert!(!newer.is_answered());
    scene.clock.pass(5_000);
    let (_, status, answer) = newer.answer().await?;
    assert_eq!((status, answer), (200, json!({"status": "idle"})));
    session.ping().await?;
    // One whose client is gone leaves nothing.
    let gone = client.polling(trial(600));
    scene.trial_waits().await?;
    drop(gone);
    eventually("nothing to be left of it", async || {
        Ok((live().trials == 0 && live().mailboxes == 2).then_some(()))
    })
    .await?;
    assert_eq!(scene.broker.broker.door().timers_set(), 2, "of the session and of the publisher");
    Ok(())
}
