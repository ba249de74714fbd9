//! What operators are told of as it happens: the engine makes the events, and gives them to whoever carries them.

use serde_json::{Map, Value};
use wakemq_protocol::{
    AgentId, EventBody, EventNews, Facts, GroupPath, Kind, News, PresenceChange, SecurityWhat,
};

use super::Engine;
use crate::registry::Mailbox;
use crate::store::{AgentRow, Query, StoreError};

/// Most identities of which `security` events tell within ten minutes; what is left out is in the log.
pub(super) const TOLD_MAX: usize = 10_000;

/// Carries events to those who listen.
pub trait Events: Send + Sync + 'static {
    /// Tells whether anybody listens: an event that nobody would hear is not even made.
    fn are_heard(&self) -> bool;

    /// Takes an event; never blocks, and may lose it.
    fn publish(&self, news: EventNews);
}

/// Where nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl Events for NoEvents {
    fn are_heard(&self) -> bool {
        false
    }

    fn publish(&self, _: EventNews) {}
}

impl Engine {
    /// Tells of something that a person should look at: once in ten minutes for the same one.
    ///
    /// `who` is `agent:` and an id or `op:` and a name, if that is known; otherwise the first address counts as
    /// the one it is about.
    pub fn security_event(
        &self,
        what: SecurityWhat,
        who: Option<String>,
        group: GroupPath,
        addresses: Vec<String>,
        detail: String,
    ) {
        let whom = who.as_deref().or(addresses.first().map(String::as_str)).unwrap_or_default();
        if !self.told.is_due((what, whom.to_owned()), self.clock.mono_ms()) {
            return;
        }
        self.alarm(what, who, group, addresses, detail);
    }

    /// The same, each time: for what has a rhythm of its own.
    pub(super) fn alarm(
        &self,
        what: SecurityWhat,
        who: Option<String>,
        group: GroupPath,
        addresses: Vec<String>,
        detail: String,
    ) {
        tracing::warn!(?what, who, ?addresses, "{detail}");
        self.publish(group, || EventBody::Security { what, who, addresses, detail });
    }

    /// Gives an agent's report to those who listen; it is not stored.
    pub async fn report(&self, agent: &AgentId, report: Map<String, Value>) -> Result<(), StoreError> {
        if !self.events.are_heard() {
            return Ok(());
        }
        // A will comes when its connection has ended.
        let group = match self.registry.group_of(agent) {
            Some(group) => group,
            None => match self.agent_row(agent).await? {
                Some(row) => row.group,
                None => return Ok(()),
            },
        };
        self.publish(group, || EventBody::Report { agent: agent.clone(), report });
        Ok(())
    }

    pub(super) fn presence_event(
        &self,
        agent: &AgentId,
        group: GroupPath,
        change: PresenceChange,
        mailbox: &Mailbox,
        (detail, facts): (Option<String>, Option<&Facts>),
    ) {
        self.publish(group, || EventBody::Presence {
            agent: agent.clone(),
            change,
            address: Some(mailbox.address().to_string()),
            transport: Some(mailbox.transport()),
            detail,
            facts: facts.cloned().map(Box::new),
        });
    }

    /// Tells of a command. What concerns a connected agent happens where the agent is now.
    pub(super) fn command_event(&self, kind: &Kind, by: &str, group: &GroupPath, news: &News) {
        if !self.events.are_heard() {
            return;
        }
        let present = match news {
            News::Agent(update) => self.registry.group_of(&update.outcome.agent),
            News::Group(_) => None,
        };
        self.command_event_at(kind, by, present.unwrap_or_else(|| group.clone()), news);
    }

    /// Tells of a command in a group.
    pub(super) fn command_event_at(&self, kind: &Kind, by: &str, group: GroupPath, news: &News) {
        self.publish(group, || EventBody::Command {
            kind: kind.clone(),
            by: by.to_owned(),
            news: news.clone(),
        });
    }

    /// Every event leaves here.
    pub(super) fn publish(&self, group: GroupPath, body: impl FnOnce() -> EventBody) {
        if self.events.are_heard() {
            self.events.publish(EventNews { at: self.clock.now(), group, body: body() });
        }
    }

    /// Reads one agent's row.
    pub(super) async fn agent_row(&self, agent: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        Ok(super::agents::rows(self.store.read(Query::Agent(agent.clone())).await?)?.into_iter().next())
    }
}
