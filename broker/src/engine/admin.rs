//! What all administration has in common: who may, one way to write, and one meaning of each refusal.

use wakemq_protocol::{AgentId, GroupPath, OperatorName, Role};

use super::{Caller, Engine, EngineError, Operator};
use crate::store::{Actor, Admin, AdminOp, AdminOutcome, Durability, Query, StoreError};

/// Most rows that one page shows; with facts of 8 KiB each, a page of agents stays below 4 MiB.
pub const PAGE_MAX: usize = 400;

/// What an operation was about, for the words of its refusal.
pub(super) enum About {
    Agent(AgentId),
    Group(GroupPath),
    Operator(OperatorName),
    /// A token by its public id.
    Token(String),
    /// A token by itself.
    Enrolment(AgentId),
}

impl Engine {
    /// Returns the caller with its present rights, if they suffice.
    pub(super) fn admit(&self, caller: &Caller, needed: Role) -> Result<Operator, EngineError> {
        let operator = self.rights(&caller.name).ok_or_else(|| {
            EngineError::NotAllowed(format!("there is no operator {} any more", caller.name))
        })?;
        operator.require(needed)?;
        Ok(operator)
    }

    /// Tells whether the store can be read.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store.read(Query::Health).await.map(drop)
    }

    /// Writes a list, with one flush.
    pub(super) async fn write(&self, ops: Vec<Admin>) -> Result<Vec<AdminOutcome>, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let asked = ops.len();
        let by_somebody: Vec<_> = ops.iter().map(|op| op.actor.is_some()).collect();
        let outcomes = self.store.write(ops, Durability::Flushed, self.clock.now()).await?;
        if outcomes.len() != asked {
            return Err(StoreError::Damaged(format!("{asked} writes had {} outcomes", outcomes.len())));
        }
        let lines =
            by_somebody.iter().zip(&outcomes).filter(|&(&audited, outcome)| audited && is_change(outcome));
        self.metrics.audit_lines.inc_by(lines.count() as u64);
        Ok(outcomes)
    }

    /// Writes one operation, with its line in the audit trail.
    pub(super) async fn write_one(&self, op: AdminOp, actor: Actor) -> Result<AdminOutcome, StoreError> {
        let outcomes = self.write(vec![Admin { op, actor: Some(actor) }]).await?;
        outcomes.into_iter().next().ok_or_else(|| StoreError::Damaged("a write had no outcome".into()))
    }

    /// Writes one operation whose only good outcome is that it is done.
    pub(super) async fn write_done(
        &self,
        op: AdminOp,
        actor: Actor,
        about: About,
    ) -> Result<(), EngineError> {
        done(self.write_one(op, actor).await?, about)
    }
}

/// Tells whether something was changed, which leaves a line in the audit trail.
fn is_change(outcome: &AdminOutcome) -> bool {
    match outcome {
        AdminOutcome::Done
        | AdminOutcome::Enrolled { .. }
        | AdminOutcome::Revoked { .. }
        | AdminOutcome::Moved { .. }
        | AdminOutcome::Changed { .. } => true,
        AdminOutcome::Exists
        | AdminOutcome::Unknown
        | AdminOutcome::InUse(_)
        | AdminOutcome::LastAdmin
        | AdminOutcome::Expired
        | AdminOutcome::UsedUp => false,
    }
}

pub(super) fn done(outcome: AdminOutcome, about: About) -> Result<(), EngineError> {
    if outcome == AdminOutcome::Done { Ok(()) } else { Err(refusal(outcome, about)) }
}

/// Says why an operation was not carried out.
pub(super) fn refusal(outcome: AdminOutcome, about: About) -> EngineError {
    match (outcome, about) {
        (AdminOutcome::Unknown, About::Agent(agent)) => EngineError::UnknownAgent(agent),
        (AdminOutcome::Unknown, About::Group(group)) => EngineError::UnknownGroup(group),
        (AdminOutcome::Unknown, About::Operator(name)) => EngineError::UnknownOperator(name),
        (AdminOutcome::Unknown, About::Token(id)) => EngineError::UnknownToken(id),
        (AdminOutcome::Unknown, About::Enrolment(_)) => EngineError::TokenUnknown,
        (AdminOutcome::Exists, About::Agent(agent) | About::Enrolment(agent)) => {
            EngineError::Exists(format!("agent {agent}"))
        }
        (AdminOutcome::Exists, About::Group(group)) => EngineError::GroupExists(group),
        (AdminOutcome::Exists, About::Operator(name)) => EngineError::Exists(format!("operator {name}")),
        (AdminOutcome::Exists, About::Token(id)) => EngineError::Exists(format!("token {id}")),
        (AdminOutcome::InUse(what), About::Group(group)) => EngineError::InUse { group, what },
        (AdminOutcome::LastAdmin, About::Operator(name)) => EngineError::LastAdmin(name),
        (AdminOutcome::Expired, _) => EngineError::TokenExpired,
        (AdminOutcome::UsedUp, _) => EngineError::TokenUsedUp,
        (
            other @ (AdminOutcome::Done
            | AdminOutcome::Enrolled { .. }
            | AdminOutcome::Revoked { .. }
            | AdminOutcome::Moved { .. }
            | AdminOutcome::Changed { .. }
            | AdminOutcome::InUse(_)
            | AdminOutcome::LastAdmin),
            _,
        ) => out_of_place(&other).into(),
    }
}

/// A store that answers with what was not asked is not one to go on with; it is told like a damaged one.
fn out_of_place(outcome: &AdminOutcome) -> StoreError {
    StoreError::Damaged(format!("a write had the outcome {outcome:?}"))
}

/// Says that a store gave other rows than were asked for.
pub(super) fn wrong_rows(wanted: &str) -> StoreError {
    StoreError::Damaged(format!("a query for {wanted} gave none of them"))
}

pub(super) fn check_range(what: &str, value: u32, max: u32) -> Result<(), EngineError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("{what} is {value}; 1 to {max} is allowed")))
}

/// Takes what is above `limit` off a page that was asked for with one more: tells whether there is a next page.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: usize) -> bool {
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}
