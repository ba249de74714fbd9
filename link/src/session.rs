//! What an agent is served by, whatever the transport: an MQTT session, or long poll that looks like one.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ladder::Way;
use crate::mqtt::{
    ConnectError, ConnectOptions, Connected, Event, Outgoing, PublishError, Session, SessionError, Token,
};
use crate::{Line, LineStream, PollSession, Transport, WayDialer};

/// A session over any transport; the calls are those of [`mqtt::Session`](Session).
#[derive(Debug)]
pub enum AnySession<S = LineStream> {
    /// MQTT, over TLS or in a WebSocket.
    Mqtt(Box<Session<S>>),
    /// Long poll.
    Poll(Box<PollSession>),
}

impl AnySession {
    /// Begins a session on a line: CONNECT and CONNACK, or the first poll, which proves who the agent is.
    ///
    /// Long poll dials `way` again where it needs a second connection.
    pub async fn connect(
        line: Line,
        dialer: &WayDialer,
        way: &Way,
        options: &ConnectOptions,
    ) -> Result<(Self, Connected), ConnectError> {
        match way.transport {
            Transport::Mqtt | Transport::WebSocket => {
                let (session, connected) = Session::connect(line.stream, options).await?;
                Ok((Self::Mqtt(Box::new(session)), connected))
            }
            Transport::Poll => {
                let (session, connected) = PollSession::connect(line, dialer, way, options).await?;
                Ok((Self::Poll(Box::new(session)), connected))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AnySession<S> {
    /// Asks for the messages of a topic; the answer is an [`Event::Subscribed`]. Over long poll nothing is sent:
    /// a poll asks for the agent's commands and nothing else.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), SessionError> {
        match self {
            Self::Mqtt(session) => session.subscribe(filter),
            Self::Poll(session) => session.subscribe(),
        }
    }

    /// Returns how many more messages may be published before an acknowledgement comes.
    pub fn capacity(&self) -> u16 {
        match self {
            Self::Mqtt(session) => session.capacity(),
            Self::Poll(session) => session.capacity(),
        }
    }

    /// Publishes at QoS 1; the answer is an [`Event::Published`] with the returned token.
    pub fn publish(&mut self, message: Outgoing) -> Result<Token, PublishError> {
        match self {
            Self::Mqtt(session) => session.publish(message),
            Self::Poll(session) => session.publish(message),
        }
    }

    /// Acknowledges a message.
    pub fn ack(&mut self, pkid: u16) -> Result<(), SessionError> {
        match self {
            Self::Mqtt(session) => session.ack(pkid),
            Self::Poll(session) => session.ack(pkid),
        }
    }

    /// Finds out whether the connection lives: the answer is an [`Event::Alive`], or an [`Event::Idle`].
    pub fn check(&mut self) -> Result<(), SessionError> {
        match self {
            Self::Mqtt(session) => session.check(),
            Self::Poll(session) => session.check(),
        }
    }

    /// Sets how long a quiet poll may last, in seconds, from the next one on. The keep-alive of MQTT holds for a
    /// session, and remains.
    pub fn set_interval(&mut self, secs: u32) {
        match self {
            Self::Mqtt(_) => {}
            Self::Poll(session) => session.set_heartbeat(secs),
        }
    }

    /// Returns how long a quiet poll lasts, in seconds: the broker may have said otherwise than was set. `None` for MQTT.
    pub fn interval_secs(&self) -> Option<u32> {
        match self {
            Self::Mqtt(_) => None,
            Self::Poll(session) => Some(session.heartbeat_secs()),
        }
    }

    /// Waits for what happens next. May be dropped and called again.
    pub async fn next_event(&mut self) -> Result<Event, SessionError> {
        match self {
            Self::Mqtt(session) => session.next_event().await,
            Self::Poll(session) => session.next_event().await,
        }
    }

    /// Returns for how long it had been quiet when it was cut without a word of the broker, once it was.
    pub fn cut_after(&self) -> Option<Duration> {
        match self {
            Self::Mqtt(session) => session.cut_after(),
            Self::Poll(session) => session.cut_after(),
        }
    }

    /// Ends the session, within two seconds.
    pub async fn disconnect(self) -> Result<(), SessionError> {
        match self {
            Self::Mqtt(session) => session.disconnect().await,
            Self::Poll(session) => session.disconnect().await,
        }
    }

    /// Ends the session within two seconds, and waits meanwhile until the broker has closed its connection too: the
    /// next session does not meet this one then.
    pub async fn leave(self) -> Result<(), SessionError> {
        match self {
            Self::Mqtt(session) => session.leave().await,
            Self::Poll(session) => session.disconnect().await,
        }
    }
}
