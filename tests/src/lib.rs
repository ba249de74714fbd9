//! What the end-to-end tests, the demo and the kill test share: brokers, agents and operators as real processes,
//! a broker within the test where something must be injected, and an MQTT client that can misbehave.
//!
//! Everything returns errors that say what was waited for and what the programs had said until then. Nothing
//! sleeps: each wait is for a line of output, an answer or a state, and has a time limit.

pub mod agents;
pub mod broker;
pub mod clock;
pub mod descriptors;
pub mod figures;
pub mod fleet;
pub mod in_process;
pub mod interceptor;
pub mod kill;
pub mod machine;
pub mod medium;
pub mod middlebox;
pub mod operator;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod raw;
pub mod scrape;
pub mod wait;
pub mod waking;
