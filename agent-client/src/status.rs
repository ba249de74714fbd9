//! What an agent tells its owner of its connection.

use std::net::SocketAddr;
use std::time::Duration;

use wakemq_link::ProxyUrl;
use wakemq_link::ladder::Way;

/// The present state of an agent, to watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The connection.
    pub connection: Connection,
    /// Why the journal cannot be written at present. Until it can, nothing is acknowledged.
    pub journal_error: Option<String>,
}

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Connection {
    /// An attempt is under way.
    #[default]
    Connecting,
    /// Connected and subscribed: the agent can be woken.
    Connected {
        /// How agent and broker speak, and by which door.
        way: Way,
        /// The broker's address, or the proxy's if the connection goes through one.
        address: SocketAddr,
        /// The proxy; `None` if the connection is direct.
        proxy: Option<ProxyUrl>,
        /// Who issued the certificate that was met, if it is trusted only because of the extra CA: somebody between
        /// opens TLS, and reads along.
        intercepted_by: Option<String>,
    },
    /// Not connected; the next attempt comes after a wait.
    Waiting {
        /// Why there is no connection.
        problem: Problem,
        /// The wait before the next attempt.
        retry_in: Duration,
    },
    /// Shut down.
    Closed,
}

/// Says why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No endpoint could be reached.
    #[error("{0}")]
    Unreachable(String),
    /// An endpoint was reached, but its certificate is not to be trusted.
    #[error("{0}")]
    Certificate(String),
    /// Somebody else answers in the broker's place: a captive portal that wants a login, or a proxy that forbids it.
    #[error("a captive portal, or the like, answers instead of the broker: {0}")]
    Captive(String),
    /// The broker does not know the agent, its secret is wrong, or it was revoked.
    #[error("{0}")]
    NotAllowed(String),
    /// The broker refused the connection for another reason.
    #[error("{0}")]
    Refused(String),
    /// The broker refused the subscription to the agent's commands.
    #[error("the broker refused the subscription: {0}")]
    SubscriptionRefused(String),
    /// Another connection of the same agent took over.
    #[error("another connection of the same agent took over")]
    TakenOver,
    /// The agent itself has ended the connection, to begin one with the longer heartbeat that the network bears.
    #[error("a longer heartbeat begins with the next connection")]
    Outgrown,
    /// The connection was lost.
    #[error("{0}")]
    Lost(String),
}
