//! Connections that a balancer passes on, and says whose they are.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use anyhow::Result;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use wakemq_broker::door::Limits;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::within;

/// Where the balancer is; everybody else here is at 127.0.0.1.
const BALANCER: &str = "127.0.0.2";

async fn start() -> Result<InProcessBroker> {
    let limits = Limits { balancers: vec![format!("{BALANCER}/32").parse()?], ..Injected::default().limits };
    InProcessBroker::start(Injected { limits, ..Injected::default() }).await
}

/// Connects as the balancer.
async fn connect(broker: &InProcessBroker) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(BALANCER.parse()?, 0))?;
    let tcp = socket.connect(broker.address()?).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// A header of version 2 for TCP over IPv6.
fn version_2(source: &str) -> Result<Vec<u8>> {
    let source: SocketAddrV6 = source.parse()?;
    let (from, to) = (source.ip().octets(), Ipv6Addr::LOCALHOST.octets());
    let ports = [source.port().to_be_bytes(), 8883_u16.to_be_bytes()].concat();
    Ok([b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24", &from[..], &to, &ports].concat())
}

#[tokio::test]
async fn an_agents_address_is_the_one_that_its_balancer_tells() -> Result<()> {
    let broker = start().await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut management = broker.management()?;
    for (header, address) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n".to_vec(), "192.0.2.7:4711"),
        (version_2("[2001:db8::7]:4712")?, "[2001:db8::7]:4712"),
        (version_2("[::ffff:192.0.2.8]:4713")?, "192.0.2.8:4713"),
    ] {
        let mut tcp = connect(&broker).await?;
        // The header need not come in one piece.
        for byte in &header {
            tcp.write_all(&[*byte]).await?;
        }
        let mut agent = Client::over(tcp, &broker.ca_path()).await?;
        agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
        agent.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
        let view = management.agent(&"pc-1".parse()?).await?;
        assert_eq!(view.address.as_deref(), Some(address));
    }
    Ok(())
}

#[tokio::test]
async fn a_balancer_that_does_not_tell_and_a_stranger_who_does_are_refused() -> Result<()> {
    let broker = start().await?;
    let mut silent = connect(&broker).await?;
    silent.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 0, 0, 0, 0, 0]).await?;
    let mut stranger = TcpStream::connect(broker.address()?).await?;
    stranger.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n").await?;
    for tcp in [&mut silent, &mut stranger] {
        let mut rest = Vec::new();
        // Closed with something unread, which the system may tell by a reset.
        within("the end", tcp.read_to_end(&mut rest)).await?.ok();
        assert_eq!(rest, b"");
    }
    Ok(())
}

#[tokio::test]
async fn a_flood_is_its_sources_and_not_its_balancers_and_operators_are_told() -> Result<()> {
    // Of the places a tenth, which are two, is for connections of one source that have not said who they are.
    let limits = Limits {
        balancers: vec![format!("{BALANCER}/32").parse()?],
        max_connections: 20,
        source_share_percent: 10,
        ..Injected::default().limits
    };
    let broker = InProcessBroker::start(Injected { limits, ..Injected::default() }).await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut operator = broker.dial().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", broker.profile()?.secret.expose())).await?;
    operator.subscribe("wake/v1/events/security/#", 0).await?;
    let mut flood = Vec::new();
    for host in 1..=3 {
        let mut tcp = connect(&broker).await?;
        tcp.write_all(&version_2(&format!("[2001:db8::{host}]:4712"))?).await?;
        flood.push(tcp);
    }
    let event: Value = match within("an event", operator.next()).await?? {
        Some(Packet::Publish { payload, .. }) => serde_json::from_slice(&payload)?,
        other => anyhow::bail!("no event: {other:?}"),
    };
    assert_eq!(event["what"], "connection_flood");
    assert_eq!(event["addresses"], serde_json::json!(["2001:db8::/64"]));
    let mut tcp = connect(&broker).await?;
    tcp.write_all(&version_2("[2001:db8:0:1::1]:4713")?).await?;
    let mut agent = Client::over(tcp, &broker.ca_path()).await?;
    agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    Ok(())
}
