//! Operators.

use serde_json::{Value, json};
use wakemq_protocol::{GroupPath, OperatorName, Role, SecretHash, Timestamp};

use super::audit::{self, Deed};
use super::groups;
use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Operator, Owner};
use crate::store::{Actor, AdminOutcome, OperatorRow, StoreError};

/// How many operators are read at once.
const CHUNK: usize = 256;

fn describe(operator: &Operator) -> Value {
    json!({ "role": operator.role, "group": operator.group })
}

fn put(batch: &mut Batch<'_>, name: &OperatorName, operator: &Operator) -> Result<(), StoreError> {
    rows::put(batch, Table::Operators, name.as_str().as_bytes(), operator)?;
    let owner = Owner::Operator { name: name.clone(), role: operator.role, scope: operator.group.clone() };
    rows::put(batch, Table::Secrets, &operator.secret.0, &owner)
}

fn get(kv: &dyn ReadKv, name: &OperatorName, scope: &GroupPath) -> Result<Option<Operator>, StoreError> {
    let operator: Option<Operator> = rows::get(kv, Table::Operators, name.as_str().as_bytes())?;
    Ok(operator.filter(|operator| scope.contains(&operator.group)))
}

pub(super) fn create(
    batch: &mut Batch<'_>,
    name: &OperatorName,
    secret: &SecretHash,
    (role, group): (Role, &GroupPath),
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let key = name.as_str().as_bytes();
    if batch.get(Table::Operators, key)?.is_some() || batch.get(Table::Secrets, &secret.0)?.is_some() {
        return Ok(AdminOutcome::Exists);
    }
    groups::ensure(batch, group, now)?;
    let operator = Operator { secret: *secret, role, group: group.clone(), created: now };
    put(batch, name, &operator)?;
    let after = Some(describe(&operator));
    let deed = Deed { action: "operator.create", target: name.as_str(), group, before: None, after };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

pub(super) fn change(
    batch: &mut Batch<'_>,
    name: &OperatorName,
    (role, group): (Option<Role>, Option<&GroupPath>),
    scope: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let Some(before) = get(batch, name, scope)? else { return Ok(AdminOutcome::Unknown) };
    let changed = Operator {
        role: role.unwrap_or(before.role),
        group: group.unwrap_or(&before.group).clone(),
        ..before.clone()
    };
    if administers_all(&before) && !administers_all(&changed) && is_last(batch, name)? {
        return Ok(AdminOutcome::LastAdmin);
    }
    if changed != before {
        groups::ensure(batch, &changed.group, now)?;
        put(batch, name, &changed)?;
        let deed = Deed {
            action: "operator.change",
            target: name.as_str(),
            group: &before.group,
            before: Some(describe(&before)),
            after: Some(describe(&changed)),
        };
        audit::note(batch, actor, deed, now)?;
    }
    Ok(AdminOutcome::Changed { role: changed.role, group: changed.group })
}

pub(super) fn revoke(
    batch: &mut Batch<'_>,
    name: &OperatorName,
    scope: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let Some(operator) = get(batch, name, scope)? else { return Ok(AdminOutcome::Unknown) };
    if administers_all(&operator) && is_last(batch, name)? {
        return Ok(AdminOutcome::LastAdmin);
    }
    batch.remove(Table::Operators, name.as_str().as_bytes())?;
    batch.remove(Table::Secrets, &operator.secret.0)?;
    let deed = Deed {
        action: "operator.revoke",
        target: name.as_str(),
        group: &operator.group,
        before: Some(describe(&operator)),
        after: None,
    };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

fn administers_all(operator: &Operator) -> bool {
    operator.role == Role::Admin && operator.group.is_root()
}

/// Tells whether nobody else administers the root.
fn is_last(kv: &dyn ReadKv, name: &OperatorName) -> Result<bool, StoreError> {
    let others = page(kv, None, &GroupPath::root(), usize::MAX)?;
    Ok(!others.iter().any(|other| other.name != *name && other.role == Role::Admin && other.group.is_root()))
}

/// Reads the operators limited to a subtree or a part of it by name, those after `last`, at most `max`.
pub(in crate::store) fn page(
    kv: &dyn ReadKv,
    last: Option<&OperatorName>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<OperatorRow>, StoreError> {
    let mut from = last.map(|last| after(last.as_str().as_bytes())).unwrap_or_default();
    let mut found = Vec::new();
    loop {
        let lines = kv.range(Table::Operators, &from, &[0xff], CHUNK)?;
        let Some((key, _)) = lines.last() else { return Ok(found) };
        from = after(key);
        for (key, value) in &lines {
            let Operator { role, group, created, .. } = rows::parse(Table::Operators, value)?;
            if !scope.contains(&group) {
                continue;
            }
            if found.len() >= max {
                return Ok(found);
            }
            let name = std::str::from_utf8(key)
                .ok()
                .and_then(|name| name.parse().ok())
                .ok_or_else(|| StoreError::Damaged("a row of operators has no name".into()))?;
            found.push(OperatorRow { name, role, group, created });
        }
    }
}
