//! The engine: the only part that sees both the store and the registry of live connections.
//!
//! What publishers, agents and administrators ask of it has a file each, and so has what it tells them.

mod admin;
mod agents;
mod audit;
mod commands;
mod delivery;
mod enrol;
mod error;
mod events;
mod followers;
mod groups;
mod history;
mod measure;
mod operators;
mod power;
mod quiet;
mod rights;
mod secrets;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use events::TOLD_MAX;
use followers::Followers;
use parking_lot::Mutex;
use power::Power;
use quiet::Quiet;
use rights::Rights;
use wakemq_core::Throttle;
use wakemq_protocol::SecurityWhat;
use wakemq_protocol::limits::RETURN_DEFAULT_SECS;

use crate::clock::Clock;
use crate::config::Wol;
use crate::metrics::Metrics;
use crate::registry::{Mailbox, Registry};
use crate::store::Store;

pub use admin::PAGE_MAX;
pub use agents::AgentFilter;
pub(crate) use agents::read_place;
pub use commands::Reply;
pub use error::EngineError;
pub use events::{Events, NoEvents};
pub use operators::create_operator;
pub use power::ATTEMPTS_MAX;
pub(crate) use power::PowerQueue;
pub use rights::{Caller, Operator};
pub use throttle::Answer;

/// Accepts commands, hands them to connections, and records what becomes of them.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    /// What agents are told at enrolment: where to connect, and the CA.
    pub(crate) advertise: Advertise,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    /// Whoever carries events to operators.
    events: Arc<dyn Events>,
    /// Of whom `security` events told lately.
    told: Quiet<(SecurityWhat, String)>,
    /// Held while an agent's presence is changed and told, so that it is told in the order of the changes.
    presence: Mutex<()>,
    followers: Followers,
    /// Who gave wrong secrets lately.
    throttle: Mutex<Throttle>,
    rights: Rights,
    /// Held from a change of rights in the store until the table has it, so that both have the same order.
    rights_order: tokio::sync::Mutex<()>,
    /// A change of rights has failed: it may be in the store nevertheless.
    rights_in_doubt: AtomicBool,
    /// A write has failed: what was busy with it may have been passed over by connections that looked meanwhile.
    write_failed: AtomicBool,
    /// Counts revocations, moves and changes of rights, so that a connection that was authenticated before one and
    /// arrives after it is noticed.
    revocations: AtomicU64,
    power: Power,
}

impl Engine {
    /// Makes an engine over a store; [`load_rights`](Self::load_rights) comes before anything else.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        advertise: Advertise,
        metrics: Arc<Metrics>,
        events: Arc<dyn Events>,
    ) -> Self {
        Self {
            power: Power::new(&Wol::default(), RETURN_DEFAULT_SECS, &clock),
            followers: Followers::new(store.clone(), clock.clone()),
            store,
            clock,
            advertise,
            registry: Registry::default(),
            metrics,
            throttle: Mutex::default(),
            events,
            told: Quiet::new(TOLD_MAX),
            presence: Mutex::default(),
            rights: Rights::default(),
            rights_order: tokio::sync::Mutex::default(),
            rights_in_doubt: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            revocations: AtomicU64::new(0),
        }
    }

    /// Sets what the broker may send itself, and within how many seconds agents come back after a restart at the most.
    #[must_use]
    pub fn with_power(mut self, wol: &Wol, return_secs: u32) -> Self {
        self.power = Power::new(wol, return_secs, &self.clock);
        self
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

    /// Returns how many revocations, moves and changes of rights there were. Who authenticates somebody reads it
    /// before, and again after the connection is in the registry: if it has changed, authentication was too early.
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
