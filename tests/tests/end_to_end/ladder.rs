//! An agent finds the best way that the network lets through, and a better one when there is one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use wakemq_agent::{Agent, Connection, Transport};
use wakemq_protocol::{AgentId, Kind, Reach, SlotChoice, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::agents::{Home, connected, status};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::interceptor::Interceptor;
use wakemq_tests::middlebox::{Lets, Middlebox};
use wakemq_tests::wait::{LIMIT, eventually, within};

/// An agent's home whose broker is said to be at these places.
async fn home(broker: &InProcessBroker, endpoints: &[String]) -> Result<Home> {
    let [(id, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
    Home::of(id, secret, endpoints.to_vec(), std::fs::read_to_string(broker.ca_path())?)
}

fn agent_id() -> AgentId {
    "pc-1".parse().expect("it is an id")
}

/// Wakes the agent, which answers.
async fn wake(broker: &InProcessBroker, agent: &mut Agent) -> Result<()> {
    let publisher = broker.publisher().await?;
    let mut woken =
        within("a submission", publisher.submit(&agent_id(), Submission::new(Kind::Wake))).await??;
    within("the command", agent.next_command()).await?.context("the agent has ended")?.done(None);
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    Ok(())
}

/// Waits until the agent is connected by a transport and an endpoint.
async fn connected_by(agent: &Agent, transport: Transport, endpoint: &str) -> Result<()> {
    status(agent, &format!("a connection by {transport} to {endpoint}"), |now| {
        matches!(now, Connection::Connected { way, .. }
            if way.transport == transport && way.rung.to_string() == endpoint)
    })
    .await
}

/// Waits until the broker knows by which way the agent came.
async fn reach(broker: &InProcessBroker) -> Result<Reach> {
    let mut management = broker.management()?;
    eventually("the way to be told", async || {
        let view = management.agent(&agent_id()).await?;
        Ok(view.facts.and_then(|facts| facts.reach))
    })
    .await
}

/// Tells how often a connection ended because the same agent came again.
fn taken_over(broker: &InProcessBroker) -> Result<f64> {
    broker.scrape()?.of("wakemq_disconnections_total{reason=\"taken_over\"}")
}

#[tokio::test]
async fn where_the_first_door_is_closed_the_second_is_taken_and_the_operator_sees_why() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let open = broker.address()?.to_string();
    let home = home(&broker, &[closed.clone(), open.clone()]).await?;
    let mut agent = home.connected().await?;
    connected_by(&agent, Transport::Mqtt, &open).await?;
    wake(&broker, &mut agent).await?;

    let told = reach(&broker).await?;
    assert_eq!(
        (told.transport, told.endpoint, told.proxy, told.heartbeat),
        (Transport::Mqtt, open, None, 300)
    );
    let [better] = &told.better[..] else { panic!("{:?}", told.better) };
    assert_eq!(better.way, format!("mqtt {closed}"));
    assert!(better.problem.contains("refused"), "{}", better.problem);
    assert_eq!(taken_over(&broker)?, 0.0);
    Ok(())
}

#[tokio::test]
async fn where_only_http_is_let_through_it_comes_by_websocket() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let middlebox = Middlebox::start(broker.address()?, Lets::Http).await?;
    let endpoint = middlebox.address().to_string();
    let home = home(&broker, std::slice::from_ref(&endpoint)).await?;
    let mut agent = home.connected().await?;
    connected_by(&agent, Transport::WebSocket, &endpoint).await?;
    wake(&broker, &mut agent).await?;
    assert_eq!(reach(&broker).await?.transport, Transport::WebSocket);
    let view = broker.management()?.agent(&agent_id()).await?;
    assert_eq!(view.transport, Some(Transport::WebSocket));
    assert_eq!(taken_over(&broker)?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_door_that_says_nothing_holds_up_nobody_for_long() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let mute = Middlebox::start(broker.address()?, Lets::Silence).await?;
    let open = broker.address()?.to_string();
    let home = home(&broker, &[mute.address().to_string(), open.clone()]).await?;
    let began = tokio::time::Instant::now();
    let agent = home.connected().await?;
    connected_by(&agent, Transport::Mqtt, &open).await?;
    println!("connected by the second door after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let told = reach(&broker).await?;
    assert_eq!(told.better[0].way, format!("mqtt {}", mute.address()));
    assert!(told.better[0].problem.contains("within 3 s"), "{:?}", told.better);
    Ok(())
}

#[tokio::test]
async fn when_a_better_way_comes_back_the_agent_moves_and_loses_no_command() -> Result<()> {
    const COMMANDS: usize = 60;
    let broker = InProcessBroker::start(Injected::default()).await?;
    let better = Middlebox::start(broker.address()?, Lets::Nothing).await?;
    let open = broker.address()?.to_string();
    let home = home(&broker, &[better.address().to_string(), open.clone()]).await?;
    let mut agent = home.connect_with(|options| options.probe_every(Duration::from_millis(300)))?;
    connected(&agent).await?;
    connected_by(&agent, Transport::Mqtt, &open).await?;

    let publisher = broker.publisher().await?;
    let publishing = async {
        let mut waiting = Vec::new();
        for number in 0..COMMANDS {
            if number == COMMANDS / 10 {
                better.set(Lets::All);
            }
            let submission = Submission { slot: SlotChoice::Never, ..Submission::new(Kind::Wake) };
            let mut woken = within("a submission", publisher.submit(&agent_id(), submission)).await??;
            // Not more at once than may be pending, and at least as long as the move takes.
            if number % 4 == 0 {
                assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
            }
            waiting.push(woken);
        }
        for mut woken in waiting {
            assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
        }
        anyhow::Ok(())
    };
    let status = agent.status();
    let mut seen = std::collections::HashSet::new();
    let serving = async {
        loop {
            let incoming = within("a command", agent.next_command()).await?.context("the agent has ended")?;
            seen.insert(incoming.command().id);
            incoming.done(None);
            if seen.len() == COMMANDS {
                return anyhow::Ok(());
            }
        }
    };
    let (published, served) = tokio::join!(publishing, serving);
    published?;
    served?;
    let mut status = status;
    let better = better.address().to_string();
    let is_better = |now: &wakemq_agent::Status| matches!(&now.connection, Connection::Connected { way, .. } if way.rung.to_string() == better);
    within("the move to the better way", status.wait_for(is_better)).await??;
    wake(&broker, &mut agent).await?;
    assert_eq!(taken_over(&broker)?, 0.0, "the agent evicted itself");
    Ok(())
}

#[tokio::test]
async fn an_interceptor_that_knows_no_websockets_is_passed_by_long_poll() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let interceptor = Interceptor::start(broker.address()?, &broker.ca_path()).await?;
    let endpoint = interceptor.address().to_string();
    let [(id, secret)] = &broker.import(&["pc-1"]).await?[..] else { anyhow::bail!("not one agent") };
    let home = Home::of(id, secret, vec![endpoint.clone()], interceptor.ca().to_owned())?;
    let mut agent = home.connected().await?;
    connected_by(&agent, Transport::Poll, &endpoint).await?;
    for _ in 0..3 {
        wake(&broker, &mut agent).await?;
    }
    let told = reach(&broker).await?;
    assert_eq!(told.transport, Transport::Poll);
    let better: Vec<_> =
        told.better.iter().map(|way| way.way.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(better, ["mqtt", "websocket"], "{:?}", told.better);
    assert!(told.better[1].problem.contains("403"), "{:?}", told.better);
    let view = broker.management()?.agent(&agent_id()).await?;
    assert_eq!((view.connected, view.transport), (true, Some(Transport::Poll)));
    agent.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_grows_beside_the_connection_and_is_told_when_it_is_settled() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let endpoint = broker.address()?.to_string();
    let home = home(&broker, std::slice::from_ref(&endpoint)).await?;
    let mut agent =
        home.connect_with(|options| options.keep_alive_secs(2).heartbeat_max_secs(4).heartbeat_step_secs(2))?;
    connected(&agent).await?;
    let began = tokio::time::Instant::now();
    let mut management = broker.management()?;
    eventually("the heartbeat to be settled", async || {
        let reach = management.agent(&agent_id()).await?.facts.and_then(|facts| facts.reach);
        Ok(reach.filter(|reach| reach.settled && reach.heartbeat == 4).map(drop))
    })
    .await?;
    println!("settled after {:?}", began.elapsed());
    // It connects anew once, to be as quiet as it may be.
    eventually("the agent to connect with the longer heartbeat", async || {
        let ended = broker.scrape()?.of("wakemq_disconnections_total{reason=\"left\"}")?;
        Ok((ended == 1.0).then_some(()))
    })
    .await?;
    connected_by(&agent, Transport::Mqtt, &endpoint).await?;
    wake(&broker, &mut agent).await?;
    assert_eq!(taken_over(&broker)?, 0.0);
    Ok(())
}
