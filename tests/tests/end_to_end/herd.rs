//! More agents at once than are let in at a time.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wakemq_broker::door::Limits;
use wakemq_tests::agents::Home;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version};
use wakemq_tests::wait::{eventually, within};

async fn start(limits: Limits) -> Result<InProcessBroker> {
    InProcessBroker::start(Injected { limits, ..Injected::default() }).await
}

#[tokio::test]
async fn a_herd_that_comes_faster_than_it_is_let_in_is_in_in_the_end() -> Result<()> {
    const AGENTS: usize = 40;
    const PER_SEC: u32 = 8;
    // Four seconds for waiting: not nearly enough for all of them.
    let limits = Limits {
        admissions_per_sec: PER_SEC,
        admission_burst: 1,
        handshake: Duration::from_secs(4),
        return_secs: 1,
        ..Limits::default()
    };
    let broker = start(limits).await?;
    let names: Vec<_> = (0..AGENTS).map(|n| format!("pc-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let ca = std::fs::read_to_string(broker.ca_path())?;
    let began = Instant::now();
    let mut agents = JoinSet::new();
    for (id, secret) in broker.import(&names).await? {
        let home = Home::of(&id, &secret, vec![broker.address()?.to_string()], ca.clone())?;
        agents.spawn(async move { home.connected().await.map(|agent| (home, agent)) });
    }
    let connected = agents.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    assert_eq!(connected.len(), AGENTS);
    let at_least = f64::from(u32::try_from(AGENTS)? - 1) / f64::from(PER_SEC);
    assert!(began.elapsed().as_secs_f64() >= at_least, "{:?}: faster than they may", began.elapsed());
    let scrape = broker.scrape()?;
    assert_eq!(scrape.of("wakemq_agents_connected")?, AGENTS as f64);
    assert!(scrape.of("wakemq_admission_waits_total{for=\"rate\"}")? >= 10.0);
    // They share one address, and nobody else comes: what is more than its share is let in all the same.
    let refused = |reason: &str| scrape.of(&format!("wakemq_refusals_total{{reason=\"{reason}\"}}"));
    assert!(refused("over_share")? + refused("over_rate")? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn who_finds_no_place_is_closed_after_a_while_and_the_next_at_once() -> Result<()> {
    // Of eight places one is for those who are turned away.
    let limits = Limits { max_connections: 8, source_share_percent: 100, ..Limits::default() };
    let broker = start(limits).await?;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(broker.address()?).await?);
    }
    let began = Instant::now();
    let mut closed = Vec::new();
    let mut away = JoinSet::new();
    for _ in 0..4 {
        let mut tcp = TcpStream::connect(broker.address()?).await?;
        away.spawn(async move {
            tcp.read_to_end(&mut Vec::new()).await.ok();
            began.elapsed()
        });
    }
    while let Some(elapsed) = within("a connection to be closed", away.join_next()).await? {
        closed.push(elapsed?);
    }
    let last = closed.pop().context("four")?;
    assert!(last >= Duration::from_millis(100), "{last:?}");
    assert_eq!(broker.scrape()?.of("wakemq_refusals_total{reason=\"too_many_connections\"}")?, 4.0);
    // A place that is given back is taken again.
    drop(silent);
    eventually("a place", async || Ok(broker.dial().await.is_ok().then_some(()))).await
}

#[tokio::test]
async fn a_crowd_is_admitted_without_a_flush() -> Result<()> {
    let broker = start(Limits::default()).await?;
    let made = broker.import(&["a", "b", "c", "d", "e"]).await?;
    let flushed = || broker.scrape()?.of("wakemq_store_flush_duration_seconds_count");
    let before = flushed()?;
    let mut connected = Vec::new();
    for (id, secret) in &made {
        let mut agent = broker.dial().await?;
        agent.enter(&Login::new(Version::V5, id.as_str(), secret.expose())).await?;
        assert_eq!(agent.subscribe(&format!("wake/v1/agents/{id}/commands"), 1).await?, 1);
        // What the subscription leads to is done when the next is answered.
        agent.ping().await?;
        connected.push(agent);
    }
    assert_eq!(flushed()?, before);
    Ok(())
}

#[tokio::test]
async fn the_advice_of_the_welcome_grows_with_those_who_are_there() -> Result<()> {
    let limits = Limits { return_secs: 1, admissions_per_sec: 1, admission_burst: 100, ..Limits::default() };
    let broker = start(limits).await?;
    let made = broker.import(&["a", "b", "c"]).await?;
    let mut advised = Vec::new();
    let mut connected = Vec::new();
    for (id, secret) in &made {
        let mut agent = broker.dial().await?;
        let welcome = agent.enter(&Login::new(Version::V5, id.as_str(), secret.expose())).await?;
        advised.push(welcome.user("wakemq-return").context("no advice")?.to_owned());
        connected.push(agent);
    }
    assert_eq!(advised, ["1", "2", "3"]);
    Ok(())
}
