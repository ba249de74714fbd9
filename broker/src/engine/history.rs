//! What became of commands: read, taken back, ended, and told.

use std::sync::atomic::Ordering;

use wakemq_protocol::http::{CommandView, WaitingAgent, WaitingPage};
use wakemq_protocol::{
    AgentId, Command, CommandId, CommandState, GroupPath, News, Outcome, Role, Target, Timestamp, Update,
};

use super::admin::{PAGE_MAX, wrong_rows};
use super::agents::place;
use super::commands::missing;
use super::{Caller, Engine, EngineError};
use crate::store::{Change, CommandRow, Outcomes, Query, Rows, Status, StoreError, Transition, Verdict};

/// How many commands one sweep ends or forgets at a time, so that others get their turn at the store.
const SWEEP_MAX: usize = 1000;

impl Engine {
    /// Shows a command and what became of it; for a group, a page of at most `limit` outcomes.
    pub async fn command(
        &self,
        caller: &Caller,
        id: CommandId,
        after: Option<AgentId>,
        limit: usize,
    ) -> Result<CommandView, EngineError> {
        self.command_row(caller, id, Outcomes { after, max: limit.min(PAGE_MAX) }).await.map(command_view)
    }

    /// Shows a page of the agents that a command for a group still waits for; for an agent's own there are none.
    ///
    /// The page may be short, or empty, and not the last.
    pub async fn waiting(
        &self,
        caller: &Caller,
        id: CommandId,
        after: Option<(GroupPath, AgentId)>,
        limit: usize,
    ) -> Result<WaitingPage, EngineError> {
        self.command_row(caller, id, Outcomes::default()).await?;
        let query = Query::Waiting { id, after, max: limit.clamp(1, PAGE_MAX) };
        let Rows::Waiting { agents, next } = self.store.read(query).await? else {
            return Err(wrong_rows("agents that are waited for").into());
        };
        let agents = agents.into_iter().map(|(group, agent)| WaitingAgent { agent, group }).collect();
        Ok(WaitingPage { agents, next: next.map(|(group, agent)| place(&group, &agent)) })
    }

    /// Reads a command whose target is wholly within what the operator may see.
    async fn command_row(
        &self,
        caller: &Caller,
        id: CommandId,
        outcomes: Outcomes,
    ) -> Result<CommandRow, EngineError> {
        let who = self.admit(caller, Role::Viewer)?;
        match self.store.command(id, outcomes).await? {
            Some(row) if who.scope.contains(&row.group) => Ok(row),
            Some(_) | None => Err(EngineError::UnknownCommand(id)),
        }
    }

    /// Takes a command back. Where it is on its way, it ends `cancelled` if the connection ends unacknowledged.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn cancel(&self, caller: &Caller, id: CommandId) -> Result<CommandView, EngineError> {
        let who = self.admit(caller, Role::Operator)?;
        let cancel = Transition::Cancel { id, scope: who.scope, actor: caller.actor() };
        let verdict = self.record_one(cancel).await?;
        if matches!(verdict, Verdict::Applied | Verdict::Requested) {
            self.metrics.audit_lines.inc();
        }
        match verdict {
            Verdict::Unknown => Err(EngineError::UnknownCommand(id)),
            Verdict::Applied | Verdict::Requested | Verdict::Late | Verdict::Stale | Verdict::More => {
                tracing::info!(command = %id, by = %caller.name, "cancelled");
                self.command(caller, id, None, 0).await
            }
        }
    }

    /// Ends what has expired, and forgets what is long over. The first sweep that succeeds after a failed write
    /// has every connected agent look into its inbox again.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        if self.rights_in_doubt.swap(false, Ordering::SeqCst) {
            self.load_rights().await.inspect_err(|_| self.rights_in_doubt.store(true, Ordering::SeqCst))?;
        }
        while self.record_one(Transition::Sweep { max: SWEEP_MAX }).await? == Verdict::More {}
        if self.write_failed.swap(false, Ordering::Relaxed) {
            self.registry.inboxes_changed();
            self.power_look_again();
        }
        Ok(())
    }

    /// Records one step and tells its changes.
    pub(super) async fn record_one(&self, transition: Transition) -> Result<Verdict, StoreError> {
        let recorded = self.store.record(vec![transition], self.clock.now()).await.inspect_err(|_| {
            self.write_failed.store(true, Ordering::Relaxed);
        })?;
        let step = recorded.into_iter().next().ok_or_else(|| missing("a transition"))?;
        self.tell(&step.changes);
        Ok(step.verdict)
    }

    /// Tells changes of state to those who follow the commands, and to those who follow the events.
    pub(super) fn tell(&self, changes: &[Change]) {
        for change in changes {
            self.follow(change);
            if !self.events.are_heard() {
                continue;
            }
            let present = match &change.news {
                News::Agent(update) => self.registry.group_of(&update.outcome.agent),
                News::Group(_) => None,
            };
            self.change_event(change, present.as_ref().unwrap_or(&change.group));
        }
    }

    /// The same, for what happened in a group that the agent has left.
    pub(super) fn tell_at(&self, changes: &[Change], group: &GroupPath) {
        for change in changes {
            self.follow(change);
            self.change_event(change, group);
        }
    }

    /// Tells of a change in a group: as an event of the command, and of each step of switching an endpoint on.
    fn change_event(&self, change: &Change, group: &GroupPath) {
        let Change { by, kind, news, .. } = change;
        let (evidence, is_step) = match news {
            News::Agent(update) => (update.evidence.as_deref(), update.step_on_the_way().is_some()),
            News::Group(_) => (None, false),
        };
        if let (News::Agent(update), Some(step)) = (news, evidence) {
            self.power_event(change, group.clone(), update, step);
        }
        if !is_step {
            self.command_event_at(kind, by, group.clone(), news);
        }
    }

    fn follow(&self, Change { kind, news, .. }: &Change) {
        self.metrics.count_news(news);
        self.followers.tell(news);
        match news {
            News::Agent(update) => {
                let Update { id, outcome, .. } = update;
                tracing::debug!(command = %id, agent = %outcome.agent, state = %outcome.state);
                self.power_told(kind, update);
            }
            News::Group(update) => {
                tracing::debug!(command = %update.id, group = %update.group, state = %update.state);
                if update.state.is_terminal() {
                    // What it took precedence over in its slot may be due now.
                    self.registry.inboxes_changed_in(&update.group);
                }
            }
        }
    }

    /// Tells that a command is on its way to an agent.
    pub(super) fn tell_sent(&self, agent: &AgentId, command: &Command, now: Timestamp) {
        tracing::debug!(command = %command.id, %agent, state = "sent");
        let outcome = Outcome {
            agent: agent.clone(),
            state: CommandState::Sent,
            at: now,
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        };
        let news = News::Agent(Update::new(command.id, outcome));
        self.metrics.count_news(&news);
        self.followers.tell(&news);
        self.command_event(&command.kind, &command.by, &GroupPath::root(), &news);
    }
}

/// Shows a command as `GET /v1/commands/{id}` does.
pub(crate) fn command_view(row: CommandRow) -> CommandView {
    let (agent, group) = match row.target {
        Target::Agent(agent) => (Some(agent), None),
        Target::Group(group) => (None, Some(group)),
    };
    let (state, counts, outcomes, next) = match row.status {
        Status::Agent(outcome) => (None, None, vec![outcome], None),
        Status::Group { update, outcomes, next } => (Some(update.state), Some(update.counts), outcomes, next),
    };
    CommandView {
        id: row.id,
        slot: row.submission.effective_slot(),
        kind: row.submission.kind,
        agent,
        group,
        priority: row.submission.priority,
        reason: row.submission.reason,
        issued: row.issued.whole_secs(),
        expires: row.expires.whole_secs(),
        by: row.by,
        state,
        counts,
        outcomes,
        evidence: row.evidence,
        next,
    }
}
