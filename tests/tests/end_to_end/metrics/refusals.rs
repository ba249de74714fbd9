//! Who is not let in.

use std::time::Duration;

use anyhow::Result;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wakemq_broker::door::Limits;
use wakemq_link::http::Method;
use wakemq_protocol::{Secret, SecretKind};
use wakemq_tests::broker::client_tls;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Property, Version, connect, frame};

use super::{Moved, Watched};

/// More wrong secrets at a time than are answered, now or later.
const KNOCKS: usize = 40;

fn refused(reason: &str) -> String {
    format!("wakemq_refusals_total{{reason=\"{reason}\"}}")
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    before_connect(moved).await?;
    by_connect(moved).await?;
    wrong_secrets(moved).await?;
    limits(moved).await
}

/// Does a TLS handshake that offers `alpn`.
async fn tls(broker: &InProcessBroker, alpn: &[&str]) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(broker.address()?).await?;
    let connector = TlsConnector::from(client_tls(&broker.ca_path(), alpn)?);
    Ok(connector.connect(ServerName::try_from("localhost")?, tcp).await?)
}

/// Says a ClientHello, and nothing more.
async fn hello(broker: &InProcessBroker) -> Result<TcpStream> {
    let mut tcp = TcpStream::connect(broker.address()?).await?;
    let name = ServerName::try_from("localhost")?;
    let mut bytes = Vec::new();
    ClientConnection::new(client_tls(&broker.ca_path(), &["mqtt"])?, name)?.write_tls(&mut bytes)?;
    tcp.write_all(&bytes).await?;
    Ok(tcp)
}

async fn before_connect(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let broker = &watched.broker;
    drop(TcpStream::connect(broker.address()?).await?);
    watched.rises(moved, &refused("left")).await?;
    TcpStream::connect(broker.address()?).await?.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    watched.rises(moved, &refused("not_tls")).await?;
    let limits = Limits { balancers: vec!["127.0.0.0/8".parse()?], ..Limits::default() };
    let behind = Watched::new(InProcessBroker::start(Injected { limits, ..Injected::default() }).await?)?;
    TcpStream::connect(behind.broker.address()?).await?.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    behind.rises(moved, &refused("no_proxy_header")).await?;
    assert!(tls(broker, &["gopher"]).await.is_err());
    watched.rises(moved, &refused("tls_failure")).await?;
    tls(broker, &[]).await?.write_all(b"\0\0\0\0").await?;
    watched.rises(moved, &refused("unknown_protocol")).await?;
    let mut client = broker.dial().await?;
    client.send(&frame(0xC0, &[])).await?;
    watched.rises(moved, &refused("malformed")).await
}

async fn by_connect(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (_agent, secret) = watched.agent("pc-1").await?;
    let login = Login::new(Version::V5, "pc-1", secret.expose());

    // Version 9 of MQTT.
    let mut packet = connect(&login);
    packet[8] = 9;
    watched.broker.dial().await?.send(&packet).await?;
    watched.rises(moved, &refused("unsupported")).await?;

    let foreign = Login { client_id: "pc-2".into(), ..login.clone() };
    watched.broker.dial().await?.login(&foreign).await?;
    watched.rises(moved, &refused("not_allowed")).await?;

    let mut connected = Vec::new();
    for instance in ["one", "two", "one"] {
        let properties = vec![Property::User("instance".into(), instance.into())];
        connected.push(watched.enter(&Login { properties, ..login.clone() }).await?);
    }
    watched.rises(moved, "wakemq_cloned_identities_total").await?;
    let properties = vec![Property::User("instance".into(), "two".into())];
    watched.broker.dial().await?.login(&Login { properties, ..login }).await?;
    watched.rises(moved, &refused("cloned")).await
}

async fn wrong_secrets(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let wrong = Secret::from_random(SecretKind::Agent, &[3; 32]);
    let mut http = watched.broker.http(Some(Secret::from_random(SecretKind::Operator, &[3; 32])))?;
    http.request(Method::GET, "/v1/agents", None).await?;
    watched.rises(moved, "wakemq_wrong_secrets_total{answered=\"at_once\"}").await?;
    watched.rises(moved, "wakemq_throttled_sources").await?;
    let login = Login::new(Version::V5, "pc-1", wrong.expose());
    watched.broker.dial().await?.login(&login).await?;
    watched.rises(moved, &refused("wrong_secret")).await?;
    let mut knocking = Vec::new();
    for _ in 0..KNOCKS {
        let mut client = watched.broker.dial().await?;
        client.send(&connect(&login)).await?;
        knocking.push(client);
    }
    watched.rises(moved, "wakemq_wrong_secrets_total{answered=\"delayed\"}").await?;
    watched.rises(moved, "wakemq_wrong_secrets_total{answered=\"never\"}").await?;
    watched.rises(moved, &refused("throttled")).await
}

async fn limits(moved: &mut Moved) -> Result<()> {
    const SHORT: Duration = Duration::from_millis(300);
    let start = async |limits| {
        Watched::new(InProcessBroker::start(Injected { limits, ..Injected::default() }).await?)
    };

    let watched = start(Limits { max_connections: 1, ..Limits::default() }).await?;
    let _first = TcpStream::connect(watched.broker.address()?).await?;
    let _second = TcpStream::connect(watched.broker.address()?).await?;
    watched.rises(moved, &refused("too_many_connections")).await?;

    let watched = start(Limits { max_connections: 2, ..Limits::default() }).await?;
    let _first = TcpStream::connect(watched.broker.address()?).await?;
    let _second = TcpStream::connect(watched.broker.address()?).await?;
    watched.rises(moved, &refused("over_share")).await?;

    // Half of the handshake's limit is for waiting: time for one more, and not for two.
    let rate =
        Limits { admissions_per_sec: 1, admission_burst: 1, source_share_percent: 100, ..Limits::default() };
    let watched = start(Limits { handshake: Duration::from_secs(3), ..rate }).await?;
    let crowd = [hello(&watched.broker).await?, hello(&watched.broker).await?, hello(&watched.broker).await?];
    watched.rises(moved, "wakemq_admission_waits_total{for=\"rate\"}").await?;
    watched.rises(moved, &refused("over_rate")).await?;
    drop(crowd);

    let watched =
        start(Limits { handshakes_in_progress: 1, handshake: 2 * SHORT, ..Limits::default() }).await?;
    let crowd = [hello(&watched.broker).await?, hello(&watched.broker).await?];
    watched.rises(moved, "wakemq_admission_waits_total{for=\"handshakes\"}").await?;
    watched.rises(moved, &refused("too_many_handshakes")).await?;
    drop(crowd);

    let watched = start(Limits { handshake: SHORT, ..Limits::default() }).await?;
    let _silent = TcpStream::connect(watched.broker.address()?).await?;
    watched.rises(moved, &refused("handshake_timeout")).await?;

    let watched = start(Limits { connect: SHORT, ..Limits::default() }).await?;
    let _silent = watched.broker.dial().await?;
    watched.rises(moved, &refused("connect_timeout")).await
}
