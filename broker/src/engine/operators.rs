//! Operators: made, shown, changed and revoked; each change counts at once, for live connections too.

use std::sync::atomic::Ordering;

use wakemq_core::End;
use wakemq_core::packet::ReasonCode;
use wakemq_protocol::http::{OperatorAnswer, OperatorChange, OperatorPage, OperatorRequest, OperatorView};
use wakemq_protocol::{GroupPath, OperatorName, Role, Secret, SecretKind, Timestamp};

use super::admin::{About, PAGE_MAX, cut, done, refusal, wrong_rows};
use super::secrets::{hash_of, random_secret};
use super::{Caller, Engine, EngineError, Operator};
use crate::store::{
    Actor, Admin, AdminOp, AdminOutcome, Durability, OperatorRow, Query, Rows, Store, StoreError,
};

/// How many operators are read at a time when the table of rights is filled.
const LOAD_MAX: usize = 1000;

impl Engine {
    /// Returns an operator with its present rights; `None` if there is none of that name any more.
    pub fn rights(&self, name: &OperatorName) -> Option<Operator> {
        self.rights.of(name)
    }

    /// Reads the rights of all operators; to be called once before anybody is served.
    pub async fn load_rights(&self) -> Result<(), StoreError> {
        let _order = self.rights_order.lock().await;
        let operators = self.all_operators().await?;
        let rights = operators.into_iter().map(|row| (row.name, (row.role, row.group))).collect();
        for name in self.rights.replace(rights) {
            self.rights_changed(&name);
        }
        Ok(())
    }

    /// Creates an operator, with no more rights than the caller has; its secret is shown this once.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn create_operator(
        &self,
        caller: &Caller,
        request: OperatorRequest,
    ) -> Result<OperatorAnswer, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&request.group)?;
        let OperatorRequest { operator, role, group } = request;
        let secret = random_secret(SecretKind::Operator)?;
        let op = AdminOp::CreateOperator {
            name: operator.clone(),
            secret: hash_of(&secret),
            role,
            group: group.clone(),
        };
        let _order = self.rights_order.lock().await;
        let outcome = self.write_rights(op, caller.actor()).await?;
        done(outcome, About::Operator(operator.clone()))?;
        self.rights.set(Operator { name: operator.clone(), role, scope: group.clone() });
        tracing::info!(%operator, %role, %group, by = %caller.name, "operator created");
        let advertise = self.advertise.clone();
        Ok(OperatorAnswer { operator, role, group, secret, endpoints: advertise.endpoints, ca: advertise.ca })
    }

    /// Shows a page of the operators that the administrator may see, in order of their names.
    pub async fn operators(
        &self,
        caller: &Caller,
        after: Option<OperatorName>,
        limit: usize,
    ) -> Result<OperatorPage, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let limit = limit.clamp(1, PAGE_MAX);
        let mut rows = self.operator_rows(after, who.scope, limit + 1).await?;
        let more = cut(&mut rows, limit);
        let operators: Vec<_> = rows.into_iter().map(|row| self.operator_view(row)).collect();
        let next = operators.last().filter(|_| more).map(|last| last.operator.clone());
        Ok(OperatorPage { operators, next })
    }

    /// Changes what an operator may do, from this moment on; its secret stays. Returns what it may do now.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn change_operator(
        &self,
        caller: &Caller,
        name: OperatorName,
        change: OperatorChange,
    ) -> Result<OperatorView, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let OperatorChange { role, group } = change;
        if role.is_none() && group.is_none() {
            return Err(EngineError::Invalid("say a role, a group, or both".to_owned()));
        }
        if let Some(group) = &group {
            who.require_group(group)?;
        }
        let op = AdminOp::ChangeOperator { name: name.clone(), role, group, scope: who.scope };
        let order = self.rights_order.lock().await;
        let outcome = self.write_rights(op, caller.actor()).await?;
        let AdminOutcome::Changed { role, group } = outcome else {
            return Err(refusal(outcome, About::Operator(name)));
        };
        self.rights.set(Operator { name: name.clone(), role, scope: group.clone() });
        self.rights_changed(&name);
        drop(order);
        tracing::info!(operator = %name, %role, %group, by = %caller.name, "operator changed");
        let row = self.all_operators().await?.into_iter().find(|row| row.name == name);
        row.map(|row| self.operator_view(row)).ok_or(EngineError::UnknownOperator(name))
    }

    /// Removes an operator: its secret opens nothing any more, its connections are closed; its commands stay.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn revoke_operator(&self, caller: &Caller, name: OperatorName) -> Result<(), EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let op = AdminOp::RevokeOperator { name: name.clone(), scope: who.scope };
        let _order = self.rights_order.lock().await;
        let outcome = self.write_rights(op, caller.actor()).await?;
        done(outcome, About::Operator(name.clone()))?;
        self.rights.remove(&name);
        self.rights_changed(&name);
        for mailbox in self.registry.operators_of(&name) {
            // Whatever is made under the same name is another operator, and these connections are not its own.
            mailbox.evict(End::new(ReasonCode::NotAuthorized, "the operator was revoked"));
        }
        tracing::info!(operator = %name, by = %caller.name, "operator revoked");
        Ok(())
    }

    /// Has every connection of an operator look at its rights anew.
    fn rights_changed(&self, name: &OperatorName) {
        // Before the connections are looked for: one that is just coming in sees this, or is found.
        self.note_revocation();
        self.registry.operators_of(name).iter().for_each(|mailbox| mailbox.rights_changed());
    }

    /// Writes a change of rights. After an error nobody knows whether it was written: the table is read anew.
    async fn write_rights(&self, op: AdminOp, actor: Actor) -> Result<AdminOutcome, StoreError> {
        self.write_one(op, actor).await.inspect_err(|_| {
            self.rights_in_doubt.store(true, Ordering::SeqCst);
        })
    }

    /// Reads all operators, who are few.
    async fn all_operators(&self) -> Result<Vec<OperatorRow>, StoreError> {
        let mut operators: Vec<OperatorRow> = Vec::new();
        loop {
            let after = operators.last().map(|last| last.name.clone());
            let rows = self.operator_rows(after, GroupPath::root(), LOAD_MAX).await?;
            let last = rows.len() < LOAD_MAX;
            operators.extend(rows);
            if last {
                return Ok(operators);
            }
        }
    }

    async fn operator_rows(
        &self,
        after: Option<OperatorName>,
        scope: GroupPath,
        max: usize,
    ) -> Result<Vec<OperatorRow>, StoreError> {
        let Rows::Operators(rows) = self.store.read(Query::Operators { after, scope, max }).await? else {
            return Err(wrong_rows("operators"));
        };
        Ok(rows)
    }

    fn operator_view(&self, row: OperatorRow) -> OperatorView {
        let connections = self.registry.operators_of(&row.name).len();
        OperatorView {
            operator: row.name,
            role: row.role,
            group: row.group,
            created: row.created.whole_secs(),
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
        }
    }
}

/// Creates an operator in a store that no engine runs on yet, and returns its secret.
pub async fn create_operator(
    store: &dyn Store,
    name: OperatorName,
    role: Role,
    group: GroupPath,
    now: Timestamp,
) -> Result<Secret, EngineError> {
    let secret = random_secret(SecretKind::Operator)?;
    let op = AdminOp::CreateOperator { name: name.clone(), secret: hash_of(&secret), role, group };
    let actor = Some(Actor { by: "system".to_owned(), address: None });
    let outcomes = store.write(vec![Admin { op, actor }], Durability::Flushed, now).await?;
    let first = outcomes.into_iter().next();
    let first = first.ok_or_else(|| StoreError::Damaged("a write had no outcome".into()))?;
    done(first, About::Operator(name))?;
    Ok(secret)
}
