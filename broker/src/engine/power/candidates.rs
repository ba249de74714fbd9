//! Who may send for an endpoint now, and whether it can be switched on.

use wakemq_core::power::{Awake, Neighbour, Place, PowerCase, Unfit, explain, subnet_keys};
use wakemq_protocol::http::PowerView;
use wakemq_protocol::{AgentId, GroupPath, Role};

use crate::engine::{Caller, Engine, EngineError};
use crate::registry::Mailbox;
use crate::store::{AgentRow, StoreError};

/// How many awake relays of a subnet are looked at: more than all rounds of an attempt ask.
const LOOKED_AT: usize = 24;
/// How many agents are looked at to say why they may not send.
const UNFIT_MAX: usize = 24;

impl Engine {
    /// Finds those who may send for an endpoint now, on behalf of an operator that is limited to `scope`.
    pub(super) async fn candidates(
        &self,
        sleeper: &AgentRow,
        scope: &GroupPath,
    ) -> Result<Vec<Neighbour>, StoreError> {
        let place = place_of(sleeper);
        let fits = |agent: &AgentId| {
            *agent != sleeper.agent
                && self.is_subscribed(agent)
                && self.registry.group_of(agent).is_some_and(|group| scope.contains(&group))
        };
        let near = self.power.relays.near(&subnet_keys(&place), LOOKED_AT, fits);
        let mut found = Vec::with_capacity(near.len());
        for agent in near {
            let Some(awake) = self.awake(&agent).await? else { continue };
            found.extend(Neighbour::judge(&place, scope, &awake).ok());
        }
        Ok(found)
    }

    /// Says whether an endpoint can be switched on now, how, and if not why and what to do.
    pub async fn explain_power(&self, caller: &Caller, id: AgentId) -> Result<PowerView, EngineError> {
        let who = self.admit(caller, Role::Viewer)?;
        let row = self.agent_row(&id).await?.filter(|row| who.scope.contains(&row.group));
        let row = row.ok_or(EngineError::UnknownAgent(id))?;
        let neighbours = self.candidates(&row, &who.scope).await?;
        let unfit = if neighbours.is_empty() { self.unfit(&row, &who.scope).await? } else { Vec::new() };
        Ok(explain(&PowerCase {
            place: &place_of(&row),
            connected: self.is_subscribed(&row.agent),
            last_seen: row.last_seen,
            now: self.clock.now(),
            neighbours: &neighbours,
            unfit: &unfit,
            broker_addresses: &self.power.sender.addresses(),
        }))
    }

    /// Finds agents of the endpoint's own group, as far as the operator may see it, that are awake on a network of
    /// the same number and may not send.
    async fn unfit(
        &self,
        sleeper: &AgentRow,
        scope: &GroupPath,
    ) -> Result<Vec<(AgentId, Unfit)>, StoreError> {
        let place = place_of(sleeper);
        let mut agents: Vec<_> =
            self.registry.connected_in(&sleeper.group).into_iter().map(|(agent, ..)| agent).collect();
        agents.sort();
        let mut unfit = Vec::new();
        for agent in agents.into_iter().take(UNFIT_MAX) {
            let Some(awake) = self.awake(&agent).await? else { continue };
            match Neighbour::judge(&place, scope, &awake) {
                Err(Unfit::Itself | Unfit::OtherSubnet) | Ok(_) => {}
                Err(why) => unfit.push((agent, why)),
            }
        }
        Ok(unfit)
    }

    /// Reads an agent that is connected and subscribed.
    async fn awake(&self, agent: &AgentId) -> Result<Option<Awake>, StoreError> {
        let Some(row) = self.agent_row(agent).await? else { return Ok(None) };
        // Only now, because it may have gone while the row was read.
        let Some((mailbox, Some(_))) = self.registry.find(agent) else { return Ok(None) };
        let relay = row.facts.as_ref().is_some_and(|facts| facts.relay);
        let place = Place { source: Some(source(&mailbox)), ..place_of(&row) };
        Ok(Some(Awake { place, relay }))
    }
}

fn source(mailbox: &Mailbox) -> std::net::IpAddr {
    mailbox.address().ip().to_canonical()
}

/// Returns where an agent is, or was last.
fn place_of(row: &AgentRow) -> Place {
    Place {
        agent: row.agent.clone(),
        group: row.group.clone(),
        source: row.source,
        interfaces: row.facts.as_ref().map(|facts| facts.interfaces.clone()).unwrap_or_default(),
    }
}
