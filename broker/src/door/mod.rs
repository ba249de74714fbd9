//! The door: listening sockets, and everything about one connection from its first byte to its last.
//!
//! `listener` accepts, `opening` does the TLS handshake and finds out what is spoken, `login` takes the CONNECT,
//! `agent` and `operator` drive the sessions of `wakemq-core`. Nothing here knows a store: all goes through the
//! engine.

mod agent;
mod ending;
mod listener;
mod login;
mod opening;
mod operator;
#[cfg(test)]
mod tests;
mod timers;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use wakemq_core::End;
use wakemq_core::login::Grants;
use wakemq_core::packet::ReasonCode;

use crate::engine::Engine;
use crate::http::Http;

pub(crate) use listener::listen;
pub use wire::Io;

/// What the door allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; one more is closed at once.
    pub max_connections: usize,
    /// Most TLS handshakes at a time; one more waits.
    pub handshakes_in_progress: usize,
    /// How long a TLS handshake may take, waiting included.
    pub handshake: Duration,
    /// How long a client may take from then to its CONNECT or its first request.
    pub connect: Duration,
    /// Longest keep-alive, in seconds.
    pub keep_alive_max_secs: u16,
    /// Within how many seconds an agent returns after a lost connection.
    pub return_secs: u32,
    /// How many submissions an operator may have under way on one connection.
    pub receive_maximum: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 50_000,
            handshakes_in_progress: 512,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            keep_alive_max_secs: 1200,
            return_secs: wakemq_protocol::limits::RETURN_DEFAULT_SECS,
            receive_maximum: 1024,
        }
    }
}

/// What all connections of a broker share.
pub struct Door {
    engine: Arc<Engine>,
    http: Http,
    tls: Arc<ServerConfig>,
    limits: Limits,
    timers: timers::Timers,
    handshakes: Semaphore,
    connections: AtomicUsize,
    tasks: TaskTracker,
    draining: watch::Sender<bool>,
}

impl Door {
    /// Makes a door that is not yet open.
    pub fn new(engine: Arc<Engine>, tls: Arc<ServerConfig>, limits: Limits) -> Arc<Self> {
        let now_ms = engine.clock().mono_ms();
        let draining = watch::Sender::new(false);
        Arc::new(Self {
            http: Http::new(engine.clone(), draining.subscribe()),
            timers: timers::Timers::new(now_ms),
            handshakes: Semaphore::new(limits.handshakes_in_progress),
            connections: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            draining,
            engine,
            tls,
            limits,
        })
    }

    /// Serves one connection to its end; in-memory streams are as good as sockets.
    pub async fn serve<S: Io>(self: Arc<Self>, io: S, address: std::net::SocketAddr) {
        // Every stage but the parked one is boxed: what it needs is gone afterwards, and not part of the task.
        match Box::pin(opening::open(&self, io, address)).await {
            Ok(opening::Opened::Mqtt(wire, deadline)) => {
                match Box::pin(login::login(&self, wire, address, deadline)).await {
                    Some(login::Session::Agent(connection)) => connection.run().await,
                    Some(login::Session::Operator(connection)) => Box::pin(connection.run()).await,
                    None => {}
                }
            }
            Ok(opening::Opened::Http(stream)) => Box::pin(self.http.serve_connection(*stream, address)).await,
            Err(error) => tracing::debug!(%address, %error, "a connection ended before it said anything"),
        }
    }

    /// Fires the timers of connections, for as long as it is polled.
    pub async fn run_timers(&self) {
        self.timers.run(&self.engine).await;
    }

    /// Stops accepting, and asks every connection to end.
    pub fn close(&self) {
        self.draining.send_replace(true);
        self.tasks.close();
        self.engine.registry().evict_all(&Self::stopping());
    }

    /// Asks every connection to end and waits until all have, at most for `grace`. Returns how many are left.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.close();
        match tokio::time::timeout(grace, self.tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tasks.len(),
        }
    }

    fn stopping() -> End {
        End::new(ReasonCode::ServerShuttingDown, "the broker stops")
    }

    fn grants(&self) -> Grants {
        Grants {
            keep_alive_max_secs: self.limits.keep_alive_max_secs,
            return_secs: self.limits.return_secs,
            receive_maximum: self.limits.receive_maximum,
        }
    }
}
