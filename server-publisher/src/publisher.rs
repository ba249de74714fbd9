//! Submitting commands, and following what becomes of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wakemq_link::Alpn;
use wakemq_link::mqtt::ConnectOptions;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, CommandId, Outcome, Submission, Topic};

use crate::driver::{Driver, Line};
use crate::follow::{Verdict, Wanted};
use crate::id::random_name;
use crate::outbox::{NewEntry, Outbox, Progress};
use crate::profile::dialer;
use crate::{ConnectError, SetupError, SubmitError, new_command_id};

/// Submissions that wait for the task; more wait in [`Publisher::submit`].
const QUEUE: usize = 64;
/// How long the connection may stay quiet, in seconds. Short, because somebody waits at this end.
const KEEP_ALIVE_SECS: u16 = 60;
/// News that the broker may have on their way; each is acknowledged at once.
const NEWS_IN_FLIGHT_MAX: u16 = 256;

/// A connection to the broker over which commands are submitted and followed.
///
/// Cloning gives another handle to the same connection; with the last handle and the last [`Submitted`] the
/// connection ends. It is made again whenever it is lost, and everything that is not known to be accepted or
/// ended is then submitted again by its id, which is the same command to the broker.
#[derive(Debug, Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asks: mpsc::Sender<NewEntry>,
    close: mpsc::Sender<()>,
    lost: watch::Receiver<Option<String>>,
    ended: Arc<OnceLock<SubmitError>>,
    task: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    /// Says why an answer that did not come in time did not come.
    fn late(&self) -> SubmitError {
        match &*self.lost.borrow() {
            Some(why) => SubmitError::Unreachable(why.clone()),
            None => SubmitError::TimedOut,
        }
    }

    fn ended(&self) -> SubmitError {
        self.ended.get().cloned().unwrap_or(SubmitError::Closed)
    }
}

impl Publisher {
    /// Connects as the profile's operator, with one attempt at each of its endpoints.
    ///
    /// The task that keeps the connection runs on the caller's tokio runtime.
    pub async fn connect(profile: &Profile) -> Result<Self, ConnectError> {
        let name = || random_name().map_err(|_| SetupError::NoRandomness);
        let response = Topic::Response { operator: profile.operator.clone(), name: name()?.into() };
        let options = ConnectOptions {
            keep_alive_secs: KEEP_ALIVE_SECS,
            receive_maximum: NEWS_IN_FLIGHT_MAX,
            ..ConnectOptions::new(
                format!("wakemq-{}", name()?),
                format!("op:{}", profile.operator),
                profile.secret.clone(),
            )
        };
        let line =
            Line { dialer: dialer(profile, Alpn::Mqtt)?, options, response_topic: response.to_string() };
        let session = line.establish().await?;
        let (asks, asked) = mpsc::channel(QUEUE);
        let (close, closing) = mpsc::channel(1);
        let (lost, seen_lost) = watch::channel(None);
        let ended = Arc::new(OnceLock::new());
        let driver = Driver {
            line,
            asks: asked,
            close: closing,
            lost,
            ended: Arc::clone(&ended),
            outbox: Outbox::new(),
        };
        let task = tokio::spawn(driver.run(session)).abort_handle();
        Ok(Self { inner: Arc::new(Inner { asks, close, lost: seen_lost, ended, task }) })
    }

    /// Submits a command for an agent, and returns once the broker has it durably.
    ///
    /// A submission without an id gets one. While the broker cannot be reached this waits, however long;
    /// [`submit_within`](Self::submit_within) has a time limit. Dropping the future leaves it open whether the
    /// command is accepted. Any number may wait at once: the broker's Receive Maximum decides how many are on
    /// their way.
    ///
    /// # Errors
    /// What the broker, or this library by its limits, refused; see [`SubmitError`].
    pub async fn submit(
        &self,
        agent: &AgentId,
        mut submission: Submission,
    ) -> Result<Submitted, SubmitError> {
        let id = match submission.id {
            Some(id) => id,
            None => new_command_id().ok_or(SubmitError::NoRandomness)?,
        };
        submission.id = Some(id);
        let payload =
            serde_json::to_vec(&submission).map_err(|error| SubmitError::Invalid(error.to_string()))?;
        // The broker's own check, so that what it would refuse is told at once.
        Submission::from_json(&payload)?;
        let (progress, seen) = watch::channel(Progress::default());
        let new = NewEntry { id, agent: agent.clone(), payload: Bytes::from(payload), progress };
        self.inner.asks.send(new).await.map_err(|_| self.inner.ended())?;
        let mut submitted = Submitted {
            id,
            agent: agent.clone(),
            progress: seen,
            given: None,
            inner: Arc::clone(&self.inner),
        };
        submitted.accepted().await?;
        Ok(submitted)
    }

    /// Submits a command as [`submit`](Self::submit) does, within a time limit.
    ///
    /// # Errors
    /// After the limit [`SubmitError::Unreachable`] or [`SubmitError::TimedOut`]: the command may or may not have
    /// been accepted. Submitting the same again, by the same id, settles it.
    pub async fn submit_within(
        &self,
        agent: &AgentId,
        submission: Submission,
        limit: Duration,
    ) -> Result<Submitted, SubmitError> {
        timeout(limit, self.submit(agent, submission)).await.unwrap_or_else(|_| Err(self.inner.late()))
    }

    /// Returns why there is no connection at present; `None` while there is one.
    pub fn lost(&self) -> Option<String> {
        self.inner.lost.borrow().clone()
    }

    /// Ends the connection in order. What is still waited for ends with [`SubmitError::Closed`].
    pub async fn close(self) {
        // A full channel means that another handle is closing already.
        _ = self.inner.close.try_send(());
        self.inner.asks.closed().await;
    }
}

/// A command that the broker has accepted.
///
/// It is followed as long as this handle exists. News may be skipped when they come faster than they are looked
/// at: what is seen is always the latest.
#[derive(Debug)]
pub struct Submitted {
    id: CommandId,
    agent: AgentId,
    progress: watch::Receiver<Progress>,
    /// What [`next`](Self::next) gave last.
    given: Option<Outcome>,
    inner: Arc<Inner>,
}

impl Submitted {
    /// Returns the command's id.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// Returns the agent for which the command is.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Returns what is known of the command; `None` if the broker has told nothing but that it has it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.progress.borrow().outcome.clone()
    }

    /// Waits for news that this has not given yet; `None` after the end, which never changes.
    ///
    /// # Errors
    /// The broker no longer lets the command be followed, or the publisher was closed.
    pub async fn next(&mut self) -> Result<Option<Outcome>, SubmitError> {
        loop {
            let progress = self.progress.borrow_and_update().clone();
            if let Some(error) = progress.failure {
                return Err(error);
            }
            // News may have come along with the acceptance, so it is not the channel that knows what is new.
            if progress.outcome != self.given {
                self.given.clone_from(&progress.outcome);
                return Ok(progress.outcome);
            }
            if progress.outcome.is_some_and(|outcome| outcome.state.is_terminal()) {
                return Ok(None);
            }
            if self.progress.changed().await.is_err() {
                return Err(self.inner.ended());
            }
        }
    }

    /// Waits until the command is as wanted, or never will be, within a time limit.
    ///
    /// # Errors
    /// [`SubmitError::TimedOut`] or [`SubmitError::Unreachable`] after the limit;
    /// [`outcome`](Self::outcome) has what is known.
    pub async fn wait(&mut self, wanted: Wanted, limit: Duration) -> Result<Verdict, SubmitError> {
        timeout(limit, self.until(wanted)).await.unwrap_or_else(|_| Err(self.inner.late()))
    }

    async fn until(&mut self, wanted: Wanted) -> Result<Verdict, SubmitError> {
        if wanted == Wanted::Accepted {
            return Ok(Verdict::Reached);
        }
        let mut known = self.outcome();
        self.given.clone_from(&known);
        loop {
            if let Some(outcome) = known {
                match wanted.judge(outcome.state) {
                    Verdict::Waiting => {}
                    verdict @ (Verdict::Reached | Verdict::Missed) => return Ok(verdict),
                }
            }
            known = self.next().await?;
        }
    }

    /// Waits until the broker has the command.
    async fn accepted(&mut self) -> Result<(), SubmitError> {
        let ended = match self.progress.wait_for(|known| known.accepted || known.failure.is_some()).await {
            Ok(progress) => return progress.failure.clone().map_or(Ok(()), Err),
            Err(_) => self.inner.ended(),
        };
        Err(ended)
    }
}
