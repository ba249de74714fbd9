//! The ladder: which way to the broker is tried when, and when a better one is looked for.
//!
//! A [`Way`] is a transport, a door of the broker, and whether a proxy lies between; [`Ways`] has all of them, the
//! best first. The [`Climber`] decides, and knows neither sockets nor clocks nor random numbers: each input carries a
//! [`Moment`].
//!
//! - **A round** starts the ways a few seconds apart, the one that worked last in this network first, and lets them
//!   race until TLS is up (or the 101 of a WebSocket). One CONNECT is outstanding at a time and the next follows 5 s
//!   after it, so that the agent never evicts itself. A round in which all ways fail is followed by the back-off's
//!   wait.
//! - **A better way** than the present one is probed every hour, up to but not including CONNECT; only a probe that
//!   succeeds moves the agent. A way that takes connections and then leads nowhere is left alone for six hours.
//! - **Another network**, or the machine's resume, gives up what there is and begins a round at once, three times in a
//!   row and then every 20 s at most. Where the same network comes back, the connection has a second to prove that it
//!   lives, and nothing is probed meanwhile. What is younger than 2 s when the resume is told came after it, and
//!   goes on.
//!
//! The order of calls: [`Climber::handle_start`], and then whatever happens. After each input,
//! [`poll_action`](Climber::poll_action) until it is `None`, and `poll_timeout` says when
//! [`handle_timeout`](Climber::handle_timeout) is due.

mod climber;
mod exchange;
mod round;
mod starts;
mod ways;

pub use climber::Climber;
pub use exchange::{ClimberAction, Failure, Lost, Moment, Refusal};
pub use wakemq_protocol::Transport;
pub use ways::{ProxyUse, Way, WayId, Ways};

#[cfg(test)]
mod tests;
