//! What a climber and its driver say to each other.

use super::WayId;

/// The time of an input, and a random number for what it may lead to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Milliseconds by a clock that counts suspend and never goes back.
    pub now_ms: u64,
    /// Uniform in `0.0..1.0`, another one for each input.
    pub random: f64,
}

/// What a climber asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClimberAction {
    /// Dial until TLS is up, or the 101 of a WebSocket; then keep quiet.
    Dial(WayId),
    /// End whatever there is on a way that was dialled or probed, CONNECT or not.
    Cancel(WayId),
    /// Send CONNECT on a way that is up; over long poll, whatever proves who the agent is.
    Connect(WayId),
    /// Dial as for `Dial`, beside the connection that there is.
    Probe(WayId),
    /// Say goodbye on the connection that there is, then send CONNECT on the probed way.
    Move(WayId),
    /// Find out whether the connection lives: a ping that is answered.
    Check,
    /// Drop the connection without a word: it is dead.
    GiveUp,
}

/// Why a way led nowhere: how much of the ladder that concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// This way alone: TLS, the upgrade, or what came after.
    Way,
    /// Every way to the same host and port: it does not take connections, or the proxy does not let anybody there, or
    /// says nothing.
    Door,
    /// Every way through the proxy: it cannot be found, or wants a password.
    Proxy,
}

/// Why the broker refused a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A person has to mend it.
    ForGood,
    /// It may succeed later: within so many seconds, if the broker said so.
    Later {
        /// What the broker advised.
        return_secs: Option<u32>,
    },
}

/// How a connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It broke, or the broker ended it.
    Ended {
        /// Within how many seconds to come back, as the broker advised.
        return_secs: u32,
    },
    /// Another connection of the same agent took over.
    TakenOver,
}
