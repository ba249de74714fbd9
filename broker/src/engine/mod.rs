//! The engine: the only part that sees both the store and the registry of live connections.
//!
//! Commands and administration each have a file of their own.

mod admin;
mod rights;

use std::sync::Arc;

use crate::clock::Clock;
use crate::store::Store;

pub use admin::{PAGE_MAX, create_operator};
pub use rights::{EngineError, Operator};

/// Accepts commands, hands them to connections, and records what becomes of them.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    /// What agents are told at enrolment: where to connect, and the CA.
    pub(crate) advertise: Advertise,
}

/// What agents are told at enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Where to connect, `HOST:PORT`, in order of preference.
    pub endpoints: Vec<String>,
    /// The broker's CA in PEM; `None` where agents are to use their system's roots.
    pub ca: Option<String>,
}
