//! A broker within the test, for what must be injected: a failing medium, other clocks, in-memory streams.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use wakemq_agent::Agent;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::Wol;
use wakemq_broker::door::Limits;
use wakemq_broker::engine::Advertise;
use wakemq_broker::init::{self, CA, CERTIFICATE, KEY, OPERATOR, Plan, STORE};
use wakemq_broker::metrics::Metrics;
use wakemq_broker::server::{Broker, Settings};
use wakemq_broker::store;
use wakemq_broker::transport::server_config::server_config;
use wakemq_broker::transport::socket::listen;
use wakemq_link::http::HttpClient;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, Secret};
use wakemq_publisher::{Management, Publisher, load_profile};

use crate::agents::Home;
use crate::medium::{self, Full};
use crate::raw::Client;
use crate::scrape::Scrape;
use crate::wait::within;

/// How many bytes an in-memory stream holds in each direction.
const STREAM_BYTES: usize = 16 * 1024;

/// What is injected.
#[derive(Clone)]
pub struct Injected {
    /// The source of time.
    pub clock: Clock,
    /// What the door allows.
    pub limits: Limits,
    /// What the broker sends itself, and how long endpoints may take to come up.
    pub wol: Wol,
    /// Whether the store's medium is full.
    pub full: Full,
}

impl Default for Injected {
    fn default() -> Self {
        let limits = Limits { return_secs: 1, ..Limits::default() };
        Self { clock: Clock::start(), limits, wol: Wol::default(), full: Full::default() }
    }
}

/// A broker within the test; ended when dropped.
pub struct InProcessBroker {
    /// The broker.
    pub broker: Broker,
    dir: TempDir,
}

impl InProcessBroker {
    /// Starts a broker on a new store.
    pub async fn start(injected: Injected) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().to_owned();
        let plan = Plan { data: data.clone(), hosts: vec!["127.0.0.1".parse()?], ports: vec![8883] };
        init::initialise(&plan, injected.clock.now()).await?;
        let Injected { clock, limits, wol, full } = injected;
        let metrics = Arc::new(Metrics::new());
        let store = medium::open(data.join(STORE), &full, clock.now(), metrics.clone())?;
        Self::on(dir, store, clock, (limits, wol), metrics).await
    }

    async fn on(
        dir: TempDir,
        store: Arc<dyn store::Store>,
        clock: Clock,
        (limits, wol): (Limits, Wol),
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let data = dir.path();
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let endpoints = vec![listener.local_addr()?.to_string()];
        init::set_profile_endpoints(data, &endpoints)?;
        let ca = std::fs::read_to_string(data.join(CA))?;
        let broker = Broker::start(Settings {
            listeners: vec![listener],
            admin: vec![listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?],
            tls: server_config(&data.join(CERTIFICATE), &data.join(KEY))?,
            store,
            clock,
            advertise: Advertise { endpoints, ca: Some(ca) },
            limits,
            wol,
            metrics,
        })
        .await?;
        Ok(Self { broker, dir })
    }

    /// Returns where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.broker.local_addrs().first().copied().context("it listens nowhere")
    }

    /// Returns where it listens for administrators.
    pub fn admin(&self) -> Result<SocketAddr> {
        self.broker.admin_addrs().first().copied().context("it has no admin door")
    }

    /// Returns what is counted at the moment.
    pub fn scrape(&self) -> Result<Scrape> {
        Scrape::read(&self.broker.engine().measure()?)
    }

    /// Returns the path of the CA.
    pub fn ca_path(&self) -> PathBuf {
        self.dir.path().join(CA)
    }

    /// Returns the administrator's profile.
    pub fn profile(&self) -> Result<Profile> {
        Ok(load_profile(&self.dir.path().join(OPERATOR))?)
    }

    /// Returns the management interface, as the administrator.
    pub fn management(&self) -> Result<Management> {
        Ok(Management::new(&self.profile()?)?)
    }

    /// Connects as a publisher, as the administrator.
    pub async fn publisher(&self) -> Result<Publisher> {
        let profile = self.profile()?;
        Ok(within("a publisher's connection", Publisher::connect(&profile)).await??)
    }

    /// Returns a client of the HTTP interface.
    pub fn http(&self, bearer: Option<Secret>) -> Result<HttpClient> {
        crate::broker::http(&self.ca_path(), self.address()?, bearer)
    }

    /// Creates agents, and returns their secrets.
    pub async fn import(&self, agents: &[&str]) -> Result<Vec<(AgentId, Secret)>> {
        crate::broker::import(&mut self.management()?, agents).await
    }

    /// Creates an agent, runs it within the test, and waits until it can be woken.
    pub async fn agent(&self, name: &str) -> Result<(Home, Agent)> {
        let [(id, secret)] = &self.import(&[name]).await?[..] else { anyhow::bail!("not one agent") };
        let ca = std::fs::read_to_string(self.ca_path())?;
        let home = Home::of(id, secret, vec![self.address()?.to_string()], ca)?;
        let agent = home.connected().await?;
        Ok((home, agent))
    }

    /// Dials it over TCP with the client that can misbehave.
    pub async fn dial(&self) -> Result<Client> {
        Client::dial(self.address()?, &self.ca_path()).await
    }

    /// Dials it over an in-memory stream, which holds little.
    pub async fn dial_in_memory(&self) -> Result<Client> {
        let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(STREAM_BYTES);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        tokio::spawn(self.broker.door().clone().serve(theirs, address));
        Client::over(ours, &self.ca_path()).await
    }

    /// Ends the broker in order, and returns how many connections were left.
    pub async fn shutdown(self) -> usize {
        self.broker.shutdown(Duration::from_secs(10)).await
    }
}
