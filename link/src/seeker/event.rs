//! What a seeker tells its owner.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ladder::Way;
use crate::mqtt::{ConnectError, Connected};
use crate::{AnySession, Captive, ProxyUrl, TlsInfo};

/// What happened, or what the owner of the session has to do.
#[derive(Debug)]
pub enum SeekerEvent {
    /// Ways are tried.
    Seeking,
    /// The broker has accepted a session: serve it.
    Connected(Box<Arrival>),
    /// Nothing is tried until a wait is over.
    Waiting {
        /// Why; `None` if it is because of what the owner has told.
        setback: Option<Setback>,
        /// The wait.
        retry_in: Duration,
    },
    /// No way led to the broker, and somebody else answers in its place: a captive portal, say.
    Captive(Captive),
    /// Find out whether the session lives, and then say so by [`handle_alive`](super::Seeker::handle_alive).
    Check,
    /// The session is dead: drop it without a word.
    GiveUp,
    /// A better way is up. End the session in order, then call [`moved`](super::Seeker::moved).
    Move,
    /// How long a quiet poll may last from the next one on, in seconds.
    Interval(u32),
    /// The heartbeat is settled: nothing longer is tried for now.
    Settled,
    /// There is something new in the [`memory`](super::Seeker::memory) to write down.
    Learned,
}

/// A session that has just begun, and the way by which it goes.
#[derive(Debug)]
pub struct Arrival {
    /// The session.
    pub session: AnySession,
    /// What the broker said at its beginning.
    pub connected: Connected,
    /// The way.
    pub way: Way,
    /// Who answered: the broker, or the proxy.
    pub address: SocketAddr,
    /// The proxy that it goes through; `None` if it is direct.
    pub proxy: Option<ProxyUrl>,
    /// What TLS agreed upon.
    pub tls: TlsInfo,
}

/// Says why there is no session.
#[derive(Debug)]
pub enum Setback {
    /// No way led to the broker.
    NoWay(NoWay),
    /// The broker refused the session.
    Refused(ConnectError),
}

/// Says of each way why it led nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWay {
    /// The ways and what was wrong, the best first.
    pub ways: Vec<(Way, String)>,
    /// Whether the broker seemed to be there, but its certificate was not accepted.
    pub certificate: bool,
    /// Who answers in the broker's place, if that is known: somebody does, for whom there was time to ask. See also
    /// [`SeekerEvent::Captive`].
    pub captive: Option<Captive>,
}

impl fmt::Display for NoWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker cannot be reached: ")?;
        for (index, (way, problem)) in self.ways.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{way}: {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWay(no_way) => no_way.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}
