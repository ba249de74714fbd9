//! Agents, as operators see and administer them.

use wakemq_core::End;
use wakemq_core::packet::ReasonCode;
use wakemq_protocol::http::{AgentPage, AgentView};
use wakemq_protocol::{AgentId, GroupPath, Role, Timestamp, Transport};

use super::admin::{About, PAGE_MAX, cut, refusal, wrong_rows};
use super::{Caller, Engine, EngineError};
use crate::registry::AgentPlace;
use crate::store::{AdminOp, AdminOutcome, AgentRow, Query, Rows, StoreError};

/// How many agents are passed over at most for one page of those that are away, or that speak by one transport, and how
/// many are looked at at once.
const SCAN_MAX: usize = 5 * SCAN;
const SCAN: usize = 4_000;

/// Which agents of the operator's are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFilter {
    /// Those of this subtree; all that the operator may see, if it is not given.
    pub group: Option<GroupPath>,
    /// Those that are connected, or those that are not.
    pub connected: Option<bool>,
    /// Those that are connected by this transport.
    pub transport: Option<Transport>,
    /// Those behind this one.
    pub after: Option<(GroupPath, AgentId)>,
    /// How many at most, and at most [`PAGE_MAX`].
    pub limit: usize,
}

impl Engine {
    /// Shows a page of the agents that the operator may see, by group and then by id.
    ///
    /// A page of those that are connected, or are not, may be short, or empty, and not the last: agents come and go
    /// while it is read, and a bounded number of others is passed over to find those that are wanted.
    pub async fn agents(&self, caller: &Caller, filter: AgentFilter) -> Result<AgentPage, EngineError> {
        let who = self.admit(caller, Role::Viewer)?;
        let AgentFilter { group, mut connected, transport, after, limit } = filter;
        let scope = group.unwrap_or_else(|| who.scope.clone());
        who.require_group(&scope)?;
        let limit = limit.clamp(1, PAGE_MAX);
        if transport.is_some() && connected == Some(false) {
            let text = "who is away has no transport";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        connected = transport.map_or(connected, |_| Some(true));
        let (places, next) = match (connected, transport) {
            (_, Some(transport)) => self.speaking(transport, after, &scope, limit),
            (None, None) => {
                // One more than is shown tells whether there is a next page.
                let query = Query::Agents { after, scope, max: limit + 1 };
                let mut rows = rows(self.store.read(query).await?)?;
                let more = cut(&mut rows, limit);
                let last = rows.last().filter(|_| more);
                let next = last.map(|row| place(&row.group, &row.agent));
                let agents = rows.into_iter().map(|row| self.agent_view(row)).collect();
                return Ok(AgentPage { agents, next });
            }
            (Some(true), None) => {
                let mut places = self.registry.subscribed_after(&scope, after.as_ref(), limit + 1);
                let more = cut(&mut places, limit);
                let next = places.last().filter(|_| more).cloned();
                (places, next)
            }
            (Some(false), None) => self.away(after, &scope, limit).await?,
        };
        let named = places.into_iter().map(|(_, agent)| agent).collect();
        let rows = rows(self.store.read(Query::Named(named)).await?)?;
        // Some may have come, gone or been moved meanwhile.
        let inside = rows.into_iter().filter(|row| scope.contains(&row.group));
        let views = inside.map(|row| self.agent_view(row));
        let still = |view: &AgentView| {
            Some(view.connected) == connected && transport.is_none_or(|wanted| view.transport == Some(wanted))
        };
        let agents = views.filter(still).collect();
        Ok(AgentPage { agents, next: next.map(|(group, agent)| place(&group, &agent)) })
    }

    /// Finds agents of a subtree that are connected by a transport, those behind `after`, at most `max`; and where to go
    /// on, if there may be more.
    fn speaking(
        &self,
        transport: Transport,
        mut after: Option<AgentPlace>,
        scope: &GroupPath,
        max: usize,
    ) -> (Vec<AgentPlace>, Option<AgentPlace>) {
        let mut places = Vec::new();
        // In steps, between which others get at the registry.
        for _ in 0..SCAN_MAX / SCAN {
            let most = (max - places.len(), SCAN);
            let (mut found, next) = self.registry.subscribed_by(transport, scope, after.as_ref(), most);
            places.append(&mut found);
            if next.is_none() || places.len() == max {
                return (places, next);
            }
            after = next;
        }
        (places, after)
    }

    /// Finds agents of a subtree that are not connected, those behind `after`, at most `max`; and where to go on, if
    /// there may be more.
    async fn away(
        &self,
        mut after: Option<AgentPlace>,
        scope: &GroupPath,
        max: usize,
    ) -> Result<(Vec<AgentPlace>, Option<AgentPlace>), EngineError> {
        let mut away = Vec::new();
        let mut passed = 0;
        loop {
            let query = Query::Places { after: after.clone(), scope: scope.clone(), max: SCAN };
            let Rows::Places(places) = self.store.read(query).await? else {
                return Err(wrong_rows("places of agents").into());
            };
            let last = places.len() < SCAN;
            let connected = self.registry.are_subscribed(places.iter().map(|(_, agent)| agent));
            for (place, connected) in places.into_iter().zip(connected) {
                if away.len() == max || passed == SCAN_MAX {
                    return Ok((away, after));
                }
                if connected {
                    passed += 1;
                } else {
                    away.push(place.clone());
                }
                after = Some(place);
            }
            if last {
                return Ok((away, None));
            }
        }
    }

    /// Shows one agent.
    pub async fn agent(&self, caller: &Caller, id: AgentId) -> Result<AgentView, EngineError> {
        let who = self.admit(caller, Role::Viewer)?;
        match self.agent_row(&id).await? {
            Some(row) if who.scope.contains(&row.group) => Ok(self.agent_view(row)),
            Some(_) | None => Err(EngineError::UnknownAgent(id)),
        }
    }

    /// Takes an agent into another group: commands for groups that it leaves are not meant for it any more.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn move_agent(
        &self,
        caller: &Caller,
        id: AgentId,
        to: GroupPath,
    ) -> Result<AgentView, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&to)?;
        let op = AdminOp::MoveAgent { agent: id.clone(), to: to.clone(), scope: who.scope };
        let outcome = self.write_one(op, caller.actor()).await?;
        let AdminOutcome::Moved { from, changes } = outcome else {
            return Err(refusal(outcome, About::Agent(id)));
        };
        // What it leaves behind is told where it was; from then on all happens where it is.
        self.tell_at(&changes, &from);
        // First: who comes in between is looked at again, or is in the registry before it is changed there.
        self.note_revocation();
        self.registry.set_group(&id, &to);
        self.power_moved(&id, &to).await?;
        if let Some((mailbox, _)) = self.registry.find(&id) {
            // An older command of a slot may have become the newest.
            mailbox.inbox_changed();
        }
        tracing::info!(agent = %id, %from, %to, by = %caller.name, "agent moved");
        self.agent(caller, id).await
    }

    /// Removes an agent: its secret opens nothing any more, its commands end, its connection is closed.
    ///
    /// Runs to its end once it is begun: do not drop the future.
    pub async fn revoke_agent(&self, caller: &Caller, id: AgentId) -> Result<(), EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let op = AdminOp::RevokeAgent { agent: id.clone(), scope: who.scope };
        let outcome = self.write_one(op, caller.actor()).await?;
        let AdminOutcome::Revoked { changes } = outcome else {
            return Err(refusal(outcome, About::Agent(id)));
        };
        self.note_revocation();
        self.tell(&changes);
        self.registry.evict(&id, &End::new(ReasonCode::NotAuthorized, "the agent was revoked"));
        tracing::info!(agent = %id, by = %caller.name, "agent revoked");
        Ok(())
    }

    fn agent_view(&self, row: AgentRow) -> AgentView {
        let present = self.registry.find(&row.agent);
        AgentView {
            // Not subscribed is offline: nothing would reach it.
            connected: present.as_ref().is_some_and(|(_, epoch)| epoch.is_some()),
            transport: present.as_ref().map(|(mailbox, _)| mailbox.transport()),
            address: present.map(|(mailbox, _)| mailbox.address().to_string()),
            agent: row.agent,
            group: row.group,
            created: row.created.whole_secs(),
            last_seen: row.last_seen.map(Timestamp::whole_secs),
            facts: row.facts,
            pending: row.pending,
        }
    }
}

/// Writes where a page of agents ended, for the next one to begin behind.
pub(super) fn place(group: &GroupPath, agent: &AgentId) -> String {
    format!("{group}:{agent}")
}

/// Reads what [`place`] wrote.
pub(crate) fn read_place(text: &str) -> Result<(GroupPath, AgentId), EngineError> {
    let read = || {
        let (group, agent) = text.split_once(':')?;
        Some((group.parse().ok()?, agent.parse().ok()?))
    };
    read().ok_or_else(|| EngineError::Invalid("`after` is not what a page gave as `next`".to_owned()))
}

pub(super) fn rows(rows: Rows) -> Result<Vec<AgentRow>, StoreError> {
    let Rows::Agents(rows) = rows else { return Err(wrong_rows("agents")) };
    Ok(rows)
}
