//! The engine: the only part that sees both the store and the registry of live connections.
//!
//! What publishers, agents and administrators ask of it has a file each.

mod admin;
mod commands;
mod delivery;
mod followers;
mod measure;
mod rights;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use followers::Followers;
use parking_lot::Mutex;
use wakemq_core::Throttle;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::registry::{Mailbox, Registry};
use crate::store::Store;

pub use admin::{PAGE_MAX, create_operator};
pub use commands::Reply;
pub use rights::{EngineError, Operator};
pub use throttle::Answer;

/// Accepts commands, hands them to connections, and records what becomes of them.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    /// What agents are told at enrolment: where to connect, and the CA.
    pub(crate) advertise: Advertise,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    followers: Followers,
    /// Who gave wrong secrets lately.
    throttle: Mutex<Throttle>,
    /// A write has failed: what was busy with it may have been passed over by connections that looked meanwhile.
    write_failed: AtomicBool,
    /// Counts revocations, so that a connection that was authenticated before one and arrives after it is noticed.
    revocations: AtomicU64,
}

impl Engine {
    /// Makes an engine over a store.
    pub fn new(store: Arc<dyn Store>, clock: Clock, advertise: Advertise, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            clock,
            advertise,
            registry: Registry::default(),
            metrics,
            followers: Followers::default(),
            throttle: Mutex::default(),
            write_failed: AtomicBool::new(false),
            revocations: AtomicU64::new(0),
        }
    }

    /// Returns the live connections.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns what is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns engine time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns how many revocations there were; see [`arrive`](Self::arrive) for what it is compared with.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Forgets an operator's connection that has ended.
    pub fn operator_left(&self, mailbox: &Mailbox) {
        self.followers.unbind_all(mailbox);
    }

    fn note_revocation(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
    }
}

/// What agents are told at enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Where to connect, `HOST:PORT`, in order of preference.
    pub endpoints: Vec<String>,
    /// The broker's CA in PEM; `None` where agents are to use their system's roots.
    pub ca: Option<String>,
}
