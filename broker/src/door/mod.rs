//! The door: listening sockets, and everything about one connection from its first byte to its last.
//!
//! `listener` accepts, `gate` says when and whether a connection passes, `opening` does the TLS handshake and finds out
//! what is spoken, `login` takes the CONNECT, `agent` and `operator` drive the sessions of `wakemq-core`. Nothing here
//! knows a store: all goes through the engine.

mod agent;
mod counted;
mod ending;
mod gate;
mod listener;
mod login;
mod opening;
mod operator;
mod returning;
#[cfg(test)]
mod tests;
mod timers;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use wakemq_core::End;
use wakemq_core::admission;
use wakemq_core::login::Grants;
use wakemq_core::packet::{ProtocolLevel, ReasonCode, ServerPacket};

use crate::bus::Bus;
use crate::engine::Engine;
use crate::http::{Http, HttpVersion};
use crate::metrics::{Metrics, PublishRefused, Refused};
use crate::mqtt::Peer;
use crate::polls::Polls;
use crate::transport::stream::TlsStream;

pub(crate) use gate::Stranger;
pub(crate) use listener::listen;
pub use returning::Returning;
pub use timers::Timers;
pub use wire::Io;

use wire::Wire;

/// What the door allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; one more is turned away.
    pub max_connections: usize,
    /// How many connections are let in each second; more wait, and are turned away where they would wait too long.
    pub admissions_per_sec: u32,
    /// How many are let in at once after a quiet while.
    pub admission_burst: u32,
    /// How much of these, and of places for connections that have not said who they are, one source may take while
    /// others want them too, in percent.
    pub source_share_percent: u8,
    /// Most TLS handshakes at a time; one more waits, and is turned away after a while.
    pub handshakes_in_progress: usize,
    /// How long a TLS handshake may take, waiting included.
    pub handshake: Duration,
    /// How long a client may take from then to its CONNECT or its first request.
    pub connect: Duration,
    /// Longest keep-alive, in seconds.
    pub keep_alive_max_secs: u16,
    /// Within how many seconds an agent returns after a lost connection at the least; see [`Limits::return_secs`].
    pub return_secs: u32,
    /// How many submissions an operator may have under way on one connection.
    pub receive_maximum: u16,
    /// Shortest and longest heartbeat of a long poll, in seconds.
    pub poll_heartbeat_secs: (u32, u32),
    /// Who is believed, and has to say, whose connections they pass on; see [`crate::transport::proxy_header`].
    pub balancers: Vec<IpNet>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 50_000,
            admissions_per_sec: 2_000,
            admission_burst: 2_000,
            source_share_percent: 50,
            handshakes_in_progress: 512,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            keep_alive_max_secs: 1200,
            return_secs: wakemq_protocol::limits::RETURN_DEFAULT_SECS,
            receive_maximum: 1024,
            poll_heartbeat_secs: wakemq_protocol::limits::POLL_HEARTBEAT_SECS,
            balancers: Vec::new(),
        }
    }
}

impl Limits {
    /// Returns within how many seconds agents are told to come back, when so many of them are connected.
    pub fn return_secs(&self, agents: usize) -> u32 {
        admission::return_secs(self.return_secs, agents, self.admissions_per_sec)
    }
}

/// Returns how many descriptors connections take at the most, if so many may be let in: the administrators' own and
/// those that are turned away come on top.
pub fn descriptors(max_connections: usize) -> usize {
    max_connections + ADMIN_CONNECTIONS_MAX + gate::lingering_max(max_connections)
}

/// Most connections at a time to the administrators' door. They are counted apart, so that who wants to know what
/// is wrong gets in when all other places are taken.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// What a listener's connections are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// MQTT and HTTP, to agents and operators.
    Clients,
    /// HTTP alone, and what belongs to administrators too: `/metrics`.
    Admin,
}

/// A connection that was let in.
enum Session<S> {
    Agent(Box<agent::Connection<S>>),
    Operator(Box<operator::Connection<S>>),
    /// And whose it is, which version is spoken, and what it holds until it is known whose.
    Http(Box<TlsStream<S>>, SocketAddr, HttpVersion, gate::Stranger),
    /// There was no room for it; it is closed after a while if there is a place for it to wait.
    TurnedAway(S, Option<listener::Place>),
}

/// Why connections end when the broker does.
pub(crate) fn stopping() -> End {
    End::new(ReasonCode::ServerShuttingDown, "the broker stops")
}

/// What all connections of a broker share.
pub struct Door {
    engine: Arc<Engine>,
    bus: Arc<Bus>,
    http: Http,
    tls: Arc<ServerConfig>,
    limits: Limits,
    timers: Arc<Timers>,
    returning: Arc<Returning>,
    gate: gate::Gate,
    places: Arc<listener::Places>,
    admin_places: Arc<listener::Places>,
    tasks: TaskTracker,
    draining: watch::Sender<bool>,
}

impl Door {
    /// Makes a door that is not yet open.
    pub fn new(engine: Arc<Engine>, bus: Arc<Bus>, tls: Arc<ServerConfig>, limits: Limits) -> Arc<Self> {
        let now_ms = engine.clock().mono_ms();
        let draining = watch::Sender::new(false);
        let timers = Arc::new(Timers::new(now_ms));
        let (least, rate) = (limits.return_secs, limits.admissions_per_sec);
        let returning = Arc::new(Returning::new(engine.clone(), least, rate));
        let tasks = TaskTracker::new();
        let polls = Polls::new(
            engine.clone(),
            timers.clone(),
            returning.clone(),
            limits.poll_heartbeat_secs,
            draining.subscribe(),
            tasks.clone(),
        );
        Arc::new(Self {
            http: Http::new(engine.clone(), polls, draining.subscribe()),
            timers,
            returning,
            gate: gate::Gate::new(&limits),
            places: listener::Places::new(limits.max_connections),
            admin_places: listener::Places::new(ADMIN_CONNECTIONS_MAX),
            tasks,
            draining,
            engine,
            bus,
            tls,
            limits,
        })
    }

    /// Serves one connection to its end, as one of [`Serves::Clients`]; in-memory streams are as good as sockets.
    pub async fn serve<S: Io>(self: Arc<Self>, io: S, address: SocketAddr) {
        self.serve_as(io, address, Serves::Clients).await;
    }

    /// Serves one connection to its end.
    pub async fn serve_as<S: Io>(self: Arc<Self>, io: S, address: SocketAddr, serves: Serves) {
        // All but being parked is in a box, so that what it needs is gone then, and no part of the task.
        if let Some(connection) = Box::pin(self.serve_until_parked(io, address, serves)).await {
            connection.run().await;
        }
    }

    /// Serves one connection to its end, unless it is an agent's that was let in.
    async fn serve_until_parked<S: Io>(
        self: Arc<Self>,
        io: S,
        address: SocketAddr,
        serves: Serves,
    ) -> Option<Box<agent::Connection<S>>> {
        let mut session = Box::pin(self.let_in(io, address, serves)).await;
        if let Ok(Session::Http(stream, address, version, stranger)) = session {
            let upgraded = self.serve_http(stream, (address, serves), version, &stranger).await?;
            session = Box::pin(self.let_upgraded_in(upgraded, address)).await;
        }
        // In boxes, that none makes room in this future for all the others: a parked poll is in it too.
        match session {
            Ok(Session::Agent(connection)) => return Some(connection),
            Ok(Session::Operator(connection)) => Box::pin(connection.run()).await,
            Ok(Session::TurnedAway(io, Some(place))) => {
                Box::pin(gate::linger(io, place, self.draining.subscribe())).await;
            }
            // There is no place to wait in; and nothing is upgraded to HTTP.
            Ok(Session::TurnedAway(_, None) | Session::Http(..)) => {}
            Err(refused) => {
                self.metrics().refusals.of(refused).inc();
            }
        }
        None
    }

    /// Serves HTTP, until the connection ends or is upgraded.
    ///
    /// A poll may wait in it for an hour. So the stream stays in its box, or each caller would keep room for it; and
    /// what serves each version is in one of its own size.
    async fn serve_http<S: Io>(
        self: &Arc<Self>,
        stream: Box<TlsStream<S>>,
        (address, serves): (SocketAddr, Serves),
        version: HttpVersion,
        stranger: &gate::Stranger,
    ) -> Option<(Box<TlsStream<S>>, Bytes)> {
        let door = counted::HttpDoor::new(self.clone());
        match version {
            HttpVersion::Http1 => Box::pin(door.http.serve_as(stream, address, serves, stranger)).await,
            HttpVersion::Http2 => {
                Box::pin(door.http.serve_http2(stream, address, serves, stranger)).await;
                None
            }
        }
    }

    /// Takes a connection from its upgrade to the moment when it is known who it is.
    async fn let_upgraded_in<S: Io>(
        self: &Arc<Self>,
        (stream, behind): (Box<TlsStream<S>>, Bytes),
        address: SocketAddr,
    ) -> Result<Session<S>, Refused> {
        let door = counted::HandshakingDoor::new(self.clone());
        let deadline = Instant::now() + self.limits.connect;
        match Wire::upgraded(*stream, &behind, Peer::unknown(ProtocolLevel::V5)) {
            Ok(wire) => login::login(&door, Box::new(wire), address, deadline).await,
            Err(end) => {
                tracing::debug!(%address, %end, "no WebSocket");
                Err(end.counts_as())
            }
        }
    }

    /// Takes a connection from its first byte to the moment when it is known who it is.
    async fn let_in<S: Io>(
        self: &Arc<Self>,
        mut io: S,
        address: SocketAddr,
        serves: Serves,
    ) -> Result<Session<S>, Refused> {
        let door = counted::HandshakingDoor::new(self.clone());
        let deadline = Instant::now() + self.limits.handshake;
        let opened = async {
            let (address, behind) = match serves {
                Serves::Clients => opening::passed_on(&door, &mut io, address, deadline).await?,
                Serves::Admin => (address, Vec::new()),
            };
            let Some(unknown) = door.gate.unknown(address, serves) else {
                return Ok((opening::Opened::TurnedAway(io, Refused::OverShare), address, None));
            };
            let opened = opening::open(&door, io, behind, address, serves, deadline).await?;
            Ok::<_, opening::OpenError>((opened, address, Some(unknown)))
        };
        match opened.await {
            // It counts as unknown until its CONNECT is answered.
            Ok((opening::Opened::Mqtt(wire, deadline), address, _unknown)) => {
                login::login(&door, wire, address, deadline).await
            }
            Ok((opening::Opened::Http(stream, version), address, unknown)) => {
                let stranger = unknown.map(gate::Stranger::new).unwrap_or_default();
                Ok(Session::Http(stream, address, version, stranger))
            }
            Ok((opening::Opened::TurnedAway(io, why), address, _)) => {
                let place = self.gate.turn_away(why, address, self.metrics());
                if why == Refused::OverShare {
                    self.engine.connection_flood(address.ip());
                }
                Ok(Session::TurnedAway(io, place))
            }
            Err(error) => {
                tracing::debug!(%address, %error, "a connection ended before it said anything");
                Err(error.counts_as())
            }
        }
    }

    /// Fires the timers of connections, for as long as it is polled.
    pub async fn run_timers(&self) {
        self.timers.run(&self.engine).await;
    }

    /// Stops accepting, and asks every connection to end.
    pub fn close(&self) {
        self.returning.settle();
        self.draining.send_replace(true);
        self.tasks.close();
        self.engine.registry().evict_all(&stopping());
    }

    /// Asks every connection to end and waits until all have, at most for `grace`. Returns how many are left.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.close();
        match tokio::time::timeout(grace, self.tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tasks.len(),
        }
    }

    /// Returns how many timers of connections are set.
    pub fn timers_set(&self) -> usize {
        self.timers.len()
    }

    fn metrics(&self) -> &Metrics {
        self.engine.metrics()
    }

    /// Counts what a packet says that is about to be sent.
    fn count_sent(&self, packet: &ServerPacket) {
        if let ServerPacket::PubAck { reason, .. } = packet
            && reason.is_error()
        {
            self.metrics().publishes_refused.of(PublishRefused::of(*reason)).inc();
        }
    }

    fn places(&self, serves: Serves) -> &Arc<listener::Places> {
        match serves {
            Serves::Clients => &self.places,
            Serves::Admin => &self.admin_places,
        }
    }

    /// Within how many seconds an agent is told to come back after a lost connection.
    fn return_secs(&self) -> u32 {
        self.returning.secs()
    }

    fn grants(&self) -> Grants {
        Grants {
            keep_alive_max_secs: self.limits.keep_alive_max_secs,
            return_secs: self.return_secs(),
            receive_maximum: self.limits.receive_maximum,
        }
    }
}
