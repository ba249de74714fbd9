//! Receipts, facts and reports by HTTP.

use anyhow::Result;
use serde_json::json;
use wakemq_protocol::CommandState;
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::wait::{LIMIT, eventually};

use super::client::{BOTH, Client, Version};
use super::{Scene, agent, id_of, poll};

#[tokio::test]
async fn a_receipt_says_what_became_of_a_command_and_implies_the_acknowledgement() -> Result<()> {
    for version in BOTH {
        let scene = Scene::start().await?;
        let (mut woken, mut client) = (scene.wake().await?, scene.client(version).await?);
        client.commands(&[]).await?;
        let receipt = json!({"id": id_of(&woken), "state": "done", "detail": "synchronised"});
        assert_eq!(client.post("/v1/receipts", &receipt).await?.0, 204);
        assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
        // Nothing goes out anew after the minute.
        let polling = client.polling(poll(&[]));
        scene.clock.pass(61_000);
        scene.connected(true).await?;
        assert!(!polling.is_answered());
        assert_eq!(scene.state(woken.id()).await?, CommandState::Done);
    }
    Ok(())
}

#[tokio::test]
async fn a_receipt_for_a_command_that_nobody_knows_is_taken_and_counted() -> Result<()> {
    let scene = Scene::start().await?;
    let mut client = scene.client(Version::Http2).await?;
    let unknown = json!({"id": "0197c1b2-0000-7000-8000-000000000001", "state": "done"});
    assert_eq!(client.post("/v1/receipts", &unknown).await?.0, 204);
    assert_eq!(scene.broker.scrape()?.of("wakemq_receipts_total{fate=\"unknown\"}")?, 1.0);
    assert_eq!(client.ask("POST", "/v1/receipts", b"{\"id\":").await?.0, 400);
    assert_eq!(client.post("/v1/receipts", &json!({"id": 7})).await?.0, 422);
    Ok(())
}

#[tokio::test]
async fn facts_are_the_agents_whether_they_come_before_its_poll_or_after() -> Result<()> {
    let scene = Scene::start().await?;
    let mut management = scene.broker.management()?;
    let mut client = scene.client(Version::Http1).await?;
    for (host_name, with_poll) in [("before", false), ("after", true)] {
        let polling = match with_poll {
            true => Some(scene.parked(scene.client(Version::Http2).await?, poll(&[])).await?),
            false => None,
        };
        let facts = json!({"instance": "i1", "host_name": host_name});
        assert_eq!(client.post("/v1/facts", &facts).await?.0, 204);
        eventually("the facts", async || {
            let known = management.agent(&agent()).await?.facts;
            Ok(known.filter(|facts| facts.host_name.as_deref() == Some(host_name)))
        })
        .await?;
        drop(polling);
    }
    Ok(())
}

#[tokio::test]
async fn an_operators_secret_polls_and_posts_nothing() -> Result<()> {
    let scene = Scene::start().await?;
    let operator = scene.broker.profile()?.secret;
    let mut client = Client::dial(&scene.broker, Version::Http2, &operator).await?;
    for (path, body) in [
        ("/v1/poll", poll(&[])),
        ("/v1/receipts", json!({"id": "0197c1b2-0000-7000-8000-000000000001", "state": "done"})),
        ("/v1/facts", json!({})),
        ("/v1/reports", json!({})),
    ] {
        assert_eq!(client.post(path, &body).await?.0, 403, "{path}");
    }
    Ok(())
}
