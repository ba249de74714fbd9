//! `/metrics`: every series is moved by something that happens, and one that nothing moves does not exist.

mod bus;
mod commands;
mod connections;
mod polls;
mod power;
mod refusals;
mod store;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use wakemq_link::http::Method;
use wakemq_protocol::Secret;
use wakemq_tests::broker::{BrokerProcess, http};
use wakemq_tests::in_process::InProcessBroker;
use wakemq_tests::raw::{Client, Login, Version};
use wakemq_tests::scrape::Scrape;
use wakemq_tests::wait::{eventually, within};

/// Series that are not moved here, and why.
const NOT_MOVED: [(&str, &str); 6] = [
    ("wakemq_build_info", "tells the version, and is 1"),
    ("wakemq_http_requests_total{status=\"1xx\"}", "nothing answers so yet"),
    ("wakemq_http_requests_total{status=\"3xx\"}", "nothing answers so yet"),
    ("wakemq_submissions_refused_total{reason=\"unfollowed\"}", "takes a million followed commands"),
    (
        "wakemq_events_dropped_total{reason=\"queue_full\"}",
        "the bus is faster than who fills it; moved by the test of its queue",
    ),
    ("wakemq_bus_healthy", "is 0 for the moment that a rebuild takes"),
];

/// The series that were seen to move.
#[derive(Default)]
struct Moved(BTreeSet<String>);

/// A broker, and what its metrics were before something was done with it.
struct Watched {
    broker: InProcessBroker,
    before: Scrape,
}

impl Watched {
    fn new(broker: InProcessBroker) -> Result<Self> {
        Ok(Self { before: broker.scrape()?, broker })
    }

    /// Waits until a series is above what it was.
    async fn rises(&self, moved: &mut Moved, series: &str) -> Result<()> {
        let before = self.before.of(series)?;
        eventually(&format!("{series} to rise from {before}"), async || {
            Ok((self.broker.scrape()?.of(series)? > before).then_some(()))
        })
        .await?;
        moved.0.insert(series.to_owned());
        Ok(())
    }

    /// Waits until a series has a value.
    async fn becomes(&self, moved: &mut Moved, series: &str, value: f64) -> Result<()> {
        eventually(&format!("{series} to become {value}"), async || {
            Ok((self.broker.scrape()?.of(series)? == value).then_some(()))
        })
        .await?;
        moved.0.insert(series.to_owned());
        Ok(())
    }

    /// Takes what is counted now for what was before.
    fn again(&mut self) -> Result<()> {
        self.before = self.broker.scrape()?;
        Ok(())
    }

    /// Creates an agent, and lets it in by the client that can misbehave; not subscribed.
    async fn agent(&self, name: &str) -> Result<(Client, Secret)> {
        let [(_, secret)] = &self.broker.import(&[name]).await?[..] else { anyhow::bail!("not one agent") };
        Ok((self.enter(&Login::new(Version::V5, name, secret.expose())).await?, secret.clone()))
    }

    /// Lets somebody in.
    async fn enter(&self, login: &Login) -> Result<Client> {
        let mut client = self.broker.dial().await?;
        client.enter(login).await?;
        Ok(client)
    }
}

#[tokio::test]
async fn every_series_moves() -> Result<()> {
    let mut moved = Moved::default();
    let all: BTreeSet<String> = {
        let broker = InProcessBroker::start(wakemq_tests::in_process::Injected::default()).await?;
        // A histogram is one metric: of its series the count stands for all.
        let whole = |series: &&str| !series.contains("_bucket{") && !series.ends_with("_sum");
        broker.scrape()?.series().filter(whole).map(str::to_owned).collect()
    };
    connections::move_all(&mut moved).await?;
    refusals::move_all(&mut moved).await?;
    commands::move_all(&mut moved).await?;
    polls::move_all(&mut moved).await?;
    power::move_all(&mut moved).await?;
    store::move_all(&mut moved).await?;
    bus::move_all(&mut moved).await?;
    let excused = |series: &str| NOT_MOVED.iter().any(|(name, _)| series.starts_with(name));
    let forgotten: Vec<_> = all.iter().filter(|one| !moved.0.contains(*one) && !excused(one)).collect();
    assert!(forgotten.is_empty(), "nothing moves these: {forgotten:#?}");
    let unknown: Vec<_> = moved.0.difference(&all).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn the_program_shows_them_at_the_administrators_door_alone() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let admin = broker.admin().await?;
    // As Prometheus asks: without a secret.
    let mut prometheus = http(&broker.ca_path(), admin, None)?;
    let (status, body) = within("metrics", prometheus.request(Method::GET, "/metrics", None)).await??;
    assert_eq!(status.as_u16(), 200);
    let scrape = Scrape::read(std::str::from_utf8(&body).context("text")?)?;
    assert_eq!(scrape.of(&format!("wakemq_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")))?, 1.0);
    assert_eq!(scrape.of("wakemq_connections{kind=\"http\"}")?, 1.0, "the one that asks");

    let made = broker.import(&["pc-1"]).await?;
    let mut agent = Client::dial(broker.address(), &broker.ca_path()).await?;
    agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    let (_, body) = within("metrics", prometheus.request(Method::GET, "/metrics", None)).await??;
    let scrape = Scrape::read(std::str::from_utf8(&body).context("text")?)?;
    assert_eq!(scrape.of("wakemq_agents_connected")?, 1.0);
    assert_eq!(scrape.of("wakemq_admissions_total{kind=\"agent\"}")?, 1.0);
    assert!(scrape.of("wakemq_store_flush_duration_seconds_count")? > 0.0, "the store tells them too");

    // The rest of HTTP is there as well, and not MQTT.
    let (status, _) = within("an answer", prometheus.request(Method::GET, "/readyz", None)).await??;
    assert_eq!(status.as_u16(), 200);
    let mut client = Client::dial(admin, &broker.ca_path()).await?;
    assert_eq!(client.login(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?, None);
    // Nor is it anywhere else.
    for bearer in [None, Some(broker.profile()?.secret)] {
        let mut client = broker.http(bearer)?;
        let (status, _) = within("an answer", client.request(Method::GET, "/metrics", None)).await??;
        assert_eq!(status.as_u16(), 404);
    }
    Ok(())
}
