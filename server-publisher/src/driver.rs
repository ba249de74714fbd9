//! The task behind a publisher: it keeps the connection, and moves submissions and news over it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use wakemq_link::mqtt::{Event, Incoming, Outgoing, PublishError, Session, SessionError, Token};
use wakemq_link::{Backoff, TlsStream};
use wakemq_protocol::{News, Target, Topic};

use crate::SubmitError;
use crate::line::{Established, Line, retry};
use crate::outbox::{NewEntry, Outbox};

/// How the service of one connection ended.
enum Served {
    /// The publisher is closed, or nobody holds it any more.
    Closed,
    /// The connection was lost.
    Lost(String),
}

/// The task's state.
pub(crate) struct Driver {
    pub(crate) line: Line,
    /// Where the broker is to send news.
    pub(crate) response_topic: String,
    pub(crate) asks: mpsc::Receiver<NewEntry>,
    pub(crate) close: mpsc::Receiver<()>,
    /// Why there is no connection at present.
    pub(crate) lost: watch::Sender<Option<String>>,
    /// Why there will never be one again.
    pub(crate) ended: Arc<OnceLock<SubmitError>>,
    pub(crate) outbox: Outbox<Token>,
}

impl Driver {
    /// Runs until the publisher is closed, or the broker refuses the operator.
    pub(crate) async fn run(mut self, first: Session<TlsStream>) {
        let mut backoff = retry();
        let mut session = first;
        let error = loop {
            let since = Instant::now();
            match self.serve(&mut session).await {
                Served::Closed => {
                    if let Err(error) = session.disconnect().await {
                        tracing::debug!(%error, "no orderly farewell");
                    }
                    break SubmitError::Closed;
                }
                Served::Lost(why) => {
                    tracing::debug!(why, "connection lost");
                    self.lost.send_replace(Some(why));
                }
            }
            self.outbox.handle_lost();
            // A publisher comes back within nobody's advice but its own back-off, see RETRY.
            let wait = backoff.after_lost_connection(0, since.elapsed(), fastrand::f64());
            match self.reconnect(wait, &mut backoff).await {
                Ok(again) => session = again,
                Err(error) => break error,
            }
            self.lost.send_replace(None);
        };
        self.end(&error).await;
    }

    /// Moves everything over one connection until it ends.
    async fn serve(&mut self, session: &mut Session<TlsStream>) -> Served {
        loop {
            self.publish(session);
            let room = session.capacity() > 0 && self.outbox.is_idle();
            tokio::select! {
                event = session.next_event() => match event {
                    Ok(Event::Published { token, code, reason }) => {
                        self.outbox.handle_puback(&token, code, reason);
                    }
                    Ok(Event::Publish(message)) => {
                        if let Err(error) = self.handle_message(session, message) {
                            return Served::Lost(error.to_string());
                        }
                    }
                    Ok(Event::Subscribed { .. } | Event::Idle | Event::Alive) => {}
                    Ok(Event::ServerDisconnect { code, reason, .. }) => {
                        let words = reason.unwrap_or_else(|| code.to_string());
                        return Served::Lost(format!("the broker ended the connection: {words}"));
                    }
                    Err(error) => return Served::Lost(error.to_string()),
                },
                ask = self.asks.recv(), if room => match ask {
                    Some(new) => self.outbox.insert(new),
                    None => return Served::Closed,
                },
                _ = self.close.recv() => return Served::Closed,
            }
        }
    }

    /// Publishes what waits, as far as there is room in flight.
    fn publish(&mut self, session: &mut Session<TlsStream>) {
        while session.capacity() > 0 {
            let Some((id, target, payload)) = self.outbox.next_publish() else { return };
            let topic = match target {
                Target::Agent(agent) => Topic::AgentCommands(agent.clone()),
                Target::Group(group) => Topic::GroupCommands(group.clone()),
            };
            let message = Outgoing {
                topic: topic.to_string(),
                payload,
                response_topic: Some(self.response_topic.clone()),
                correlation_data: Some(Bytes::copy_from_slice(id.as_bytes())),
                message_expiry_secs: None,
            };
            match session.publish(message) {
                Ok(token) => self.outbox.handle_sent(token, id),
                Err(PublishError::Full) => {
                    self.outbox.put_back(id);
                    return;
                }
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Topic)) => {
                    self.outbox.refuse(id, SubmitError::Invalid(error.to_string()));
                }
            }
        }
    }

    /// Takes a response. What was refused comes under an id of the broker's own, so it is the Correlation Data
    /// that says which submission is meant, and the id must agree with it.
    fn handle_message(
        &mut self,
        session: &mut Session<TlsStream>,
        message: Incoming,
    ) -> Result<(), SessionError> {
        match serde_json::from_slice::<News>(&message.payload) {
            Ok(news) if message.correlation_data.as_deref() == Some(&news.id().as_bytes()[..]) => {
                self.outbox.handle_news(news);
            }
            Ok(news) => tracing::debug!(id = %news.id(), "a response to nothing that was submitted"),
            Err(error) => tracing::warn!(%error, "a response that is no update"),
        }
        message.pkid.map_or(Ok(()), |pkid| session.ack(pkid))
    }

    /// Tries until there is a connection, the broker refuses the operator, or the publisher is closed.
    async fn reconnect(
        &mut self,
        mut wait: Duration,
        backoff: &mut Backoff,
    ) -> Result<Session<TlsStream>, SubmitError> {
        loop {
            let attempt = async {
                sleep(wait).await;
                self.line.establish().await
            };
            let result = tokio::select! {
                result = attempt => result,
                _ = self.close.recv() => return Err(SubmitError::Closed),
            };
            let error = match result {
                // Nothing was submitted on this connection, so nothing that came early can be meant.
                Ok(Established { session, early: _ }) => return Ok(session),
                Err(error) => error,
            };
            tracing::debug!(%error, "no new connection");
            if error.is_not_allowed() {
                return Err(SubmitError::NotAllowed(Some(error.to_string())));
            }
            if !error.is_retryable() {
                return Err(SubmitError::Unreachable(error.to_string()));
            }
            self.lost.send_replace(Some(error.to_string()));
            wait = backoff.after_failure(fastrand::f64());
        }
    }

    /// Tells everybody, those in the queue too, that nothing will come any more.
    async fn end(mut self, error: &SubmitError) {
        // Set before the queue closes: whoever finds it closed finds the reason.
        self.ended.get_or_init(|| error.clone());
        self.asks.close();
        while let Some(new) = self.asks.recv().await {
            self.outbox.insert(new);
        }
        self.outbox.fail_all(error);
    }
}
