//! Publishers that submit and take back while everything is being killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use tokio::task::JoinSet;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, CommandId, Kind, Priority, SlotChoice, Submission};
use wakemq_publisher::{Management, Publisher, SubmitError, Submitted, new_command_id};

use crate::broker::BrokerProcess;
use crate::wait::{LIMIT, within};

/// Longest pause between two submissions of a publisher.
const PAUSE_MS: u64 = 25;
/// How long a publisher without patience waits before it submits the same again, by the same id.
const IMPATIENT: Duration = Duration::from_millis(4);

/// Publishers at work.
pub(super) struct Publishers {
    tasks: JoinSet<Result<Vec<Submitted>>>,
    stop: Arc<AtomicBool>,
}

/// Starts publishers, each with a connection of its own.
pub(super) async fn start(
    broker: &BrokerProcess,
    publishers: usize,
    agents: &[AgentId],
    rng: &mut Rng,
) -> Result<Publishers> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..publishers {
        let task = Task {
            publisher: broker.publisher().await?,
            profile: broker.profile()?,
            agents: agents.to_vec(),
            rng: rng.fork(),
            stop: stop.clone(),
        };
        tasks.spawn(task.run());
    }
    Ok(Publishers { tasks, stop })
}

impl Publishers {
    /// Lets each finish what it is at, and returns all that the broker has accepted.
    pub(super) async fn finish(mut self) -> Result<Vec<Submitted>> {
        self.stop.store(true, Ordering::SeqCst);
        let mut accepted = Vec::new();
        while let Some(done) = within("publishers to finish", self.tasks.join_next()).await? {
            accepted.extend(done.context("a publisher panicked")??);
        }
        Ok(accepted)
    }
}

struct Task {
    publisher: Publisher,
    profile: Profile,
    agents: Vec<AgentId>,
    rng: Rng,
    stop: Arc<AtomicBool>,
}

impl Task {
    async fn run(mut self) -> Result<Vec<Submitted>> {
        let mut accepted: Vec<Submitted> = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let agent = self.agents[self.rng.usize(..self.agents.len())].clone();
            let submission = self.submission()?;
            match self.submit(&agent, submission).await {
                Ok(submitted) => accepted.push(submitted),
                Err(SubmitError::Quota(_)) => {}
                Err(error) => bail!("a submission was refused: {error}"),
            }
            if let Some(last) = accepted.last().filter(|_| self.rng.u8(..) < 16) {
                self.cancel(last.id()).await;
            }
            // The pace of the load, not a wait for anything.
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..PAUSE_MS))).await;
        }
        Ok(accepted)
    }

    async fn submit(&mut self, agent: &AgentId, submission: Submission) -> Result<Submitted, SubmitError> {
        if self.rng.u8(..) < 64 {
            match self.publisher.submit_within(agent, submission.clone(), IMPATIENT).await {
                Err(SubmitError::TimedOut | SubmitError::Unreachable(_)) => {}
                done => return done,
            }
        }
        self.publisher.submit_within(agent, submission, LIMIT).await
    }

    /// Takes a command back, if the broker is there to hear it.
    async fn cancel(&self, id: CommandId) {
        if let Ok(mut management) = Management::new(&self.profile) {
            tokio::time::timeout(Duration::from_secs(1), management.cancel(id)).await.ok();
        }
    }

    fn submission(&mut self) -> Result<Submission> {
        let slot = match self.rng.u8(..4) {
            0 => SlotChoice::Default,
            1 => SlotChoice::Named("named".parse()?),
            _ => SlotChoice::Never,
        };
        let ttl = match self.rng.u8(..16) {
            0 => Some(0),
            1 => Some(1),
            2 => Some(2),
            _ => None,
        };
        let priority = [Priority::Low, Priority::Normal, Priority::High][self.rng.usize(..3)];
        let id = Some(new_command_id().context("no random numbers")?);
        Ok(Submission { id, slot, ttl, priority, ..Submission::new(Kind::Wake) })
    }
}
