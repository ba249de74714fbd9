//! The hierarchy of groups, and how many agents are where.

use serde_json::json;
use wakemq_protocol::{GroupPath, Timestamp};

use super::audit::{self, Deed};
use super::{operators, tokens};
use crate::store::batch::Batch;
use crate::store::kv::{Pair, ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Node};
use crate::store::{Actor, AdminOutcome, GroupRow, StoreError};

/// Has a group and all its ancestors exist.
pub(super) fn ensure(batch: &mut Batch<'_>, group: &GroupPath, now: Timestamp) -> Result<(), StoreError> {
    if rows::node(batch, group)?.is_some() {
        return Ok(());
    }
    for level in group.levels() {
        if rows::node(batch, &level)?.is_none() {
            rows::put_node(batch, &level, &Node { created: now, agents: 0 })?;
        }
    }
    Ok(())
}

/// Counts an agent in the levels of a group, those after the first `skip`.
pub(super) fn enter(
    batch: &mut Batch<'_>,
    group: &GroupPath,
    skip: usize,
    now: Timestamp,
) -> Result<(), StoreError> {
    for level in group.levels().skip(skip) {
        let node = rows::node(batch, &level)?.unwrap_or(Node { created: now, agents: 0 });
        rows::put_node(batch, &level, &Node { agents: node.agents + 1, ..node })?;
    }
    Ok(())
}

/// Counts an agent out of the levels of a group, those after the first `skip`.
pub(super) fn leave(batch: &mut Batch<'_>, group: &GroupPath, skip: usize) -> Result<(), StoreError> {
    for level in group.levels().skip(skip) {
        let node = rows::node(batch, &level)?.ok_or_else(|| {
            StoreError::Damaged(format!("the group {level} has an agent and does not exist"))
        })?;
        rows::put_node(batch, &level, &Node { agents: node.agents.saturating_sub(1), ..node })?;
    }
    Ok(())
}

pub(super) fn create(
    batch: &mut Batch<'_>,
    group: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    if rows::node(batch, group)?.is_some() {
        return Ok(AdminOutcome::Exists);
    }
    ensure(batch, group, now)?;
    let after = Some(json!({ "group": group }));
    let deed = Deed { action: "group.create", target: group.as_str(), group, before: None, after };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

pub(super) fn remove(
    batch: &mut Batch<'_>,
    group: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    if let Some(refused) = refusal(batch, group, now)? {
        return Ok(refused);
    }
    for (key, _) in nodes(batch, group)? {
        batch.remove(Table::Groups, &key)?;
    }
    let before = Some(json!({ "group": group }));
    let deed = Deed { action: "group.remove", target: group.as_str(), group, before, after: None };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

pub(super) fn rename(
    batch: &mut Batch<'_>,
    group: &GroupPath,
    to: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    if let Some(refused) = refusal(batch, group, now)? {
        return Ok(refused);
    }
    if rows::node(batch, to)?.is_some() {
        return Ok(AdminOutcome::Exists);
    }
    if group.contains(to) {
        return Ok(AdminOutcome::InUse(format!("{to} lies within it")));
    }
    let old = nodes(batch, group)?;
    let mut new = Vec::with_capacity(old.len());
    for (key, value) in &old {
        let path = rows::node_of_key(key)?;
        let rest = path.as_str().get(group.as_str().len()..).unwrap_or_default();
        let Ok(path) = format!("{to}{rest}").parse::<GroupPath>() else {
            return Ok(AdminOutcome::InUse(format!("{path}, which would get a path with too many segments")));
        };
        new.push((path, Node::parse(value)?));
    }
    for (key, _) in &old {
        batch.remove(Table::Groups, key)?;
    }
    ensure(batch, to, now)?;
    for (path, node) in new {
        rows::put_node(batch, &path, &node)?;
    }
    let (before, after) = (Some(json!({ "group": group })), Some(json!({ "group": to })));
    let deed = Deed { action: "group.rename", target: group.as_str(), group, before, after };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

/// Says why a group can be neither removed nor renamed.
fn refusal(batch: &Batch<'_>, group: &GroupPath, now: Timestamp) -> Result<Option<AdminOutcome>, StoreError> {
    let Some(node) = rows::node(batch, group)? else { return Ok(Some(AdminOutcome::Unknown)) };
    let (from, to) = rows::subtree(group);
    let operators = operators::page(batch, None, group, 1)?;
    let why = if group.is_root() {
        "the root is always in use".to_owned()
    } else if node.agents == 1 {
        "1 agent is in it or below it".to_owned()
    } else if node.agents > 1 {
        format!("{} agents are in it or below it", node.agents)
    } else if let Some(operator) = operators.first() {
        format!("operator {} is limited to {}", operator.name, operator.group)
    } else if let Some(token) = tokens::valid_in(batch, group, now)? {
        format!("enrolment token {} is valid for {}", token.id, token.group)
    } else if !batch.range(Table::Live, &from, &to, 1)?.is_empty() {
        "commands for it, or for groups below it, are live".to_owned()
    } else {
        return Ok(None);
    };
    Ok(Some(AdminOutcome::InUse(why)))
}

fn nodes(kv: &dyn ReadKv, group: &GroupPath) -> Result<Vec<Pair>, StoreError> {
    let (from, to) = rows::subtree(group);
    kv.range(Table::Groups, &from, &to, usize::MAX)
}

/// Reads the groups of a subtree by path, those after `last`, at most `max`.
pub(in crate::store) fn page(
    kv: &dyn ReadKv,
    last: Option<&GroupPath>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<GroupRow>, StoreError> {
    let (first, to) = rows::subtree(scope);
    let from = last.map(|last| after(&rows::node_key(last))).unwrap_or_default().max(first);
    kv.range(Table::Groups, &from, &to, max)?
        .into_iter()
        .map(|(key, value)| {
            Ok(GroupRow { group: rows::node_of_key(&key)?, agents: Node::parse(&value)?.agents })
        })
        .collect()
}
