//! The WakeMQ agent: one permanent, cheap connection over which an endpoint is woken.
//!
//! [`Agent::connect`] runs on the caller's tokio runtime and gives a stream of commands. Each is written to a
//! journal before it is acknowledged, and each ends with a receipt: [`Incoming::done`], [`Incoming::failed`]
//! or [`Incoming::refused`]. What a killed agent left without a result is given out again at the next start.
//!
//! Commands of the kind `relay` are not given out: the agent carries them out itself, by sending Wake-on-LAN packets
//! on its own networks, unless [`AgentOptions::relay`] forbids it.
//!
//! ```no_run
//! use wakemq_agent::{Agent, AgentOptions, StateDir};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let state = StateDir::open("/var/lib/wakemq-agent".as_ref())?;
//! let identity = state.identity()?;
//! let mut agent = Agent::connect(identity, AgentOptions::new(state))?;
//! while let Some(incoming) = agent.next_command().await {
//!     println!("woken: {:?}", incoming.command().reason);
//!     incoming.done(None);
//! }
//! # Ok(())
//! # }
//! ```

mod agent;
mod clock;
pub mod doctor;
mod driver;
mod enrol;
mod facts;
mod identity;
mod inbox;
mod incoming;
mod journal;
mod network;
mod outbox;
mod passage;
mod random;
mod relay;
mod state_dir;
mod status;
mod surroundings;
mod sys;

pub use agent::{Agent, AgentError, AgentOptions};
pub use enrol::{EnrolError, EnrolOptions, enrol};
pub use facts::DeclaredError;
pub use identity::{CaSource, Identity};
pub use incoming::Incoming;
pub use journal::JournalError;
pub use passage::{ParseProxyOrderError, Passage, PassageError, ProxyChoice, ProxyOrder};
pub use state_dir::{StateDir, StateError};
pub use status::{Connection, Problem, Status};
pub use wakemq_link::ladder::Way;
pub use wakemq_link::{ParseProxyError, ProxyUrl, Rung, Transport};
