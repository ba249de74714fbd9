//! The main path: an agent is enrolled and woken.

use anyhow::Result;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::operator::Wakemq;

#[tokio::test]
async fn an_enrolled_agent_is_woken_up_to_each_state() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let home = Home::enrol(&broker, "pc-1", &broker.token(1).await?).await?;
    let agent = home.run(None)?;
    agent.connected().await?;
    let wakemq = Wakemq::admin(&broker);
    for (wait, states) in [
        ("none", &["accepted"][..]),
        ("sent", &["sent", "acknowledged", "done"]),
        ("acknowledged", &["acknowledged", "done"]),
        ("done", &["done"]),
    ] {
        let answer =
            wakemq.call(&["wake", "pc-1", "--wait", wait, "--no-slot", "--reason", wait, "--json"]).await?;
        let answer = answer.expect_code(0)?;
        let object = answer.one()?;
        assert!(states.iter().any(|state| object["state"] == *state), "{wait}: {object}");
        assert_eq!(object["as_wanted"], true);
        assert_eq!(object["agent"], "pc-1");
        // The daemon without a handler prints each command, the whole of it.
        let printed = agent.wait_line(&format!("\"id\":\"{}\"", answer.field("id")?)).await?;
        let printed: serde_json::Value = serde_json::from_str(&printed)?;
        assert_eq!(printed["kind"], "wake");
        assert_eq!(printed["by"], "op:admin");
        assert_eq!(printed["reason"], wait);
        assert_eq!(printed["slot"], serde_json::Value::Null);
    }
    Ok(())
}

#[tokio::test]
async fn the_handler_is_told_everything_and_its_exit_code_is_the_outcome() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let home = Home::enrol(&broker, "pc-1", &broker.token(1).await?).await?;
    let agent = home.run(Some(
        r#"echo "woken $WAKEMQ_AGENT $WAKEMQ_KIND $WAKEMQ_SLOT $WAKEMQ_PRIORITY $WAKEMQ_BY <$WAKEMQ_REASON>"; test "$WAKEMQ_REASON" = good"#,
    ))?;
    agent.connected().await?;
    let wakemq = Wakemq::admin(&broker);
    let good =
        ["wake", "pc-1", "--wait", "done", "--reason", "good", "--slot", "s", "--priority", "high", "--json"];
    assert_eq!(wakemq.call(&good).await?.expect_code(0)?.field("state")?, "done");
    agent.wait_line("woken pc-1 wake s high op:admin <good>").await?;

    let bad = wakemq
        .call(&["wake", "pc-1", "--wait", "done", "--reason", "bad", "--json"])
        .await?
        .expect_code(1)?;
    assert_eq!(bad.field("state")?, "failed");
    assert_eq!(bad.field("detail")?, "exit status: 1");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_was_off_is_woken_when_it_is_back() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let home = Home::enrol(&broker, "pc-1", &broker.token(1).await?).await?;
    let mut agent = home.run(None)?;
    agent.connected().await?;
    agent.process().terminate()?;
    assert!(agent.process().wait_exit().await?.success());

    let wakemq = Wakemq::admin(&broker);
    let queued = wakemq.call(&["wake", "pc-1", "--wait", "none", "--json"]).await?.expect_code(0)?;
    let id = queued.field("id")?;
    let shown = wakemq.call(&["show", &id, "--json"]).await?.expect_code(0)?.one()?;
    assert_eq!(shown["outcomes"][0]["state"], "queued");

    let agent = home.run(None)?;
    agent.wait_line(&id).await?;
    wakemq_tests::wait::eventually("the command to be done", async || {
        let shown = wakemq.call(&["show", &id, "--json"]).await?.expect_code(0)?.one()?;
        Ok((shown["outcomes"][0]["state"] == "done").then_some(()))
    })
    .await
}

#[tokio::test]
async fn many_agents_are_woken_by_one_call() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let names = ["pc-1", "pc-2", "pc-3"];
    let mut agents = Vec::new();
    for (id, secret) in broker.import(&names).await? {
        let home = Home::imported(&broker, &id, &secret)?;
        let agent = home.run(Some("true"))?;
        agent.connected().await?;
        agents.push((home, agent));
    }
    let wakemq = Wakemq::admin(&broker);
    let answer = wakemq.call(&["wake", "pc-1", "pc-2", "pc-3", "--wait", "done"]).await?.expect_code(0)?;
    assert_eq!(answer.out.lines().filter(|line| line.contains("done")).count(), 3, "{}", answer.out);
    // One is unknown: the others are woken all the same, and the exit code tells.
    let answer = wakemq
        .call_with(&["wake", "-", "--wait", "done", "--json"], "pc-1\nnobody\npc-3\n")
        .await?
        .expect_code(1)?;
    let objects = answer.json()?;
    let as_wanted =
        |agent: &str| objects.iter().find(|object| object["agent"] == agent).map(|o| &o["as_wanted"]);
    assert_eq!(as_wanted("pc-1"), Some(&true.into()));
    assert_eq!(as_wanted("nobody"), Some(&false.into()));
    assert_eq!(as_wanted("pc-3"), Some(&true.into()));
    Ok(())
}
