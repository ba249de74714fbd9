//! Agents that came or left: noted without a flush of its own.

use std::net::IpAddr;

use wakemq_protocol::{AgentId, Facts, Timestamp};

use super::batch::Batch;
use super::{Admin, AdminOp, StoreError, logic};

/// That an agent came or left, and what it told of itself, until it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) agent: AgentId,
    pub(super) at: Timestamp,
    pub(super) facts: Option<Facts>,
    pub(super) source: Option<IpAddr>,
}

impl Sighting {
    /// Returns what an operation says was seen; `None` if it says something else.
    pub(super) fn of(Admin { op, actor }: &Admin, at: Timestamp) -> Option<Self> {
        let AdminOp::Seen { agent, facts, source } = op else { return None };
        let sighting = Self { agent: agent.clone(), at, facts: facts.clone(), source: *source };
        actor.is_none().then_some(sighting)
    }

    /// Takes in what was seen of the same agent later.
    pub(super) fn merge(&mut self, later: Self) {
        self.at = self.at.max(later.at);
        self.facts = later.facts.or(self.facts.take());
        self.source = later.source.or(self.source);
    }

    /// Writes it; of an agent that is gone nothing is written.
    pub(super) fn write(&self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        logic::seen(batch, &self.agent, (self.facts.as_ref(), self.source), self.at).map(drop)
    }
}
