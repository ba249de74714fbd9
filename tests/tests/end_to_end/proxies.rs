//! Agents behind an HTTP proxy.

use anyhow::Result;
use wakemq_agent::{Agent, AgentOptions, Connection, StateDir};
use wakemq_tests::agents::{Home, status};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::operator::Wakemq;
use wakemq_tests::proxy::ConnectProxy;

#[tokio::test]
async fn an_agent_enrols_and_is_woken_through_its_proxy_and_directly_when_that_dies() -> Result<()> {
    let (broker, proxy) = (BrokerProcess::start().await?, ConnectProxy::start().await?);
    let target = broker.address().to_string();
    let token = broker.token(1).await?;
    let home = Home::enrol_with(&broker, "pc-1", &token, &["--proxy", &proxy.url()]).await?;
    assert_eq!(proxy.asked(), [target.as_str()], "HTTPS went through it too");

    // `enrol` has kept the proxy.
    let agent = home.run(None)?;
    agent
        .wait_line(&format!("connected address={} proxy={} agent=pc-1", &proxy.url()[7..], proxy.url()))
        .await?;
    assert_eq!(proxy.asked(), [target.as_str(), &target]);
    let wakemq = Wakemq::admin(&broker);
    wakemq.call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;

    proxy.stop().await;
    agent.wait_line(&format!("connected address={target} proxy=none agent=pc-1")).await?;
    wakemq.call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn the_proxy_of_one_run_stands_in_for_the_one_that_was_enrolled_with() -> Result<()> {
    let (broker, enrolled, other) =
        (BrokerProcess::start().await?, ConnectProxy::start().await?, ConnectProxy::start().await?);
    let token = broker.token(1).await?;
    let home = Home::enrol_with(&broker, "pc-1", &token, &["--proxy", &enrolled.url()]).await?;
    let asked = enrolled.asked();
    let mut agent = home.run_with(&["--proxy", &other.url()])?;
    agent.wait_line(&format!("proxy={}", other.url())).await?;
    agent.process().kill().await?;
    let mut agent = home.run_with(&["--proxy", "none"])?;
    agent.wait_line(" connected address=").await?;
    agent.wait_line("proxy=none").await?;
    agent.process().kill().await?;
    assert_eq!((enrolled.asked(), other.asked().len()), (asked, 1));
    Ok(())
}

#[tokio::test]
async fn the_librarys_owner_sets_a_proxy_and_sees_which_way_the_connection_goes() -> Result<()> {
    let (broker, proxy) = (BrokerProcess::start().await?, ConnectProxy::start().await?);
    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let home = Home::imported(&broker, &id, &secret)?;
    let state = StateDir::open(&home.state())?;
    let identity = state.identity()?;
    let url = proxy.url().parse()?;
    let agent = Agent::connect(identity, AgentOptions::new(state).proxy(url))?;
    let through = proxy.url();
    status(
        &agent,
        "the agent to be connected through the proxy",
        |now| matches!(now, Connection::Connected { proxy: Some(proxy), .. } if proxy.to_string() == through),
    )
    .await?;
    proxy.stop().await;
    status(
        &agent,
        "the agent to be connected directly",
        |now| matches!(now, Connection::Connected { proxy: None, address, .. } if *address == broker.address()),
    )
    .await
}
