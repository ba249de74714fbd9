//! Peers that do not speak, and peers that do not read.

use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use wakemq_broker::door::Limits;
use wakemq_protocol::limits::IN_FLIGHT_MAX;
use wakemq_protocol::{AgentId, CommandId, CommandState, Kind, SlotChoice, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::clock::SetClock;
use wakemq_tests::descriptors;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Property, Version};
use wakemq_tests::wait::{LIMIT, eventually, within};

/// Connections that never speak.
const SILENT: usize = 1000;

#[tokio::test]
async fn a_thousand_connections_that_never_speak_hinder_nobody() -> Result<()> {
    descriptors::raise(4 * SILENT as u64)?;
    // Fewer handshakes at a time than there are silent ones: they must not hold a place.
    let limits = Limits { handshakes_in_progress: 16, return_secs: 1, ..Limits::default() };
    let broker = InProcessBroker::start(Injected { limits, ..Injected::default() }).await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(broker.address()?).await?);
    }
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let mut client = broker.dial().await?;
        client.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    }
    // They were admitted while the silent ones were still there: those are closed after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    for mut tcp in silent {
        let mut rest = Vec::new();
        within("a silent connection to be closed", tcp.read_to_end(&mut rest)).await?.ok();
    }
    Ok(())
}

#[tokio::test]
async fn who_speaks_tls_and_then_nothing_is_closed_in_time() -> Result<()> {
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    let broker = InProcessBroker::start(Injected { limits, ..Injected::default() }).await?;
    let mut client = broker.dial().await?;
    assert_eq!(client.next().await?, None);
    // Half a CONNECT is no CONNECT.
    let mut client = broker.dial().await?;
    client.send(&[0x10, 0x20, 0, 4, b'M']).await?;
    assert_eq!(client.next().await?, None);
    Ok(())
}

#[tokio::test]
async fn a_silent_agent_is_ended_after_one_and_a_half_keep_alives() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut agent = broker.dial().await?;
    agent.enter(&Login { keep_alive: 1, ..Login::new(Version::V5, "pc-1", made[0].1.expose()) }).await?;
    agent.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let began = tokio::time::Instant::now();
    assert_eq!(agent.closed().await?, Some(0x8D));
    assert!(began.elapsed() > Duration::from_millis(1400), "{:?}", began.elapsed());
    let view = broker.management()?.agent(&"pc-1".parse()?).await?;
    assert!(!view.connected);
    Ok(())
}

/// Waits until a command of one agent is in a state.
async fn becomes(broker: &InProcessBroker, id: CommandId, state: CommandState) -> Result<()> {
    let mut management = broker.management()?;
    eventually(&format!("the command to be {state}"), async || {
        let outcomes = management.command(id).await?.outcomes;
        Ok(outcomes.iter().any(|outcome| outcome.state == state).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_connection_that_is_dead_and_not_closed_is_ended_20_s_after_a_command() -> Result<()> {
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    let made = broker.import(&["pc-1"]).await?;
    let login = Login { keep_alive: 1000, ..Login::new(Version::V5, "pc-1", made[0].1.expose()) };
    let mut dead = broker.dial().await?;
    dead.enter(&login).await?;
    dead.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    time.pass(300_000);
    let publisher = broker.publisher().await?;
    let woken = publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)).await?;
    becomes(&broker, woken.id(), CommandState::Sent).await?;
    time.pass(21_000);
    becomes(&broker, woken.id(), CommandState::Queued).await?;
    assert!(!broker.management()?.agent(&"pc-1".parse()?).await?.connected);
    // Had it lived, it would have read this.
    dead.command().await?;
    assert_eq!(dead.closed().await?, Some(0x83));
    let ended = r#"wakemq_disconnections_total{reason="no_acknowledgement"}"#;
    assert_eq!(broker.scrape()?.of(ended)?, 1.0);

    let mut next = broker.dial().await?;
    next.enter(&login).await?;
    next.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let (packet_id, payload) = next.command().await?;
    assert_eq!(payload["id"], woken.id().to_string());
    next.acknowledge(packet_id).await?;
    becomes(&broker, woken.id(), CommandState::Acknowledged).await?;
    // Nothing is awaited any more: it may be quiet for its keep-alive.
    time.pass(400_000);
    next.ping().await
}

#[tokio::test]
async fn an_agent_that_withholds_an_acknowledgement_stays_as_long_as_it_is_heard() -> Result<()> {
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    let made = broker.import(&["pc-1"]).await?;
    let login = Login { keep_alive: 1000, ..Login::new(Version::V4, "pc-1", made[0].1.expose()) };
    let mut full = broker.dial().await?;
    full.enter(&login).await?;
    full.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let publisher = broker.publisher().await?;
    let woken = publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)).await?;
    let (packet_id, _) = full.command().await?;
    for _ in 0..5 {
        time.pass(15_000);
        full.ping().await?;
    }
    full.acknowledge(packet_id).await?;
    becomes(&broker, woken.id(), CommandState::Acknowledged).await
}

/// Lets an agent log in and subscribe that then reads nothing any more.
async fn deaf(broker: &InProcessBroker, secret: &str) -> Result<Client> {
    let mut agent = broker.dial_in_memory().await?;
    agent.enter(&Login::new(Version::V5, "deaf", secret)).await?;
    agent.subscribe("wake/v1/agents/deaf/commands", 1).await?;
    Ok(agent)
}

#[tokio::test]
async fn an_agent_that_stops_reading_keeps_nobody_else_and_loses_nothing() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["deaf"]).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let _deaf = deaf(&broker, made[0].1.expose()).await?;
    let publisher = broker.publisher().await?;
    let reason = Some("x".repeat(1000));
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let submission =
            Submission { slot: SlotChoice::Never, reason: reason.clone(), ..Submission::new(Kind::Wake) };
        waiting
            .push(within("a submission", publisher.submit(&"deaf".parse::<AgentId>()?, submission)).await??);
    }
    // The others are woken as ever.
    for _ in 0..3 {
        let mut woken = within(
            "a submission",
            publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)),
        )
        .await??;
        within("the command", agent.next_command()).await?.expect("the agent runs").done(None);
        assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    }
    // No more is on its way than there is room in flight, and all of it comes to the next connection.
    let sent =
        waiting.iter().filter_map(|one| one.outcome()).filter(|one| one.state.as_str() == "sent").count();
    assert!(sent <= usize::from(IN_FLIGHT_MAX), "{sent}");
    let mut again = deaf(&broker, made[0].1.expose()).await?;
    for command in &waiting {
        let (packet_id, payload) = again.command().await?;
        assert_eq!(payload["id"], command.id().to_string());
        again.acknowledge(packet_id).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_that_stops_reading_is_not_read_from_and_hinders_nobody() -> Result<()> {
    /// More than this is not taken from somebody who reads nothing.
    const TAKEN_MAX: usize = 5000;
    let broker = InProcessBroker::start(Injected::default()).await?;
    let secret = broker.profile()?.secret;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    broker.import(&["pc-2"]).await?;
    let mut operator = broker.dial_in_memory().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    operator.subscribe("wake/v1/operators/admin/responses/#", 0).await?;
    let with = [Property::response_topic("wake/v1/operators/admin/responses/x")];
    let mut taken = 0;
    loop {
        let publishing = operator.publish("wake/v1/agents/pc-2/commands", br#"{"kind":"wake"}"#, &with);
        match tokio::time::timeout(Duration::from_secs(1), publishing).await {
            Ok(published) => published?,
            // It is not read from any more.
            Err(_) => break,
        };
        taken += 1;
        assert!(taken < TAKEN_MAX, "the broker takes in without end what it cannot answer");
    }
    // Others are served as ever.
    let publisher = broker.publisher().await?;
    let mut woken =
        within("a submission", publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)))
            .await??;
    within("the command", agent.next_command()).await?.expect("the agent runs").done(None);
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    Ok(())
}
