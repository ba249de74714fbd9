//! Running a broker: from its files to its orderly end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::{self, Config};
use wakemq_broker::door::Limits;
use wakemq_broker::engine::Advertise;
use wakemq_broker::init::{self, CONFIG, STORE};
use wakemq_broker::metrics::Metrics;
use wakemq_broker::server::{Broker, Settings};
use wakemq_broker::store;
use wakemq_broker::transport::server_config::server_config;
use wakemq_broker::transport::socket::{ListenError, listen};

use crate::descriptors;
use crate::exit::Exit;
use crate::signals::Signals;

/// Submissions that an operator's connection may have under way.
const RECEIVE_MAXIMUM: u16 = 1024;

/// Reads the configuration: from a file that must exist, or else from the data directory if there is one.
pub(crate) fn load_config(data: &Path, file: Option<&Path>) -> anyhow::Result<Config> {
    let own = data.join(CONFIG);
    match file {
        Some(file) => Ok(Config::load(file)?),
        None if own.exists() => Ok(Config::load(&own)?),
        None => Ok(Config::default()),
    }
}

/// A broker, and what ends it.
pub(crate) struct Service {
    pub(crate) broker: Broker,
    signals: Signals,
    grace: Duration,
}

impl Service {
    /// Starts a broker on an initialised data directory.
    pub(crate) async fn start(data: &Path, config: &Config) -> anyhow::Result<Self> {
        init::check(data)?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        // From here on a signal ends the broker in order, however long the store takes to open.
        let signals = Signals::new().context("cannot catch signals")?;
        let max_connections = descriptors::make_room(config.limits.max_connections);
        let tls = server_config(&data.join(&config.tls.certificate), &data.join(&config.tls.key))
            .context("the server's certificate cannot be used")?;
        let ca = read_ca(data, &config.advertise)?;

        let clock = Clock::start();
        let (path, cache_bytes, now) = (data.join(STORE), config.store.cache_mib << 20, clock.now());
        let name = path.display().to_string();
        let metrics = Arc::new(Metrics::new());
        let observer = metrics.clone();
        let store =
            tokio::task::spawn_blocking(move || store::open_observed(&path, cache_bytes, now, observer))
                .await
                .context("opening the store broke off")?
                .with_context(|| format!("cannot open {name}"))?;

        let listeners = listen_on(&config.listen.addresses)?;
        let admin = listen_on(&config.listen.admin)?;
        let bound = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<Vec<_>, _>>()
            .context("a listener does not tell its address")?;
        let endpoints = config.advertised(&bound, &init::host_name());
        tracing::info!(?endpoints, "agents that enrol are told to connect here");
        let broker = Broker::start(Settings {
            listeners,
            admin,
            tls,
            store,
            clock,
            advertise: Advertise { endpoints, ca },
            limits: limits(config, max_connections),
            wol: config.wol.clone(),
            metrics,
        })
        .await
        .context("the broker cannot start")?;
        announce(broker.local_addrs(), broker.admin_addrs())?;
        Ok(Self { broker, signals, grace: Duration::from_secs(config.limits.shutdown_secs.into()) })
    }

    /// Runs until a signal, then ends in order; a second signal ends at once.
    pub(crate) async fn run(mut self) -> Exit {
        let signal = self.signals.next().await;
        tracing::info!(signal, grace_secs = self.grace.as_secs(), "shutting down; once more ends at once");
        tokio::select! {
            left = self.broker.shutdown(self.grace) => {
                tracing::info!("stopped");
                if left == 0 { Exit::Ok } else { Exit::Failed }
            }
            signal = self.signals.next() => {
                tracing::warn!(signal, "stopped at once");
                Exit::Failed
            }
        }
    }
}

fn listen_on(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    addresses.iter().map(|&address| listen(address)).collect()
}

fn limits(config: &Config, max_connections: usize) -> Limits {
    let limits = &config.limits;
    Limits {
        max_connections,
        admissions_per_sec: limits.admissions_per_sec,
        admission_burst: limits.admission_burst,
        source_share_percent: limits.source_share_percent,
        handshakes_in_progress: limits.handshakes_in_progress,
        handshake: Duration::from_secs(limits.handshake_secs.into()),
        connect: Duration::from_secs(limits.connect_secs.into()),
        keep_alive_max_secs: limits.keep_alive_max_secs,
        return_secs: limits.return_secs,
        receive_maximum: RECEIVE_MAXIMUM,
        poll_heartbeat_secs: limits.poll_heartbeat_secs(),
        balancers: config.listen.balancers.clone(),
    }
}

/// Reads the CA that agents are given. What is given to everybody must not hold a key.
fn read_ca(data: &Path, advertise: &config::Advertise) -> anyhow::Result<Option<String>> {
    if advertise.use_system_roots {
        return Ok(None);
    }
    let path: PathBuf = data.join(&advertise.ca);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: the CA that agents are given cannot be read", path.display()))?;
    if !text.contains("BEGIN CERTIFICATE") || text.contains("PRIVATE KEY") {
        bail!("{}: `ca` in [advertise] must name a file in PEM with certificates and no key", path.display());
    }
    Ok(Some(text))
}

/// Tells whoever started the program where it listens, now that everybody can connect.
fn announce(addresses: &[SocketAddr], admin: &[SocketAddr]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for address in addresses {
        tracing::info!(%address, "listening");
        writeln!(out, "listening {address}").context("standard output")?;
    }
    for address in admin {
        tracing::info!(%address, "listening for administrators");
        writeln!(out, "admin {address}").context("standard output")?;
    }
    out.flush().context("standard output")
}
