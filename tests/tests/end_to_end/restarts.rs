//! The broker ends, in order or not, and comes back.

use anyhow::Result;
use wakemq_protocol::{AgentId, CommandState, Kind, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::agents::{Home, connected, status};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::operator::Wakemq;
use wakemq_tests::wait::{LIMIT, within};

async fn one(broker: &BrokerProcess, name: &str) -> Result<Home> {
    let made = broker.import(&[name]).await?;
    Home::imported(broker, &made[0].0, &made[0].1)
}

#[tokio::test]
async fn what_was_accepted_just_before_sigkill_is_delivered_after_the_restart() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let home = one(&broker, "pc-1").await?;
    let wakemq = Wakemq::admin(&broker);
    let id = wakemq.call(&["wake", "pc-1", "--wait", "none", "--json"]).await?.expect_code(0)?.field("id")?;
    broker.kill().await?;

    let agent = home.run(None)?;
    broker.restart().await?;
    agent.wait_line(&id).await?;
    Ok(())
}

#[tokio::test]
async fn connected_agents_and_publishers_come_back_by_themselves_after_sigkill() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let home = one(&broker, "pc-1").await?;
    let mut agent = home.connected().await?;
    let publisher = broker.publisher().await?;
    broker.kill().await?;
    status(&agent, "the loss to be noticed", |now| {
        !matches!(now, wakemq_agent::Connection::Connected { .. })
    })
    .await?;

    // Submitted while nobody is there: it waits for the broker.
    let submission = Submission::new(Kind::Wake);
    let submitting = {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            publisher.submit(&"pc-1".parse::<AgentId>()?, submission).await.map_err(anyhow::Error::from)
        })
    };
    broker.restart().await?;
    let mut submitted = within("the submission", submitting).await???;
    let incoming = within("the command", agent.next_command()).await?.expect("the agent runs");
    assert_eq!(incoming.command().id, submitted.id());
    incoming.done(None);
    assert_eq!(submitted.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    Ok(())
}

#[tokio::test]
async fn an_orderly_shutdown_tells_everybody_and_everybody_comes_back() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let home = one(&broker, "pc-1").await?;
    let agent = home.connected().await?;
    let ended = broker.terminate().await?;
    assert_eq!(ended.code(), Some(0), "{}", broker.process().explain(anyhow::anyhow!("not 0")));
    let told = "the broker ended the connection";
    status(&agent, told, |now| {
        matches!(now, wakemq_agent::Connection::Waiting { problem, .. } if problem.to_string().contains(told))
    })
    .await?;
    broker.restart().await?;
    connected(&agent).await
}

#[tokio::test]
async fn an_acknowledged_command_survives_sigkill_and_is_not_sent_again() -> Result<()> {
    let mut broker = BrokerProcess::start().await?;
    let home = one(&broker, "pc-1").await?;
    let mut agent = home.connected().await?;
    let publisher = broker.publisher().await?;
    let submit =
        async |submission: Submission| within("a submission", publisher.submit(agent.id(), submission)).await;
    let mut first = submit(Submission::new(Kind::Wake)).await??;
    assert_eq!(first.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    broker.kill().await?;
    broker.restart().await?;
    connected(&agent).await?;
    assert_eq!(broker.management()?.command(first.id()).await?.outcomes[0].state, CommandState::Acknowledged);

    let incoming = within("the command", agent.next_command()).await?.expect("the agent runs");
    assert_eq!(incoming.command().id, first.id());
    incoming.done(None);
    assert_eq!(first.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    // Had it been sent a second time, it would come before this one.
    let second = within("a submission", publisher.submit(agent.id(), Submission::new(Kind::Wake))).await??;
    let incoming = within("the next command", agent.next_command()).await?.expect("the agent runs");
    assert_eq!(incoming.command().id, second.id());
    Ok(())
}
