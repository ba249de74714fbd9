//! A running broker: listeners, timers, sweeps, and their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Wol;
use crate::door::{self, Door, Limits, Serves};
use crate::engine::{Advertise, Engine, PowerQueue};
use crate::metrics::Metrics;
use crate::store::Store;

/// How often expired commands are ended.
const SWEEP: Duration = Duration::from_secs(1);

/// All that a broker needs.
pub struct Settings {
    /// Where it listens; see [`crate::transport::socket::listen`].
    pub listeners: Vec<TcpListener>,
    /// Where it listens for administrators: see [`Serves::Admin`].
    pub admin: Vec<TcpListener>,
    /// Certificate, key and versions; see [`crate::transport::server_config::server_config`].
    pub tls: Arc<ServerConfig>,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The source of time.
    pub clock: Clock,
    /// What agents are told at enrolment.
    pub advertise: Advertise,
    /// What the door allows.
    pub limits: Limits,
    /// Where it sends Wake-on-LAN packets itself, and how long endpoints may take to come up.
    pub wol: Wol,
    /// What is counted; the store's observer is the same.
    pub metrics: Arc<Metrics>,
}

/// A running broker; dropped, it ends all its connections and tasks without waiting for them.
pub struct Broker {
    engine: Arc<Engine>,
    bus: Arc<Bus>,
    door: Arc<Door>,
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
    power: AbortOnDropHandle<()>,
}

impl Broker {
    /// Starts a broker on the present tokio runtime. It serves at once what was pending in the store.
    ///
    /// # Errors
    /// If a listener does not tell its address, or the store cannot be read.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let Settings { listeners, admin, tls, store, clock, advertise, limits, wol, metrics } = settings;
        let bus = Bus::start(metrics.clone());
        let engine = Engine::new(store, clock, advertise, metrics, bus.clone());
        // What those were told who were connected before is not known, but for how many they were at the most.
        let enrolled = engine.agents_enrolled().await.map_err(io::Error::other)?;
        let agents = usize::try_from(enrolled).unwrap_or(usize::MAX).min(limits.max_connections);
        let engine = Arc::new(engine.with_power(&wol, limits.return_secs(agents)));
        engine.load_rights().await.map_err(io::Error::other)?;
        // Before anybody can connect: whoever comes up by a packet of before must not be missed.
        let power = PowerQueue::start(engine.clone()).await.map_err(io::Error::other)?;
        let door = Door::new(engine.clone(), bus.clone(), tls, limits);
        let addresses = addresses(&listeners)?;
        let admin_addresses = self::addresses(&admin)?;
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(door::listen(door.clone(), listener, Serves::Clients));
        }
        for listener in admin {
            tasks.spawn(door::listen(door.clone(), listener, Serves::Admin));
        }
        let timers = door.clone();
        tasks.spawn(async move { timers.run_timers().await });
        tasks.spawn(sweep(engine.clone()));
        let power = AbortOnDropHandle::new(tokio::spawn(power.run()));
        Ok(Self { engine, bus, door, addresses, admin_addresses, tasks, power })
    }

    /// Returns the addresses that are listened on.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the addresses that are listened on for administrators.
    pub fn admin_addrs(&self) -> &[SocketAddr] {
        &self.admin_addresses
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Returns what carries events to operators.
    pub fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// Returns the door, to which connections can be given that did not come through a listener.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Stops accepting, tells every client, and waits until they have left, at most for `grace`. Returns how many
    /// connections were left and are cut.
    pub async fn shutdown(self, grace: Duration) -> usize {
        // First: that relays leave now must not become evidence.
        self.power.abort();
        self.engine.stops();
        let left = self.door.drain(grace).await;
        if left > 0 {
            tracing::warn!(connections = left, "cut after the grace");
        }
        left
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.power.abort();
        self.engine.stops();
        self.door.close();
    }
}

fn addresses(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Ends what has expired, and looks at the wall clock.
async fn sweep(engine: Arc<Engine>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        engine.clock().check_jump();
        match engine.sweep().await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the store works again");
            }
            Ok(()) => {}
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "expired commands cannot be ended at the moment");
            }
            Err(_) => {}
        }
    }
}
