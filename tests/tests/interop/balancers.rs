//! A broker behind nginx and HAProxy, which tell whose the connections are.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use wakemq_protocol::{Event, EventBody, PresenceChange};
use wakemq_publisher::Wanted;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, free_address, init_for};
use wakemq_tests::operator::Wakemq;
use wakemq_tests::process::{Process, Stream};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::{eventually, within};
use wakemq_tests::waking::{tell, wake};

use super::Setting;

/// Where the balancer is found, and from where it connects to the broker.
const BALANCER: &str = "127.0.0.6";
/// Where a foreign agent is.
const FOREIGN: &str = "127.0.0.5";

/// A balancer that passes TLS on unopened; killed when dropped.
struct Balancer {
    /// Where it listens for IPv4, and with the same port at ::1.
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Balancer {
    /// nginx with its stream module, which writes version 1 of the PROXY protocol.
    async fn nginx(broker: SocketAddr) -> Result<Self> {
        let config = |address: SocketAddr, dir: &Path| {
            format!(
                "daemon off; user root; pid {dir}/nginx.pid; error_log stderr notice;\n\
                 load_module modules/ngx_stream_module.so;\n\
                 events {{}}\n\
                 stream {{ server {{\n\
                 listen {address}; listen [::1]:{port};\n\
                 proxy_pass {broker}; proxy_bind {BALANCER}; proxy_protocol on; proxy_timeout 1h;\n\
                 }} }}\n",
                dir = dir.display(),
                port = address.port(),
            )
        };
        Self::start("nginx", &["-c"], config)
            .await
            .context("on Debian: apt-get install nginx libnginx-mod-stream")
    }

    /// HAProxy, which writes version 2.
    async fn haproxy(broker: SocketAddr) -> Result<Self> {
        let config = |address: SocketAddr, _: &Path| {
            format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
                 listen wakemqd\n bind {address}\n bind ipv6@[::1]:{port}\n\
                 server one {broker} source {BALANCER} send-proxy-v2\n",
                port = address.port(),
            )
        };
        Self::start("haproxy", &["-db", "-f"], config).await.context("on Debian: apt-get install haproxy")
    }

    async fn start(
        program: &str,
        args: &[&str],
        config: impl Fn(SocketAddr, &Path) -> String,
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let address = SocketAddr::new(BALANCER.parse()?, free_address()?.port());
        let file = dir.path().join("config");
        std::fs::write(&file, config(address, dir.path()))?;
        let mut command = Command::new(program);
        command.args(args).arg(file);
        let mut process = Process::start(program, command)?;
        let listening = eventually("the balancer to listen", async || {
            if process.has_ended()? {
                bail!("it has ended");
            }
            let both = [address, (Ipv6Addr::LOCALHOST, address.port()).into()];
            let [v4, v6] = both.map(TcpStream::connect);
            Ok((v4.await.is_ok() && v6.await.is_ok()).then_some(()))
        });
        if let Err(error) = listening.await {
            return Err(process.explain(error));
        }
        Ok(Self { address, _process: process, _dir: dir })
    }
}

/// Waits until an agent is connected; returns from where, as the event says.
async fn came(follower: &mut Client) -> Result<String> {
    loop {
        let Some(Packet::Publish { payload, .. }) = within("an event", follower.next()).await?? else {
            bail!("no event")
        };
        let event: Event = serde_json::from_slice(&payload)?;
        if let EventBody::Presence { change: PresenceChange::Connected, address, .. } = event.news.body {
            return address.context("the event has no address");
        }
    }
}

/// An agent of ours comes by IPv6, a foreign one by IPv4; the balancer's own connections are from [`BALANCER`].
async fn agents_behind(balance: impl AsyncFn(SocketAddr) -> Result<Balancer>, story: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    init_for(&data, BALANCER, &format!("[listen]\nbalancers = [\"{BALANCER}\"]\n")).await?;
    let setting = Setting::on(BrokerProcess::start_on(&data).await?).await?;
    let broker = &setting.broker;
    let balancer = balance(broker.address()).await?;
    let port = balancer.address.port();
    let publisher = broker.publisher().await?;
    let wakemq = Wakemq::admin(broker);
    let mut follower = Client::dial(broker.address(), &broker.ca_path()).await?;
    follower.enter(&Login::new(Version::V5, "op:admin", setting.operator.expose())).await?;
    follower.subscribe("wake/v1/events/presence/#", 0).await?;
    let (id, secret) = &setting.agent;

    let ca = std::fs::read_to_string(broker.ca_path())?;
    let home = Home::of(id, secret, vec![format!("[::1]:{port}")], ca)?;
    let mut ours = home.run(None)?;
    ours.connected().await?;
    wake(&publisher, id, Wanted::Done, &format!("our agent through {story}")).await?;
    let address = came(&mut follower).await?;
    assert!(address.starts_with("[::1]:"), "{address}");
    let shown = wakemq.call(&["agents", "show", "pc-1"]).await?.expect_code(0)?.out;
    assert!(shown.contains(&address), "{shown}");
    ours.process().kill().await?;

    let began = Instant::now();
    let at = SocketAddr::new(BALANCER.parse()?, port);
    let mut command = setting.agent_at(at, "mqttv5");
    command.args(["-A", FOREIGN]);
    let foreign = Process::start("mosquitto_sub", command)?;
    let address = came(&mut follower).await?;
    assert!(address.starts_with(&format!("{FOREIGN}:")), "{address}");
    tell(began, &format!("mosquitto_sub through {story}: connected"));
    wake(&publisher, id, Wanted::Acknowledged, &format!("mosquitto_sub through {story}")).await?;
    foreign.wait_line("the command", |line| (line.stream == Stream::Out).then_some(())).await?;
    let shown = wakemq.call(&["agents", "show", "pc-1"]).await?.expect_code(0)?.out;
    assert!(shown.contains(&address), "{shown}");
    Ok(())
}

#[tokio::test]
async fn agents_behind_nginx_are_woken_and_known_by_their_own_addresses() -> Result<()> {
    agents_behind(Balancer::nginx, "nginx").await
}

#[tokio::test]
async fn agents_behind_haproxy_are_woken_and_known_by_their_own_addresses() -> Result<()> {
    agents_behind(Balancer::haproxy, "HAProxy").await
}
