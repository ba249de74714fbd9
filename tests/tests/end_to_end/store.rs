//! A store that cannot write, and a store file that is damaged.

use std::path::Path;

use anyhow::{Context as _, Result};
use wakemq_protocol::{AgentId, CommandState, Kind, SlotChoice, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::broker::{BrokerProcess, init, listening, run};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Packet, Version};
use wakemq_tests::wait::{LIMIT, within};

fn no_slot() -> Submission {
    Submission { slot: SlotChoice::Never, ..Submission::new(Kind::Wake) }
}

#[tokio::test]
async fn a_store_that_cannot_write_acknowledges_nothing_and_delivers_the_rest() -> Result<()> {
    let injected = Injected::default();
    let full = injected.full.clone();
    let broker = InProcessBroker::start(injected).await?;
    let made = broker.import(&["pc-1"]).await?;
    let secret = broker.profile()?.secret;
    let publisher = broker.publisher().await?;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting
            .push(within("a submission", publisher.submit(&"pc-1".parse::<AgentId>()?, no_slot())).await??);
    }
    full.set(true);

    // Publishers: an error that says so, no acknowledgement.
    let topic = "wake/v1/agents/pc-1/commands";
    let mut operator = broker.dial().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    for _ in 0..2 {
        let (code, reason) = operator.published(topic, br#"{"kind":"wake","slot":null}"#).await?;
        assert_eq!(code, 0x83);
        assert!(reason.as_deref().is_some_and(|text| text.contains("store cannot write")), "{reason:?}");
    }
    let mut old = broker.dial().await?;
    old.enter(&Login::new(Version::V4, "op:admin", secret.expose())).await?;
    old.publish(topic, br#"{"kind":"wake","slot":null}"#, &[]).await?;
    assert_eq!(old.closed().await?, None, "3.1.1 closes without a PUBACK");

    // Agents are let in, and get what was accepted before.
    let login = Login::new(Version::V5, "pc-1", made[0].1.expose());
    let mut agent = broker.dial().await?;
    agent.enter(&login).await?;
    assert_eq!(agent.subscribe(topic, 1).await?, 1);
    let mut packet_ids = Vec::new();
    for command in &waiting {
        let (packet_id, payload) = agent.command().await?;
        assert_eq!(payload["id"], command.id().to_string());
        packet_ids.push(packet_id);
    }
    // A receipt is refused, so that the agent keeps it.
    let receipt = format!(r#"{{"id":"{}","state":"done"}}"#, waiting[0].id());
    let (code, reason) = agent.published("wake/v1/agents/pc-1/receipts", receipt.as_bytes()).await?;
    assert_eq!(code, 0x83, "{reason:?}");
    // An acknowledgement cannot be recorded: the agent is told to come back, and nothing is forgotten.
    agent.acknowledge(packet_ids[0]).await?;
    assert_eq!(agent.closed().await?, Some(0x88));
    let state = broker.management()?.command(waiting[0].id()).await?.outcomes.remove(0).state;
    assert!(matches!(state, CommandState::Queued | CommandState::Sent), "{state}");

    // HTTP says that it is not the client's fault.
    let token = wakemq_protocol::http::TokenRequest { group: "x".parse()?, uses: 1, expires_in: 60 };
    let refused = broker.management()?.create_token(&token).await.expect_err("a token was not written");
    assert!(format!("{refused}").contains("store cannot be written"), "{refused}");

    // There is room again: everything goes on, and nothing was accepted in between.
    full.set(false);
    let mut agent = broker.dial().await?;
    agent.enter(&login).await?;
    agent.subscribe(topic, 1).await?;
    for command in &waiting {
        let (packet_id, payload) = agent.command().await?;
        assert_eq!(payload["id"], command.id().to_string());
        agent.acknowledge(packet_id).await?;
    }
    for command in &mut waiting {
        assert_eq!(command.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    }
    let next = within("a submission", publisher.submit(&"pc-1".parse::<AgentId>()?, no_slot())).await??;
    let (_, payload) = agent.command().await?;
    assert_eq!(payload["id"], next.id().to_string());
    Ok(())
}

#[tokio::test]
async fn the_agent_library_keeps_its_receipts_until_the_store_can_write_again() -> Result<()> {
    let injected = Injected::default();
    let full = injected.full.clone();
    let broker = InProcessBroker::start(injected).await?;
    let (home, mut agent) = broker.agent("pc-1").await?;
    let publisher = broker.publisher().await?;
    let mut woken = within("a submission", publisher.submit(agent.id(), no_slot())).await??;
    let incoming = within("the command", agent.next_command()).await?.context("the agent runs")?;
    assert_eq!(woken.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    full.set(true);
    incoming.done(None);
    let refused = within("a refusal", publisher.submit(agent.id(), no_slot())).await?;
    let error = refused.expect_err("nothing can be accepted").to_string();
    assert!(error.contains("cannot write"), "{error}");
    full.set(false);

    let mut next = within("a submission", publisher.submit(agent.id(), no_slot())).await??;
    within("the next command", agent.next_command()).await?.context("the agent runs")?.done(None);
    assert_eq!(next.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    // A receipt that was refused is sent again after a while, and at once by a new start.
    agent.shutdown().await;
    let _again = home.connected().await?;
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    Ok(())
}

/// Starts a broker on a damaged directory, and checks that it refuses and touches nothing.
async fn is_refused(data: &Path, words: &[&str]) -> Result<()> {
    let store = data.join("store.redb");
    let before = std::fs::read(&store)?;
    let mut process = run(data, "127.0.0.1:0".parse()?)?;
    let listened = listening(&process).await;
    assert!(listened.is_err(), "it listens on {listened:?}");
    assert_eq!(process.wait_exit().await?.code(), Some(3));
    let said: String = process.lines().iter().map(|line| format!("{}\n", line.text)).collect();
    for word in words.iter().chain(&["error:", "hint:", "store.redb"]) {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
    assert!(std::fs::read(&store)? == before, "the file was changed");
    Ok(())
}

#[tokio::test]
async fn a_damaged_store_file_is_refused_and_left_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    {
        let mut broker = {
            init(&data).await?;
            BrokerProcess::start_on(&data).await?
        };
        broker.import(&["pc-1"]).await?;
        broker.terminate().await?;
    }
    let store = data.join("store.redb");
    let good = std::fs::read(&store)?;

    // The head is something else.
    let mut bad = good.clone();
    bad[..4096].fill(0x55);
    std::fs::write(&store, &bad)?;
    is_refused(&data, &["damaged"]).await?;
    // Cut off.
    std::fs::write(&store, &good[..good.len() / 2])?;
    is_refused(&data, &["damaged"]).await?;
    // Empty.
    std::fs::write(&store, b"")?;
    is_refused(&data, &["damaged"]).await?;
    // Everything behind the head is noise.
    let mut bad = good.clone();
    bad[4096..].iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * 31 % 251) as u8);
    std::fs::write(&store, &bad)?;
    is_refused(&data, &["damaged"]).await?;

    // The backup works.
    std::fs::write(&store, &good)?;
    let broker = BrokerProcess::start_on(&data).await?;
    assert_eq!(broker.management()?.agent(&"pc-1".parse()?).await?.pending, 0);
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_missing_is_not_made_anew() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    init(&data).await?;
    std::fs::remove_file(data.join("store.redb"))?;
    let mut process = run(&data, "127.0.0.1:0".parse()?)?;
    assert!(listening(&process).await.is_err());
    assert_eq!(process.wait_exit().await?.code(), Some(3));
    assert!(!data.join("store.redb").exists());
    Ok(())
}

#[tokio::test]
async fn a_second_broker_on_the_same_directory_is_refused() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let mut second = run(broker.data(), "127.0.0.1:0".parse()?)?;
    assert!(listening(&second).await.is_err());
    assert_eq!(second.wait_exit().await?.code(), Some(3));
    second.wait_log("in use").await?;
    let mut client = wakemq_tests::raw::Client::dial(broker.address(), &broker.ca_path()).await?;
    let answer = client.login(&Login::new(Version::V5, "nobody", "x")).await?;
    assert!(matches!(answer, Some(Packet::ConnAck { code: 0x86, .. })), "the first one serves: {answer:?}");
    Ok(())
}
