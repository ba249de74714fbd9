//! The WakeMQ broker: holds one permanent connection for each agent, accepts commands, and loses none.
//!
//! `ARCHITECTURE.md` at the top of the repository follows one command through these modules.

pub mod bus;
pub mod clock;
pub mod config;
pub mod door;
pub mod engine;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod init;
pub mod metrics;
pub mod mqtt;
pub mod polls;
pub mod registry;
pub mod server;
pub mod store;
pub mod transport;
