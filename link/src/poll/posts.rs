//! What an agent tells: one document after another, over a connection of their own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use wakemq_protocol::Topic;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, PAYLOAD_MAX};

use super::answer::{posted_code, words};
use super::ask::{AskError, Asker, Asking};
use crate::http::{HttpError, Open};
use crate::mqtt::{Event, Outgoing, PublishError, Token};

/// How long a connection is kept on which nothing is said.
const KEPT: Duration = Duration::from_secs(30);
/// Longest wait for one answer, a dial included.
const LIMIT: Duration = Duration::from_secs(30);

/// The queue of what is told, and its connection.
#[derive(Default)]
pub(super) struct Posts {
    queue: VecDeque<Post>,
    running: Option<(Token, Asking, Pin<Box<Sleep>>)>,
    kept: Option<(Open, Pin<Box<Sleep>>)>,
    next_token: u64,
}

struct Post {
    token: Token,
    path: &'static str,
    document: Vec<u8>,
}

impl Posts {
    pub(super) fn capacity(&self) -> u16 {
        let waiting = self.queue.len() + usize::from(self.running.is_some());
        IN_FLIGHT_MAX.saturating_sub(u16::try_from(waiting).unwrap_or(u16::MAX))
    }

    /// Queues a document; more than have room are refused.
    pub(super) fn push(&mut self, message: Outgoing) -> Result<Token, PublishError> {
        let path = match message.topic.parse() {
            Ok(Topic::AgentReceipts(_)) => "/v1/receipts",
            Ok(Topic::AgentFacts(_)) => "/v1/facts",
            Ok(Topic::AgentReports(_)) => "/v1/reports",
            Ok(
                Topic::AgentCommands(_)
                | Topic::GroupCommands(_)
                | Topic::Event { .. }
                | Topic::Response { .. },
            )
            | Err(_) => return Err(PublishError::Topic),
        };
        let size = message.payload.len();
        if size > PAYLOAD_MAX {
            return Err(PublishError::TooLarge { size, max: PAYLOAD_MAX as u32 });
        }
        if self.capacity() == 0 {
            return Err(PublishError::Full);
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        self.queue.push_back(Post { token, path, document: message.payload.into() });
        Ok(token)
    }

    /// Gives its connection away, if there is one that is not used.
    pub(super) fn take_connection(&mut self) -> Option<Open> {
        let (open, until) = self.kept.take()?;
        (until.deadline() > Instant::now()).then_some(open)
    }

    /// Takes a connection that nobody uses any more.
    pub(super) fn keep_connection(&mut self, open: Open) {
        if self.kept.is_none() {
            self.kept = Some((open, Box::pin(sleep_until(Instant::now() + KEPT))));
        }
    }

    /// Sends one after another; ready with each answer. An error is one of the way, and nothing more is sent.
    pub(super) fn poll(&mut self, asker: &Asker, cx: &mut Context<'_>) -> Poll<Result<Event, AskError>> {
        loop {
            if let Some((token, asking, limit)) = &mut self.running {
                let token = *token;
                let (answer, open) = match asking.as_mut().poll(cx) {
                    Poll::Ready(answered) => answered,
                    Poll::Pending => {
                        ready!(limit.as_mut().poll(cx));
                        self.running = None;
                        return Poll::Ready(Err(HttpError::TimedOut(LIMIT).into()));
                    }
                };
                self.running = None;
                if let Some(open) = open {
                    self.keep_connection(open);
                }
                let answer = answer?;
                let code = posted_code(answer.status);
                let reason = (!code.is_success()).then(|| words(&answer));
                return Poll::Ready(Ok(Event::Published { token, code, reason }));
            }
            let Some(Post { token, path, document }) = self.queue.pop_front() else {
                if let Some((_, until)) = &mut self.kept
                    && until.as_mut().poll(cx).is_ready()
                {
                    self.kept = None;
                }
                return Poll::Pending;
            };
            let asking = asker.post(self.take_connection(), path, document);
            self.running = Some((token, asking, Box::pin(sleep_until(Instant::now() + LIMIT))));
        }
    }
}
