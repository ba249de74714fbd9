//! `wakemq wake --power auto`: those that are not connected are switched on besides.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, GroupPath, Kind, Submission};
use wakemq_publisher::{AgentFilter, Management, Publisher, Submitted};

use crate::evidence::evidence;
use crate::failure::{Failure, with_advice};
use crate::listing::{PAGE, follow};
use crate::text::plain;

/// Lines that wait to be shown.
const LINES_QUEUE: usize = 1_024;

/// Returns those of the agents that are not connected.
pub(super) async fn away(agents: &[AgentId], profile: &Profile) -> Result<Vec<AgentId>, Failure> {
    let mut management = Management::new(profile)?;
    let mut away = Vec::new();
    for agent in agents {
        let view = management.agent(agent).await.map_err(|error| {
            let advice = "see the spelling; `wakemq agents list` shows all agents";
            with_advice(error, advice, advice)
        })?;
        if !view.connected {
            away.push(agent.clone());
        }
    }
    Ok(away)
}

/// Returns the agents of a group, or those of them that are not connected.
pub(crate) async fn of_group(
    group: &GroupPath,
    connected: Option<bool>,
    profile: &Profile,
) -> Result<Vec<AgentId>, Failure> {
    let filter = AgentFilter { group: Some(group.clone()), connected, transport: None };
    let mut management = Management::new(profile)?;
    let mut agents = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = management.agents(&filter, after.as_deref(), PAGE).await.map_err(|error| {
            let advice = "`wakemq groups list` shows all groups";
            with_advice(error, advice, advice)
        })?;
        agents.extend(page.agents.into_iter().map(|view| view.agent));
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => return Ok(agents),
        };
    }
}

/// `power` commands that go besides; what becomes of them is told in lines, and decides nothing.
pub(super) struct Powering {
    /// Dropped at the end, which ends what is still followed; the commands stay valid.
    _tasks: JoinSet<()>,
    lines: mpsc::Receiver<String>,
    /// How many are not known to be accepted or refused.
    open: watch::Receiver<usize>,
    deadline: Instant,
}

impl Powering {
    /// Submits a `power` command to each of the agents.
    pub(super) fn start(agents: &[AgentId], publisher: &Publisher, deadline: Instant) -> Self {
        let (tell, lines) = mpsc::channel(LINES_QUEUE);
        let (count, open) = watch::channel(agents.len());
        let mut tasks = JoinSet::new();
        for agent in agents {
            let (publisher, count) = (publisher.clone(), count.clone());
            let narrator = Narrator { agent: agent.clone(), tell: tell.clone() };
            tasks.spawn(async move {
                let left = deadline.saturating_duration_since(Instant::now());
                let submission = Submission::new(Kind::Power);
                let submitted = publisher.submit_within(&narrator.agent, submission, left).await;
                count.send_modify(|open| *open -= 1);
                match submitted {
                    Ok(submitted) => narrator.narrate(submitted, deadline).await,
                    Err(error) => narrator.say(&format!("not switched on: {error}")).await,
                }
            });
        }
        Self { _tasks: tasks, lines, open, deadline }
    }

    /// Returns the next line that is to be shown; never if there is none any more.
    pub(super) async fn next(&mut self) -> String {
        match self.lines.recv().await {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }

    /// Waits until the broker has all of them, or will not have them.
    pub(super) async fn accepted(&mut self) {
        // At the deadline each has an answer, if only that there was none.
        _ = timeout_at(self.deadline, self.open.wait_for(|open| *open == 0)).await;
    }
}

/// Tells of one agent.
struct Narrator {
    agent: AgentId,
    tell: mpsc::Sender<String>,
}

impl Narrator {
    /// Tells each step, and the end.
    async fn narrate(&self, mut submitted: Submitted, deadline: Instant) {
        let mut told = 0;
        loop {
            for step in submitted.steps().into_iter().skip(told) {
                told += 1;
                self.say(&evidence(&step.what)).await;
            }
            if let Some(outcome) = submitted.outcome().filter(|outcome| outcome.state.is_terminal()) {
                let detail = outcome.detail.map_or_else(String::new, |detail| format!(": {detail}"));
                return self.say(&format!("power {}{detail}", outcome.state)).await;
            }
            if !matches!(timeout_at(deadline, submitted.next()).await, Ok(Ok(Some(_)))) {
                return;
            }
        }
    }

    async fn say(&self, words: &str) {
        // Nobody is left to be told once the receiver has gone, and then this task is ended too.
        _ = self.tell.send(format!("{}: {}", self.agent, plain(words))).await;
    }
}
