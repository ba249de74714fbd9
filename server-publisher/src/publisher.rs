//! Submitting commands, and following what becomes of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{CommandId, News, Outcome, PowerStep, Submission, Target, Topic};

use crate::driver::Driver;
use crate::follow::{Verdict, Wanted};
use crate::id::random_name;
use crate::line::{Established, Line};
use crate::outbox::{NewEntry, Outbox, Progress};
use crate::{ConnectError, SetupError, SubmitError, new_command_id};

/// Submissions that wait for the task; more wait in [`Publisher::submit`].
const QUEUE: usize = 64;

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
        let name = random_name().map_err(|_| SetupError::NoRandomness)?;
        let response = Topic::Response { operator: profile.operator.clone(), name: name.into() };
        let line = Line::new(profile, vec![response.to_string()])?;
        let Established { session, early: _ } = line.establish().await?;
        let (asks, asked) = mpsc::channel(QUEUE);
        let (close, closing) = mpsc::channel(1);
        let (lost, seen_lost) = watch::channel(None);
        let ended = Arc::new(OnceLock::new());
        let driver = Driver {
            line,
            response_topic: response.to_string(),
            asks: asked,
            close: closing,
            lost,
            ended: Arc::clone(&ended),
            outbox: Outbox::new(),
        };
        let task = tokio::spawn(driver.run(session)).abort_handle();
        Ok(Self { inner: Arc::new(Inner { asks, close, lost: seen_lost, ended, task }) })
    }

    /// Submits a command for an agent or a group, and returns once the broker has it durably.
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
        target: impl Into<Target>,
        mut submission: Submission,
    ) -> Result<Submitted, SubmitError> {
        let target = target.into();
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
        let new = NewEntry { id, target: target.clone(), payload: Bytes::from(payload), progress };
        self.inner.asks.send(new).await.map_err(|_| self.inner.ended())?;
        let mut submitted = Submitted {
            id,
            target,
            progress: seen,
            given: None,
            steps_given: 0,
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
        target: impl Into<Target>,
        submission: Submission,
        limit: Duration,
    ) -> Result<Submitted, SubmitError> {
        timeout(limit, self.submit(target, submission)).await.unwrap_or_else(|_| Err(self.inner.late()))
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
/// It is followed as long as this handle exists, a command for a group by counts. News may be skipped when they come
/// faster than they are looked at: what is seen is always the latest. Steps are not skipped.
#[derive(Debug)]
pub struct Submitted {
    id: CommandId,
    target: Target,
    progress: watch::Receiver<Progress>,
    /// What [`next`](Self::next) gave last.
    given: Option<News>,
    /// How many steps there were then.
    steps_given: usize,
    inner: Arc<Inner>,
}

impl Submitted {
    /// Returns the command's id.
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// Returns for whom the command is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns what is known of the command; `None` if the broker has told nothing but that it has it.
    pub fn news(&self) -> Option<News> {
        self.progress.borrow().news.clone()
    }

    /// Returns what has become of a command for an agent; `None` for a group, or while nothing is known.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.progress.borrow().news.as_ref()? {
            News::Agent(update) => Some(update.outcome.clone()),
            News::Group(_) => None,
        }
    }

    /// Returns the steps of a `power` command that were told so far, in order. Those that were told while there was no
    /// connection are missing; [`Management::command`](crate::Management::command) has all.
    pub fn steps(&self) -> Vec<PowerStep> {
        self.progress.borrow().steps.clone()
    }

    /// Waits for news that this has not given yet, or the next [step](Self::steps); `None` after the end, which never changes.
    ///
    /// # Errors
    /// The broker no longer lets the command be followed, or the publisher was closed.
    pub async fn next(&mut self) -> Result<Option<News>, SubmitError> {
        loop {
            let progress = self.progress.borrow_and_update().clone();
            if let Some(error) = progress.failure {
                return Err(error);
            }
            // News may have come along with the acceptance, so it is not the channel that knows what is new.
            let has_steps = progress.steps.len() > self.steps_given;
            if progress.news != self.given || has_steps && progress.news.is_some() {
                self.given.clone_from(&progress.news);
                self.steps_given = progress.steps.len();
                return Ok(progress.news);
            }
            if progress.news.as_ref().is_some_and(News::is_over) {
                return Ok(None);
            }
            if self.progress.changed().await.is_err() {
                return Err(self.inner.ended());
            }
        }
    }

    /// Waits until the command is as wanted, or never will be, within a time limit; for a group, for all its
    /// agents ([`Wanted::judge_counts`]).
    ///
    /// # Errors
    /// [`SubmitError::TimedOut`] or [`SubmitError::Unreachable`] after the limit;
    /// [`news`](Self::news) has what is known.
    pub async fn wait(&mut self, wanted: Wanted, limit: Duration) -> Result<Verdict, SubmitError> {
        timeout(limit, self.until(wanted)).await.unwrap_or_else(|_| Err(self.inner.late()))
    }

    async fn until(&mut self, wanted: Wanted) -> Result<Verdict, SubmitError> {
        if wanted == Wanted::Accepted {
            return Ok(Verdict::Reached);
        }
        let mut known = self.news();
        self.given.clone_from(&known);
        loop {
            if let Some(news) = known {
                match wanted.judge_news(&news) {
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
