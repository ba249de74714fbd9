//! What is dialled, is up, or waits for the answer to its CONNECT.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::ladder::WayId;
use crate::mqtt::{ConnectError, Connected};
use crate::{AnySession, Heartbeat, Line, NetworkKey, ProxyUrl, TlsInfo, WayError};

/// A future that may move to another thread with its owner.
pub(super) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is known of a line beside its stream.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) address: SocketAddr,
    pub(super) proxy: Option<ProxyUrl>,
    pub(super) tls: TlsInfo,
}

/// What is to be kept of an attempt until the broker has accepted it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) facts: Facts,
    pub(super) network: NetworkKey,
    pub(super) heartbeat: Heartbeat,
    /// The keep-alive in its CONNECT, in seconds.
    pub(super) keep_alive_secs: u16,
}

pub(super) struct Attempt {
    pub(super) way: WayId,
    pub(super) since_ms: u64,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    Dialling(Work<Result<Line, WayError>>),
    Up(Box<Line>),
    Connecting { asked: Box<Asked>, answer: Work<Result<(AnySession, Connected), ConnectError>> },
}

/// What became of an attempt.
pub(super) enum Outcome {
    Up,
    Failed(WayError),
    Connected(Box<Asked>, Box<AnySession>, Connected),
    Refused(ConnectError),
}

/// All attempts; there are no more than ways.
#[derive(Default)]
pub(super) struct Attempts(Vec<Attempt>);

impl Attempts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, attempt: Attempt) {
        self.0.push(attempt);
    }

    pub(super) fn take(&mut self, way: WayId) -> Option<Attempt> {
        let index = self.0.iter().position(|attempt| attempt.way == way)?;
        Some(self.0.swap_remove(index))
    }

    /// Moves the attempts on. One that has ended is not among them any more; one that is up is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(WayId, Outcome)> {
        for index in 0..self.0.len() {
            let attempt = &mut self.0[index];
            let way = attempt.way;
            match &mut attempt.stage {
                Stage::Up(_) => {}
                Stage::Dialling(dialling) => match dialling.as_mut().poll(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(line)) => {
                        attempt.stage = Stage::Up(Box::new(line));
                        return Poll::Ready((way, Outcome::Up));
                    }
                    Poll::Ready(Err(error)) => {
                        self.0.swap_remove(index);
                        return Poll::Ready((way, Outcome::Failed(error)));
                    }
                },
                Stage::Connecting { answer, .. } => {
                    let Poll::Ready(answer) = answer.as_mut().poll(cx) else { continue };
                    let Stage::Connecting { asked, .. } = self.0.swap_remove(index).stage else { continue };
                    let outcome = match answer {
                        Ok((session, connected)) => Outcome::Connected(asked, Box::new(session), connected),
                        Err(error) => Outcome::Refused(error),
                    };
                    return Poll::Ready((way, outcome));
                }
            }
        }
        Poll::Pending
    }
}
