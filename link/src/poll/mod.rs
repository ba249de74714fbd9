//! Long poll in the shape of an MQTT session, for networks that let nothing but requests and answers through.
//!
//! Two connections at most: one on which a poll waits for commands, and another for what the agent tells, which is
//! dialled when there is something and kept for a while. Their roles change where a poll is to be replaced by a
//! newer one: that goes out on the other connection, and the broker answers the older with `superseded`.

mod answer;
mod ask;
mod given;
mod posts;
mod session;
mod trial;

pub use session::PollSession;
pub use trial::{Trial, TrialError, try_heartbeat};

#[cfg(test)]
mod tests;
