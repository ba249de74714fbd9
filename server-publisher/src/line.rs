//! How an operator's program reaches the broker, again and again.

use std::time::Duration;

use tokio::time::timeout;
use wakemq_link::mqtt::{ConnectOptions, Event, Incoming, Session, SessionError};
use wakemq_link::{Alpn, Backoff, Dialer, TlsStream};
use wakemq_protocol::http::Profile;

use crate::id::random_name;
use crate::profile::dialer;
use crate::{ConnectError, SetupError};

/// Longest wait for the answer to the subscriptions.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(10);
/// Bounds of the wait before the next attempt after a lost connection. Operators are few and look on while they
/// wait, so they do not spread as a fleet of agents does.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long the connection may stay quiet, in seconds. Short, because somebody waits at this end.
const KEEP_ALIVE_SECS: u16 = 60;
/// Messages that the broker may have on their way; each is acknowledged at once.
const IN_FLIGHT_MAX: u16 = 256;

/// Returns how the attempts after a lost connection are spaced.
pub(crate) fn retry() -> Backoff {
    Backoff::new(RETRY.0, RETRY.1)
}

/// A way to the broker, and what is subscribed to there.
pub(crate) struct Line {
    dialer: Dialer,
    options: ConnectOptions,
    filters: Vec<String>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("filters", &self.filters).finish_non_exhaustive()
    }
}

/// A session whose subscriptions are granted.
pub(crate) struct Established {
    pub(crate) session: Session<TlsStream>,
    /// What came before the last of them was; it still wants its acknowledgements.
    pub(crate) early: Vec<Incoming>,
}

impl Line {
    /// Makes a line for the profile's operator; nothing is dialled yet.
    pub(crate) fn new(profile: &Profile, filters: Vec<String>) -> Result<Self, SetupError> {
        let name = random_name().map_err(|_| SetupError::NoRandomness)?;
        let user = format!("op:{}", profile.operator);
        let options = ConnectOptions {
            keep_alive_secs: KEEP_ALIVE_SECS,
            receive_maximum: IN_FLIGHT_MAX,
            ..ConnectOptions::new(format!("wakemq-{name}"), user, profile.secret.clone())
        };
        Ok(Self { dialer: dialer(profile, Alpn::Mqtt)?, options, filters })
    }

    /// Dials, begins a session and subscribes.
    pub(crate) async fn establish(&self) -> Result<Established, ConnectError> {
        let dialed = self.dialer.dial().await?;
        let (mut session, _) = Session::connect(dialed.stream, &self.options).await?;
        for filter in &self.filters {
            session.subscribe(filter)?;
        }
        let early = timeout(SUBSCRIBE_LIMIT, subscribed(&mut session, self.filters.len()))
            .await
            .map_err(|_| ConnectError::TimedOut(SUBSCRIBE_LIMIT.as_secs()))??;
        Ok(Established { session, early })
    }
}

/// Waits until as many subscriptions are granted; returns what came meanwhile, which the Receive Maximum bounds.
async fn subscribed(
    session: &mut Session<TlsStream>,
    mut missing: usize,
) -> Result<Vec<Incoming>, ConnectError> {
    let mut early = Vec::new();
    while missing > 0 {
        match session.next_event().await? {
            Event::Subscribed { codes, reason } => {
                if let Some(&code) = codes.iter().find(|code| !code.is_success()) {
                    return Err(ConnectError::Subscription { code, reason });
                }
                missing -= 1;
            }
            Event::Publish(message) => early.push(message),
            // Nothing was published on this connection.
            Event::Published { .. } | Event::Idle | Event::Alive => {}
            Event::ServerDisconnect { .. } => return Err(SessionError::Closed.into()),
        }
    }
    Ok(early)
}
