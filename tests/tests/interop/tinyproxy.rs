//! Agents behind tinyproxy.

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, free_address};
use wakemq_tests::operator::Wakemq;
use wakemq_tests::process::Process;

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
    let wakemq = Wakemq::admin(&broker);
    wakemq.call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;

    proxy.process.kill().await?;
    agent.wait_line(&format!("connected address={} proxy=none", broker.address())).await?;
    wakemq.call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn what_tinyproxy_does_not_allow_goes_directly() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let proxy = Tinyproxy::start(443).await?;
    let token = broker.token(1).await?;
    let home = Home::enrol_with(&broker, "pc-1", &token, &["--proxy", &proxy.url]).await?;
    let agent = home.run(None)?;
    agent.wait_line("it does not allow that host or port (403)").await?;
    agent.wait_line(&format!("connected address={} proxy=none", broker.address())).await?;
    Ok(())
}
