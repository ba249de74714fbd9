//! Connections that come and go.

use anyhow::Result;
use wakemq_broker::registry::Letter;
use wakemq_link::http::Method;
use wakemq_protocol::{
    AgentId, Command, CommandId, GroupPath, Kind, Priority, Submission, Timestamp, Transport,
};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version, frame};

use super::{Moved, Watched};

/// How many letters a mailbox holds.
const LETTERS_MAX: usize = 10_000;

fn ended(reason: &str) -> String {
    format!("wakemq_disconnections_total{{reason=\"{reason}\"}}")
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    open_ones(moved).await?;
    transports(moved).await?;
    ends(moved).await?;
    the_end_of_all(moved).await
}

async fn open_ones(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (agent, _) = watched.agent("pc-1").await?;
    let publisher = watched.broker.publisher().await?;
    let silent = tokio::net::TcpStream::connect(watched.broker.address()?).await?;
    let mut http = watched.broker.http(None)?;
    http.request(Method::GET, "/healthz", None).await?;
    http.request(Method::GET, "/nothing", None).await?;
    for kind in ["agent", "operator", "http"] {
        watched.rises(moved, &format!("wakemq_admissions_total{{kind=\"{kind}\"}}")).await?;
    }
    for class in ["2xx", "4xx"] {
        watched.rises(moved, &format!("wakemq_http_requests_total{{status=\"{class}\"}}")).await?;
    }
    let open = |kind: &str| format!("wakemq_connections{{kind=\"{kind}\"}}");
    let gauges = [
        open("agent"),
        open("operator"),
        open("http"),
        open("handshaking"),
        "wakemq_agents_connected".into(),
    ];
    for series in &gauges {
        watched.becomes(moved, series, 1.0).await?;
    }
    drop((agent, publisher, silent, http));
    for series in &gauges {
        watched.becomes(moved, series, 0.0).await?;
    }
    Ok(())
}

async fn transports(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let registry = watched.broker.broker.engine().registry();
    let (address, root) = (([192, 0, 2, 1], 1).into(), GroupPath::root());
    for transport in Transport::ALL {
        let series = format!("wakemq_agents_by_transport{{transport=\"{transport}\"}}");
        let (agent, mailbox) = (format!("by-{transport}").parse()?, registry.open(address, transport));
        registry.arrive(&agent, &root, &mailbox, None, 0);
        watched.becomes(moved, &series, 1.0).await?;
        // It goes over to another transport, and leaves.
        let other = registry
            .open(address, if transport == Transport::Mqtt { Transport::Poll } else { Transport::Mqtt });
        registry.arrive(&agent, &root, &other, None, 1);
        watched.becomes(moved, &series, 0.0).await?;
        registry.leave(&agent, mailbox.id());
        registry.leave(&agent, other.id());
    }
    assert_eq!(registry.agents_by_transport().map(|(_, agents)| agents), [0; 3]);
    Ok(())
}

async fn ends(moved: &mut Moved) -> Result<()> {
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    let mut watched = Watched::new(broker)?;

    let (mut agent, secret) = watched.agent("pc-1").await?;
    agent.send(&frame(0xE0, &[])).await?;
    watched.rises(moved, &ended("left")).await?;

    let login = Login::new(Version::V5, "pc-1", secret.expose());
    drop(watched.enter(&login).await?);
    watched.rises(moved, &ended("lost")).await?;

    let mut older = watched.enter(&login).await?;
    let mut agent = watched.enter(&login).await?;
    assert_eq!(older.closed().await?, Some(0x8E));
    watched.rises(moved, &ended("taken_over")).await?;

    agent.send(&frame(0x00, &[])).await?;
    watched.rises(moved, &ended("malformed")).await?;

    let mut agent = watched.enter(&login).await?;
    agent.send(&wakemq_tests::raw::connect(&login)).await?;
    watched.rises(moved, &ended("protocol")).await?;

    // A PUBLISH at QoS 2, which the CONNACK has excluded.
    let mut agent = watched.enter(&login).await?;
    agent.send(&frame(0x34, &[0, 1, b'x', 0, 1, 0])).await?;
    watched.rises(moved, &ended("other")).await?;

    // Eleven publications in a second are one more than is read.
    let mut agent = watched.enter(&login).await?;
    for _ in 0..11 {
        agent.publish("wake/v1/agents/pc-1/facts", b"no JSON", &[]).await?;
    }
    watched.rises(moved, "wakemq_agent_pauses_total").await?;

    // More letters than a mailbox takes, before the connection can look at one.
    let id: AgentId = "pc-1".parse()?;
    agent.subscribe("wake/v1/agents/pc-1/commands", 1).await.ok();
    let found = wakemq_tests::wait::eventually("the agent's claim", async || {
        Ok(watched
            .broker
            .broker
            .engine()
            .registry()
            .find(&id)
            .and_then(|(mailbox, epoch)| Some((mailbox, epoch?))))
    });
    let (mailbox, epoch) = found.await?;
    let command = Command {
        id: CommandId::from_parts(1, &[1; 10]),
        kind: Kind::Wake,
        slot: None,
        ttl: 0,
        priority: Priority::Normal,
        reason: None,
        issued: Timestamp::from_unix_ms(0),
        by: "op:x".into(),
        relay: None,
    };
    // Nothing is awaited in between, so that the connection does not read a single one.
    for _ in 0..=LETTERS_MAX {
        mailbox.post(Letter::Live { epoch, command: command.clone() });
    }
    watched.rises(moved, &ended("overrun")).await?;

    watched.again()?;
    let (_agent, _) = watched.agent("pc-2").await?;
    time.pass(3_600_000);
    watched.rises(moved, &ended("keep_alive")).await?;

    let (mut agent, _) = watched.agent("pc-4").await?;
    agent.subscribe("wake/v1/agents/pc-4/commands", 1).await?;
    let publisher = watched.broker.publisher().await?;
    publisher.submit(&"pc-4".parse::<AgentId>()?, Submission::new(Kind::Wake)).await?;
    agent.command().await?;
    time.pass(21_000);
    watched.rises(moved, &ended("no_acknowledgement")).await?;

    let (_agent, _) = watched.agent("pc-3").await?;
    let mut http = watched.broker.http(Some(watched.broker.profile()?.secret))?;
    http.request(Method::DELETE, "/v1/agents/pc-3", None).await?;
    watched.rises(moved, &ended("not_allowed")).await
}

async fn the_end_of_all(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (_agent, _) = watched.agent("pc-1").await?;
    let _silent = tokio::net::TcpStream::connect(watched.broker.address()?).await?;
    watched.becomes(moved, "wakemq_connections{kind=\"handshaking\"}", 1.0).await?;
    watched.broker.broker.door().close();
    watched.rises(moved, &ended("draining")).await?;
    watched.rises(moved, "wakemq_refusals_total{reason=\"draining\"}").await
}
