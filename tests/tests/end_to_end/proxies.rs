//! Agents behind an HTTP proxy, and past one that opens TLS.

use anyhow::{Context as _, Result};
use wakemq_agent::{Agent, AgentOptions, Connection, StateDir};
use wakemq_tests::agents::{Home, status};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::interceptor::Interceptor;
use wakemq_tests::operator::Wakemq;
use wakemq_tests::proxy::ConnectProxy;
use wakemq_tests::wait::eventually;

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

#[tokio::test]
async fn who_opens_tls_is_passed_by_an_extra_ca_alone_and_the_operator_sees_who_it_is() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let interceptor = Interceptor::start(broker.address(), &broker.ca_path()).await?;
    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let ca = std::fs::read_to_string(broker.ca_path())?;
    let home = Home::of(&id, &secret, vec![interceptor.address().to_string()], ca)?;
    let mut agent = home.run(None)?;
    agent.wait_line("invalid peer certificate").await?;
    agent.process().kill().await?;

    let file = home.path("corp.pem");
    std::fs::write(&file, interceptor.ca())?;
    let agent = home.run_with(&["--extra-ca", file.to_str().context("a path of a test is UTF-8")?])?;
    let warned = agent.wait_line("somebody between opens TLS").await?;
    let mut management = broker.management()?;
    let issuer = eventually("the interceptor to be told", async || {
        let reach = management.agent(&id).await?.facts.and_then(|facts| facts.reach);
        Ok(reach.and_then(|reach| reach.intercepted_by))
    })
    .await?;
    assert!(warned.contains("WARN") && warned.contains(&issuer), "{issuer:?} is not in {warned:?}");
    Wakemq::admin(&broker).call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;
    Ok(())
}
