//! Long poll.

use crate::ladder::Way;
use crate::mqtt::{
    ConnectError, ConnectOptions, Connected, Event, Outgoing, PublishError, SessionError, Token,
};
use crate::{Line, WayDialer};

/// Long poll, in the shape of a session.
#[derive(Debug)]
pub struct PollSession {
    _line: Line,
}

#[expect(clippy::unused_async, reason = "the shape that it will have")]
impl PollSession {
    pub(crate) async fn connect(
        _line: Line,
        _dialer: &WayDialer,
        _way: &Way,
        _options: &ConnectOptions,
    ) -> Result<(Self, Connected), ConnectError> {
        Err(SessionError::Closed.into())
    }

    pub(crate) fn subscribe(&mut self) -> Result<(), SessionError> {
        Err(SessionError::Closed)
    }

    /// Finds out whether the connection lives: the way is dialled anew, `GET /generate_204` is asked on the new
    /// connection, and the poll goes on there once that is answered, with an [`Event::Alive`].
    pub(crate) fn check(&mut self) -> Result<(), SessionError> {
        Err(SessionError::Closed)
    }

    /// Sets after how many seconds an idle answer is wanted, from the next poll on.
    pub fn set_heartbeat(&mut self, _secs: u32) {}

    pub(crate) fn capacity(&self) -> u16 {
        0
    }

    pub(crate) fn publish(&mut self, _message: Outgoing) -> Result<Token, PublishError> {
        Err(PublishError::Full)
    }

    pub(crate) fn ack(&mut self, _pkid: u16) -> Result<(), SessionError> {
        Err(SessionError::Closed)
    }

    pub(crate) async fn next_event(&mut self) -> Result<Event, SessionError> {
        Err(SessionError::Closed)
    }

    pub(crate) async fn disconnect(self) -> Result<(), SessionError> {
        Ok(())
    }
}
