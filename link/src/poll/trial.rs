//! A poll that only tries whether the network bears its heartbeat.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use wakemq_protocol::http::PollRequest;
use wakemq_protocol::{Secret, to_json};

use super::answer::{Polled, is_whole};
use super::ask::Asker;
use crate::ladder::Way;
use crate::mqtt::{ConnectError, SessionError};
use crate::timer::Time;
use crate::{Clock, WayDialer};

/// How much later than the heartbeat the answer may come.
const LATE: Duration = Duration::from_secs(20);

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The answer came after the whole heartbeat.
    Borne,
    /// No answer, though it was due.
    Silent,
    /// A newer trial of the same agent took its place.
    Superseded,
    /// The broker stops; it says within how many seconds to return.
    Retry {
        /// Seconds.
        after: u32,
    },
    /// The broker does not allow so long a heartbeat, or so short a one.
    OutOfRange {
        /// The nearest that it allows, in seconds.
        heartbeat_secs: u32,
    },
}

/// Says why a trial tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The broker refused it, or what answers is no broker.
    #[error(transparent)]
    Refused(#[from] ConnectError),
    /// The connection could not be made, or broke before the answer was due.
    #[error(transparent)]
    Lost(SessionError),
}

/// Tries whether a network bears a heartbeat, over a connection of its own by a way's host, port and proxy.
///
/// It takes nothing over: the agent's connection, of whatever transport, is left alone. It also proves that the
/// broker knows the secret.
pub async fn try_heartbeat(
    dialer: &WayDialer,
    way: &Way,
    secret: &Secret,
    heartbeat_secs: u32,
    clock: Clock,
) -> Result<Trial, TrialError> {
    let asker = Asker { dialer: dialer.clone(), way: way.clone(), secret: secret.clone() };
    let request =
        PollRequest { heartbeat: heartbeat_secs, acknowledged: Vec::new(), instance: None, trial: true };
    let io = |error: std::io::Error| TrialError::Lost(error.into());
    let time = Time::start(clock);
    let began = time.now();
    let limit = began + Duration::from_secs(heartbeat_secs.into()) + LATE;
    let mut timer = time.timer(limit).map_err(io)?;
    let mut asking = asker.post(None, "/v1/poll", to_json(&request));
    let mut silent = pin!(poll_fn(|cx| {
        while let Poll::Ready(result) = timer.poll(cx) {
            result?;
            if time.now() >= limit {
                return Poll::Ready(Ok(()));
            }
            timer.arm(limit)?;
        }
        Poll::Pending
    }));
    let (answer, _) = tokio::select! {
        biased;
        answered = &mut asking => answered,
        ended = &mut silent => {
            ended.map_err(io)?;
            return Ok(Trial::Silent);
        }
    };
    let answer = answer.map_err(|error| TrialError::Lost(error.into()))?;
    match Polled::read(&answer).map_err(ConnectError::from)? {
        Polled::Idle if is_whole(time.now() - began, heartbeat_secs) => Ok(Trial::Borne),
        Polled::Idle | Polled::Commands(_) => {
            let why = "the answer to a trial came too soon, or brought commands".to_owned();
            Err(ConnectError::from(SessionError::Protocol(why)).into())
        }
        Polled::Superseded => Ok(Trial::Superseded),
        Polled::Retry { after } => Ok(Trial::Retry { after }),
        Polled::OutOfRange { heartbeat } => Ok(Trial::OutOfRange { heartbeat_secs: heartbeat }),
        Polled::Refused(refused) => Err(ConnectError::from(refused).into()),
    }
}
