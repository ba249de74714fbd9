//! The hierarchy of groups.

use wakemq_protocol::http::{GroupPage, GroupView};
use wakemq_protocol::{GroupPath, Role};

use super::admin::{About, PAGE_MAX, cut, done, wrong_rows};
use super::{Caller, Engine, EngineError};
use crate::store::{AdminOp, AdminOutcome, Query, Rows, StoreError};

impl Engine {
    /// Shows a page of the groups that the operator may see, in order of their paths.
    pub async fn groups(
        &self,
        caller: &Caller,
        after: Option<GroupPath>,
        limit: usize,
    ) -> Result<GroupPage, EngineError> {
        let who = self.admit(caller, Role::Viewer)?;
        let limit = limit.clamp(1, PAGE_MAX);
        let query = Query::Groups { after, scope: who.scope, max: limit + 1 };
        let Rows::Groups(mut rows) = self.store.read(query).await? else {
            return Err(wrong_rows("groups").into());
        };
        let more = cut(&mut rows, limit);
        let groups: Vec<_> = rows
            .into_iter()
            .map(|row| GroupView {
                connected: self.registry.subscribed_in(&row.group),
                group: row.group,
                agents: row.agents,
            })
            .collect();
        let next = groups.last().filter(|_| more).map(|last| last.group.clone());
        Ok(GroupPage { groups, next })
    }

    /// Returns how many agents are enrolled: one look-up, however many there are.
    pub async fn agents_enrolled(&self) -> Result<u64, StoreError> {
        let query = Query::Groups { after: None, scope: GroupPath::root(), max: 1 };
        let Rows::Groups(rows) = self.store.read(query).await? else { return Err(wrong_rows("groups")) };
        // The first is the root, which counts them all.
        Ok(rows.first().map_or(0, |root| root.agents))
    }

    /// Creates a group, and those above it that do not exist.
    pub async fn create_group(&self, caller: &Caller, group: GroupPath) -> Result<GroupView, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&group)?;
        let op = AdminOp::CreateGroup { group: group.clone() };
        self.write_done(op, caller.actor(), About::Group(group.clone())).await?;
        tracing::info!(%group, by = %caller.name, "group created");
        Ok(GroupView { group, agents: 0, connected: 0 })
    }

    /// Removes a group that is not in use, and what lies below it.
    pub async fn remove_group(&self, caller: &Caller, group: GroupPath) -> Result<(), EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&group)?;
        let op = AdminOp::RemoveGroup { group: group.clone() };
        self.write_done(op, caller.actor(), About::Group(group.clone())).await?;
        tracing::info!(%group, by = %caller.name, "group removed");
        Ok(())
    }

    /// Gives a group that is not in use, and what lies below it, another path.
    pub async fn rename_group(
        &self,
        caller: &Caller,
        group: GroupPath,
        to: GroupPath,
    ) -> Result<GroupView, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&group)?;
        who.require_group(&to)?;
        if group.contains(&to) {
            let text =
                format!("the group `{group}` cannot be moved to `{to}`, which is it or lies inside it");
            return Err(EngineError::Invalid(text));
        }
        let op = AdminOp::RenameGroup { group: group.clone(), to: to.clone() };
        let outcome = self.write_one(op, caller.actor()).await?;
        let about = if outcome == AdminOutcome::Exists { &to } else { &group };
        done(outcome, About::Group(about.clone()))?;
        tracing::info!(%group, %to, by = %caller.name, "group renamed");
        Ok(GroupView { group: to, agents: 0, connected: 0 })
    }
}
