//! Agents behind a SOCKS5 server.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use tokio::process::Command;
use wakemq_publisher::Wanted;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, free_address, write_private};
use wakemq_tests::process::Process;
use wakemq_tests::wait::eventually;
use wakemq_tests::waking::{tell, wake};

#[tokio::test]
async fn microsocks_carries_an_agent_that_says_who_it_is() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let address = free_address()?;
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.1", "-p", &address.port().to_string(), "-u", "me", "-P", "s3cret"]);
    let mut server =
        Process::start("microsocks", command).context("on Debian: apt-get install microsocks")?;
    eventually("microsocks to listen", async || {
        if server.has_ended()? {
            bail!("it has ended");
        }
        Ok(TcpStream::connect(address).await.is_ok().then_some(()))
    })
    .await?;

    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let home = Home::imported(&broker, &id, &secret)?;
    let url = format!("socks5h://{address}");
    let only = ["--proxy", &*url, "--proxy-order", "only"];
    let mut agent = home.run_with(&only)?;
    agent.wait_line("it wants a user name and password, and has none").await?;
    agent.process().kill().await?;

    let file = home.path("credentials");
    write_private(&file, "me:s3cret\n")?;
    let credentials = file.to_str().context("a path of a test is UTF-8")?;
    let began = Instant::now();
    let agent = home.run_with(&[&only[..], &["--proxy-credentials", credentials]].concat())?;
    agent.wait_line(&format!("connected address={address} proxy=socks5://{address}")).await?;
    tell(began, "connected through microsocks");
    wake(&broker.publisher().await?, home.id(), Wanted::Done, "through microsocks").await
}
