//! Administration: which part of the semantics does what.

use serde_json::json;
use wakemq_protocol::Timestamp;

use super::audit::{self, Deed};
use super::{agents, groups, operators, tokens};
use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table};
use crate::store::rows::Token;
use crate::store::sighting::Sighting;
use crate::store::{Admin, AdminOp, AdminOutcome, StoreError};

/// Does one thing of administration.
pub(in crate::store) fn write(
    batch: &mut Batch<'_>,
    Admin { op, actor }: &Admin,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let actor = actor.as_ref();
    match op {
        AdminOp::CreateAgent { agent, group, secret } => {
            if !agents::create(batch, agent, group, secret, None, now)? {
                return Ok(AdminOutcome::Exists);
            }
            let after = Some(json!({ "group": group }));
            let deed = Deed { action: "agent.create", target: agent.as_str(), group, before: None, after };
            audit::note(batch, actor, deed, now)?;
            Ok(AdminOutcome::Done)
        }
        AdminOp::Enrol { token, agent, secret, facts } => {
            tokens::enrol(batch, token, (agent, secret), facts, actor, now)
        }
        AdminOp::RevokeAgent { agent, scope } => agents::revoke(batch, agent, scope, actor, now),
        AdminOp::MoveAgent { agent, to, scope } => agents::move_to(batch, agent, to, scope, actor, now),
        AdminOp::CreateGroup { group } => groups::create(batch, group, actor, now),
        AdminOp::RemoveGroup { group } => groups::remove(batch, group, actor, now),
        AdminOp::RenameGroup { group, to } => groups::rename(batch, group, to, actor, now),
        AdminOp::Seen { agent, facts, source } => agents::seen(batch, agent, (facts.as_ref(), *source), now),
        AdminOp::CreateToken { token, group, uses, expires, by } => {
            let (group, by) = (group.clone(), by.clone());
            let row = Token { group, uses: *uses, uses_left: *uses, expires: *expires, by };
            tokens::create(batch, token, &row, actor, now)
        }
        AdminOp::RevokeToken { id, scope } => tokens::revoke(batch, id, scope, actor, now),
        AdminOp::CreateOperator { name, secret, role, group } => {
            operators::create(batch, name, secret, (*role, group), actor, now)
        }
        AdminOp::ChangeOperator { name, role, group, scope } => {
            operators::change(batch, name, (*role, group.as_ref()), scope, actor, now)
        }
        AdminOp::RevokeOperator { name, scope } => operators::revoke(batch, name, scope, actor, now),
        AdminOp::Note { action, target, group, after } => {
            let deed = Deed { action, target, group, before: None, after: Some(after.clone()) };
            audit::note(batch, actor, deed, now)?;
            Ok(AdminOutcome::Done)
        }
    }
}

/// Tells of each sighting whether its agent does not exist.
pub(in crate::store) fn unknown_agents(
    kv: &dyn ReadKv,
    sightings: &[Sighting],
) -> Result<Vec<bool>, StoreError> {
    let is_unknown =
        |sighting: &Sighting| Ok(kv.get(Table::Agents, sighting.agent.key().as_bytes())?.is_none());
    sightings.iter().map(is_unknown).collect()
}
