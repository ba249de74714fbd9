//! Watching events as they happen, across lost connections.

use std::collections::VecDeque;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use wakemq_link::mqtt::{Event as SessionEvent, Incoming, Session, SessionError};
use wakemq_link::{Backoff, TlsStream};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{Event, EventKind, GroupPath, Topic};

use crate::ConnectError;
use crate::line::{Established, Line, retry};

/// What a [`Watcher`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Something happened.
    Event(Box<Event>),
    /// Events are missing here, at most so many: this end, or the broker's queue for it, was too slow.
    Gap(u64),
    /// The connection was lost, for this reason, and is made again.
    Lost(String),
    /// There is a connection again; what happened meanwhile is not told.
    Back,
}

/// Watches the events of a group's subtree.
///
/// Events come at most once. They are no record: what became of a command tells
/// [`Management::command`](crate::Management::command). The broker tells only what the operator has a right to
/// see at the moment, so that a filter wider than the right shows what lies within it.
///
/// Nothing is read unless [`next`](Self::next) is awaited: who does not keep up loses events, with a
/// [`Watched::Gap`] in their place, and after a minute or two the connection.
#[derive(Debug)]
pub struct Watcher {
    line: Line,
    backoff: Backoff,
    link: Link,
    /// Number of the last event of this connection.
    seen: u64,
    /// What was received and is not told yet, see [`Watcher::take`].
    ready: VecDeque<Watched>,
}

#[derive(Debug)]
enum Link {
    Up {
        session: Box<Session<TlsStream>>,
        since: Instant,
    },
    /// The next attempt is due then.
    Down(Instant),
}

impl Watcher {
    /// Connects as the profile's operator, with one attempt at each of its endpoints, and subscribes.
    ///
    /// No `kinds` are all kinds, those too that this version does not know.
    pub async fn connect(
        profile: &Profile,
        kinds: &[EventKind],
        group: &GroupPath,
    ) -> Result<Self, ConnectError> {
        let filters = if kinds.is_empty() {
            vec![Topic::events_filter(None, group)]
        } else {
            kinds.iter().map(|&kind| Topic::events_filter(Some(kind), group)).collect()
        };
        let line = Line::new(profile, filters)?;
        let established = line.establish().await?;
        let mut watcher = Self {
            line,
            backoff: retry(),
            link: Link::Down(Instant::now()),
            seen: 0,
            ready: VecDeque::new(),
        };
        if let Err(error) = watcher.begin(established) {
            watcher.lose(error.to_string());
        }
        Ok(watcher)
    }

    /// Waits for what happens next. May be dropped and called again without loss.
    ///
    /// # Errors
    /// The broker refuses the operator, or the subscription: there is nothing more to come.
    pub async fn next(&mut self) -> Result<Watched, ConnectError> {
        loop {
            if let Some(watched) = self.ready.pop_front() {
                return Ok(watched);
            }
            match &mut self.link {
                Link::Up { session, .. } => {
                    let event = session.next_event().await;
                    if let Err(why) = self.handle(event) {
                        self.lose(why);
                    }
                }
                Link::Down(until) => {
                    sleep_until(*until).await;
                    match self.line.establish().await {
                        Ok(established) => {
                            self.ready.push_back(Watched::Back);
                            if let Err(error) = self.begin(established) {
                                self.lose(error.to_string());
                            }
                        }
                        Err(error) if error.is_not_allowed() || !error.is_retryable() => return Err(error),
                        Err(error) => {
                            tracing::debug!(%error, "no new connection");
                            self.link =
                                Link::Down(Instant::now() + self.backoff.after_failure(fastrand::f64()));
                        }
                    }
                }
            }
        }
    }

    /// Ends the connection in order.
    pub async fn close(self) {
        if let Link::Up { session, .. } = self.link
            && let Err(error) = session.disconnect().await
        {
            tracing::debug!(%error, "no orderly farewell");
        }
    }

    /// Takes a new connection, with what came on it already.
    fn begin(&mut self, established: Established) -> Result<(), SessionError> {
        let Established { session, early } = established;
        self.seen = 0;
        self.link = Link::Up { session: Box::new(session), since: Instant::now() };
        early.into_iter().try_for_each(|message| self.take(&message))
    }

    fn handle(&mut self, event: Result<SessionEvent, SessionError>) -> Result<(), String> {
        match event {
            Ok(SessionEvent::Publish(message)) => self.take(&message).map_err(|error| error.to_string()),
            Ok(
                SessionEvent::Subscribed { .. }
                | SessionEvent::Published { .. }
                | SessionEvent::Idle
                | SessionEvent::Alive,
            ) => Ok(()),
            Ok(SessionEvent::ServerDisconnect { code, reason, .. }) => {
                let words = reason.unwrap_or_else(|| code.to_string());
                Err(format!("the broker ended the connection: {words}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes an event, and notes what is missing before it.
    fn take(&mut self, message: &Incoming) -> Result<(), SessionError> {
        let (missing, event) = match Numbered::read(&message.payload) {
            Ok(Numbered { seq, event }) => {
                let missing = seq.saturating_sub(self.seen.saturating_add(1));
                self.seen = seq;
                (missing, event)
            }
            Err(error) => {
                tracing::warn!(%error, topic = message.topic, "what came is no event");
                (0, None)
            }
        };
        self.ready.extend((missing > 0).then_some(Watched::Gap(missing)));
        self.ready.extend(event.map(Watched::Event));
        match (&mut self.link, message.pkid) {
            (Link::Up { session, .. }, Some(pkid)) => session.ack(pkid),
            (Link::Up { .. } | Link::Down(_), _) => Ok(()),
        }
    }

    fn lose(&mut self, why: String) {
        let lived = match &self.link {
            Link::Up { since, .. } => since.elapsed(),
            Link::Down(_) => std::time::Duration::ZERO,
        };
        tracing::debug!(why, "connection lost");
        self.ready.push_back(Watched::Lost(why));
        // A watcher comes back within nobody's advice but its own back-off, as a publisher does.
        let wait = self.backoff.after_lost_connection(0, lived, fastrand::f64());
        self.link = Link::Down(Instant::now() + wait);
    }
}

/// A payload with its number, which later versions have too where they tell of what this one does not know.
struct Numbered {
    seq: u64,
    event: Option<Box<Event>>,
}

impl Numbered {
    fn read(payload: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Seq {
            seq: u64,
        }
        let Seq { seq } = serde_json::from_slice(payload)?;
        let event = serde_json::from_slice(payload)
            .inspect_err(|error| tracing::debug!(%error, seq, "an event that this version does not know"));
        Ok(Self { seq, event: event.ok().map(Box::new) })
    }
}
