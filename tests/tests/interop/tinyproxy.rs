//! Agents behind tinyproxy.

use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_publisher::Wanted;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, free_address};
use wakemq_tests::process::Process;
use wakemq_tests::wait::eventually;
use wakemq_tests::waking::{tell, wake};

struct Tinyproxy {
    process: Process,
    url: String,
    _dir: TempDir,
}

impl Tinyproxy {
    /// Starts a proxy that lets CONNECT through to one port alone.
    async fn start(allowed: u16) -> Result<Self> {
        let address = free_address()?;
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("tinyproxy.conf");
        std::fs::write(
            &config,
            format!(
                "Port {}\nListen 127.0.0.1\nAllow 127.0.0.1\nConnectPort {allowed}\nLogLevel Info\n",
                address.port()
            ),
        )?;
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config);
        let process = Process::start("tinyproxy", command)
            .context("it cannot be run; on Debian: apt-get install tinyproxy")?;
        process
            .wait_line("to accept connections", |line| {
                line.text.contains("Accepting connections").then_some(())
            })
            .await?;
        Ok(Self { process, url: format!("http://{address}"), _dir: dir })
    }
}

#[tokio::test]
async fn tinyproxy_carries_an_agent_until_it_dies() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let mut proxy = Tinyproxy::start(broker.address().port()).await?;
    let token = broker.token(1).await?;
    let home = Home::enrol_with(&broker, "pc-1", &token, &["--proxy", &proxy.url]).await?;
    let agent = home.run(None)?;
    agent.wait_line(&format!("connected address={} proxy={}", &proxy.url[7..], proxy.url)).await?;
    let publisher = broker.publisher().await?;
    wake(&publisher, home.id(), Wanted::Done, "through tinyproxy").await?;

    let began = Instant::now();
    proxy.process.kill().await?;
    agent.wait_line(&format!("connected address={} proxy=none", broker.address())).await?;
    tell(began, "tinyproxy dies: connected directly");
    wake(&publisher, home.id(), Wanted::Done, "after its end").await
}

#[tokio::test]
async fn what_tinyproxy_does_not_allow_goes_directly() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let proxy = Tinyproxy::start(443).await?;
    let token = broker.token(1).await?;
    let home = Home::enrol_with(&broker, "pc-1", &token, &["--proxy", &proxy.url]).await?;
    let agent = home.run(None)?;
    agent.wait_line(&format!("connected address={} proxy=none", broker.address())).await?;
    // The operator sees why it does not come through its proxy.
    let mut management = broker.management()?;
    let reach = eventually("the way to be told", async || {
        Ok(management.agent(home.id()).await?.facts.and_then(|facts| facts.reach))
    })
    .await?;
    let told = |why: &str| reach.better.iter().any(|way| way.problem.contains(why));
    assert!(told("it does not allow that host or port (403)"), "{reach:?}");
    wake(&broker.publisher().await?, home.id(), Wanted::Done, "past tinyproxy").await
}
