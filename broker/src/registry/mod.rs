//! Who is connected: live connections by agent and by number, each with a mailbox.
//!
//! An agent's entry carries the number of its connection, and only that connection removes it, under the same
//! lock: a connection that was taken over never removes its successor.

mod groups;
mod mailbox;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use groups::{Groups, Node};
use parking_lot::Mutex;
use wakemq_core::{CloneVerdict, Clones, End, Instance, packet::ReasonCode};
use wakemq_protocol::{AgentId, GroupPath, OperatorName, Transport};

use crate::store::Epoch;

pub use mailbox::{ConnectionId, Letter, Mail, Mailbox};

/// Where an agent is in the order of groups, and then of ids.
pub type AgentPlace = (GroupPath, AgentId);

#[derive(Debug)]
struct Present {
    mailbox: Arc<Mailbox>,
    instance: Option<u64>,
    /// Set while the connection is subscribed to its commands.
    epoch: Option<Epoch>,
    group: Arc<Node>,
}

/// The connected agents and their groups, under one lock.
#[derive(Debug, Default)]
struct Agents {
    present: HashMap<AgentId, Present>,
    groups: Groups,
    /// How many there are by each transport.
    by_transport: [usize; Transport::ALL.len()],
}

impl Agents {
    /// Notes under which epoch an agent's connection has claimed its inbox.
    fn subscribe(present: &mut Present, epoch: Option<Epoch>) {
        match (present.epoch.is_some(), epoch.is_some()) {
            (false, true) => present.group.subscribe(),
            (true, false) => present.group.unsubscribe(),
            (true, true) | (false, false) => {}
        }
        present.epoch = epoch;
    }

    /// Takes what is left of an agent's entry out of the counts.
    fn forget(&mut self, agent: &AgentId, mut present: Present) {
        Self::subscribe(&mut present, None);
        self.by_transport[present.mailbox.transport() as usize] -= 1;
        self.groups.leave(present.group, agent);
    }
}

/// What a new connection of an agent meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the agent's connection now; a former one was asked to end.
    Admitted,
    /// The same, and two instances alternate: the identity is cloned.
    Cloned {
        /// The other instance, which was asked to end.
        other: Instance,
    },
    /// The identity is cloned, and has changed hands a moment ago: come back later.
    Wait {
        /// In how many seconds at the earliest.
        secs: u32,
    },
}

/// How much a registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Mailboxes of connections that were let in and have not ended.
    pub mailboxes: usize,
    /// Agents that are connected.
    pub agents: usize,
    /// Operators' connections.
    pub operators: usize,
    /// Polls that are only trials.
    pub trials: usize,
}

/// The live connections of this process.
#[derive(Debug, Default)]
pub struct Registry {
    last_id: AtomicU64,
    connections: Mutex<HashMap<ConnectionId, Arc<Mailbox>>>,
    agents: Mutex<Agents>,
    operators: Mutex<HashMap<(OperatorName, String), Arc<Mailbox>>>,
    /// Polls that only try whether the network bears them.
    trials: Mutex<HashMap<AgentId, Arc<Mailbox>>>,
    clones: Mutex<Clones>,
}

impl Registry {
    /// Opens a mailbox for a new connection, whose peer speaks by that transport.
    pub fn open(&self, address: SocketAddr, transport: Transport) -> Arc<Mailbox> {
        let number = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ConnectionId(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN));
        let mailbox = Arc::new(Mailbox::new(id, address, transport));
        self.connections.lock().insert(id, mailbox.clone());
        mailbox
    }

    /// Closes a mailbox: nothing reaches it any more.
    pub fn close(&self, mailbox: &Mailbox) {
        mailbox.close();
        self.connections.lock().remove(&mailbox.id());
    }

    /// Makes a connection the agent's own; the former one, if there is one, is asked to end.
    pub fn arrive(
        &self,
        agent: &AgentId,
        group: &GroupPath,
        mailbox: &Arc<Mailbox>,
        instance: Option<u64>,
        now_ms: u64,
    ) -> Arrival {
        let mut agents = self.agents.lock();
        let mut arrival = Arrival::Admitted;
        if let Some(former) = agents.present.get(agent) {
            if let (Some(older), Some(newer)) = (former.instance, instance) {
                let older = Instance { id: older, address: former.mailbox.address().ip() };
                let newer = Instance { id: newer, address: mailbox.address().ip() };
                match self.clones.lock().judge(agent, &older, &newer, now_ms) {
                    CloneVerdict::Fine => {}
                    CloneVerdict::Cloned { other } => arrival = Arrival::Cloned { other },
                    CloneVerdict::Wait { secs } => return Arrival::Wait { secs },
                }
            }
            let text = "another connection of this agent took over";
            former.mailbox.evict(End::new(ReasonCode::SessionTakenOver, text));
        }
        if let Some(former) = agents.present.remove(agent) {
            agents.forget(agent, former);
        }
        let group = agents.groups.enter(group, agent);
        agents.by_transport[mailbox.transport() as usize] += 1;
        let present = Present { mailbox: mailbox.clone(), instance, epoch: None, group };
        agents.present.insert(agent.clone(), present);
        arrival
    }

    /// Notes under which epoch the agent's connection has claimed its inbox, or that it has no more. Returns
    /// `false`, and notes nothing, if the connection is not the agent's any more.
    pub fn set_epoch(&self, agent: &AgentId, id: ConnectionId, epoch: Option<Epoch>) -> bool {
        match self.agents.lock().present.get_mut(agent) {
            Some(present) if present.mailbox.id() == id => {
                Agents::subscribe(present, epoch);
                true
            }
            _ => false,
        }
    }

    /// Notes that an agent has another group now; one that is not connected is passed over.
    pub fn set_group(&self, agent: &AgentId, group: &GroupPath) {
        let mut agents = self.agents.lock();
        let Agents { present, groups, .. } = &mut *agents;
        let Some(present) = present.get_mut(agent).filter(|present| present.group.path() != group) else {
            return;
        };
        let former = std::mem::replace(&mut present.group, groups.enter(group, agent));
        if present.epoch.is_some() {
            former.unsubscribe();
            present.group.subscribe();
        }
        groups.leave(former, agent);
    }

    /// Removes the agent's entry if it still is that connection's.
    pub fn leave(&self, agent: &AgentId, id: ConnectionId) {
        let mut agents = self.agents.lock();
        if agents.present.get(agent).is_some_and(|present| present.mailbox.id() == id)
            && let Some(present) = agents.present.remove(agent)
        {
            agents.forget(agent, present);
        }
    }

    /// Returns the mailbox of a connected agent, and its epoch if it is subscribed.
    pub fn find(&self, agent: &AgentId) -> Option<(Arc<Mailbox>, Option<Epoch>)> {
        self.agents.lock().present.get(agent).map(|present| (present.mailbox.clone(), present.epoch))
    }

    /// Returns the present group of a connected agent.
    pub fn group_of(&self, agent: &AgentId) -> Option<GroupPath> {
        self.agents.lock().present.get(agent).map(|present| present.group.path().clone())
    }

    /// Returns the connected agents of a subtree, each with its mailbox, and its epoch if it is subscribed.
    pub fn connected_in(&self, group: &GroupPath) -> Vec<(AgentId, Arc<Mailbox>, Option<Epoch>)> {
        self.each_in(group, |agent, present| (agent.clone(), present.mailbox.clone(), present.epoch))
    }

    /// Returns how many agents of a subtree are connected and subscribed.
    pub fn subscribed_in(&self, group: &GroupPath) -> u64 {
        self.agents.lock().groups.subscribed_in(group)
    }

    /// Says to every connected agent of a subtree that its inbox may hold something new.
    pub fn inboxes_changed_in(&self, group: &GroupPath) {
        let mailboxes = self.each_in(group, |_, present| present.mailbox.clone());
        mailboxes.iter().for_each(|mailbox| mailbox.inbox_changed());
    }

    /// Returns where the subscribed agents of a subtree are, by group and then by id: those behind `after`, at most
    /// `max`.
    pub fn subscribed_after(
        &self,
        scope: &GroupPath,
        after: Option<&(GroupPath, AgentId)>,
        max: usize,
    ) -> Vec<(GroupPath, AgentId)> {
        let agents = self.agents.lock();
        let Agents { present, groups, .. } = &*agents;
        let is_subscribed =
            |agent: &AgentId| present.get(agent).is_some_and(|present| present.epoch.is_some());
        let inside = groups.agents_in(scope, after).filter(|(_, agent)| is_subscribed(agent));
        inside.take(max).map(|(group, agent)| (group.clone(), agent.clone())).collect()
    }

    /// Returns where those subscribed agents of a subtree are that speak by a transport, by group and then by id:
    /// those behind `after`, at most `max`, found by looking at no more than `looks_max`; and where to go on, if there
    /// may be more.
    pub fn subscribed_by(
        &self,
        transport: Transport,
        scope: &GroupPath,
        after: Option<&(GroupPath, AgentId)>,
        (max, looks_max): (usize, usize),
    ) -> (Vec<AgentPlace>, Option<AgentPlace>) {
        let agents = self.agents.lock();
        let Agents { present, groups, .. } = &*agents;
        let mut found = Vec::new();
        let mut looked = 0;
        let mut inside = groups.agents_in(scope, after).peekable();
        while let Some((group, agent)) = inside.next() {
            looked += 1;
            let wanted =
                |present: &Present| present.epoch.is_some() && present.mailbox.transport() == transport;
            if present.get(agent).is_some_and(wanted) {
                found.push((group.clone(), agent.clone()));
            }
            if found.len() == max || looked == looks_max {
                let next = inside.peek().map(|_| (group.clone(), agent.clone()));
                return (found, next);
            }
        }
        (found, None)
    }

    /// Tells which of the agents are subscribed.
    pub fn are_subscribed<'a>(&self, asked: impl Iterator<Item = &'a AgentId>) -> Vec<bool> {
        let agents = self.agents.lock();
        asked.map(|agent| agents.present.get(agent).is_some_and(|present| present.epoch.is_some())).collect()
    }

    fn each_in<T>(&self, group: &GroupPath, take: impl Fn(&AgentId, &Present) -> T) -> Vec<T> {
        let agents = self.agents.lock();
        let Agents { present, groups, .. } = &*agents;
        if group.is_root() {
            return present.iter().map(|(agent, present)| take(agent, present)).collect();
        }
        let inside = groups.agents_in(group, None);
        inside.filter_map(|(_, agent)| Some(take(agent, present.get(agent)?))).collect()
    }

    /// Enters an operator's connection; a former one with the same client id is asked to end (MQTT 5 §3.1.4).
    pub fn operator_arrives(&self, name: &OperatorName, client_id: &str, mailbox: &Arc<Mailbox>) {
        let key = (name.clone(), client_id.to_owned());
        if let Some(former) = self.operators.lock().insert(key, mailbox.clone()) {
            let text = "another connection with this client id took over";
            former.evict(End::new(ReasonCode::SessionTakenOver, text));
        }
    }

    /// Removes an operator's entry if it still is that connection's.
    pub fn operator_leaves(&self, name: &OperatorName, client_id: &str, id: ConnectionId) {
        let key = (name.clone(), client_id.to_owned());
        let mut operators = self.operators.lock();
        if operators.get(&key).is_some_and(|mailbox| mailbox.id() == id) {
            operators.remove(&key);
        }
    }

    /// Returns the connections of an operator.
    pub fn operators_of(&self, name: &OperatorName) -> Vec<Arc<Mailbox>> {
        let operators = self.operators.lock();
        operators.iter().filter(|((of, _), _)| of == name).map(|(_, mailbox)| mailbox.clone()).collect()
    }

    /// Enters a poll that is only a trial; a former one of the agent is asked to end.
    pub fn trial_arrives(&self, agent: &AgentId, mailbox: &Arc<Mailbox>) {
        if let Some(former) = self.trials.lock().insert(agent.clone(), mailbox.clone()) {
            former.evict(End::new(ReasonCode::SessionTakenOver, "another trial of this agent took over"));
        }
    }

    /// Removes a trial if it still is that mailbox's.
    pub fn trial_leaves(&self, agent: &AgentId, id: ConnectionId) {
        let mut trials = self.trials.lock();
        if trials.get(agent).is_some_and(|mailbox| mailbox.id() == id) {
            trials.remove(agent);
        }
    }

    /// Asks all that is an agent's to end.
    pub fn evict(&self, agent: &AgentId, end: &End) {
        let trial = self.trials.lock().get(agent).cloned();
        let present = self.find(agent).map(|(mailbox, _)| mailbox);
        present.into_iter().chain(trial).for_each(|mailbox| mailbox.evict(end.clone()));
    }

    /// Says to every connected agent that its inbox may hold something new.
    pub fn inboxes_changed(&self) {
        self.inboxes_changed_in(&GroupPath::root());
    }

    /// Tells connections that their timers have fired; those that have ended meanwhile are passed over.
    pub fn timers_fired(&self, ids: &[ConnectionId]) {
        let mailboxes: Vec<_> = {
            let connections = self.connections.lock();
            ids.iter().filter_map(|id| connections.get(id).cloned()).collect()
        };
        mailboxes.iter().for_each(|mailbox| mailbox.timer_fired());
    }

    /// Asks every connection to end.
    pub fn evict_all(&self, end: &End) {
        let mailboxes: Vec<_> = self.connections.lock().values().cloned().collect();
        mailboxes.iter().for_each(|mailbox| mailbox.evict(end.clone()));
    }

    /// Counts what is held for connections, so that a test sees when something is left of one.
    pub fn live(&self) -> Live {
        Live {
            mailboxes: self.connections.lock().len(),
            agents: self.agents.lock().present.len(),
            operators: self.operators.lock().len(),
            trials: self.trials.lock().len(),
        }
    }

    /// Returns how many agents are connected.
    pub fn agents_connected(&self) -> usize {
        self.agents.lock().present.len()
    }

    /// Returns how many agents are connected by each transport.
    pub fn agents_by_transport(&self) -> [(Transport, usize); Transport::ALL.len()] {
        let by_transport = self.agents.lock().by_transport;
        Transport::ALL.map(|transport| (transport, by_transport[transport as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 1))
    }

    #[test]
    fn a_connection_that_was_taken_over_does_not_remove_its_successor() {
        let registry = Registry::default();
        let agent: AgentId = "a".parse().unwrap();
        let (old, new) =
            (registry.open(address(1), Transport::Mqtt), registry.open(address(2), Transport::Poll));
        let group = GroupPath::root();
        assert_eq!(registry.arrive(&agent, &group, &old, Some(1), 0), Arrival::Admitted);
        assert_eq!(registry.arrive(&agent, &group, &new, Some(2), 1), Arrival::Admitted);
        assert!(!registry.set_epoch(&agent, old.id(), Some(Epoch(1))));
        registry.leave(&agent, old.id());
        assert_eq!(registry.find(&agent).map(|(mailbox, _)| mailbox.id()), Some(new.id()));
        registry.leave(&agent, new.id());
        assert!(registry.find(&agent).is_none());
    }

    #[test]
    fn agents_are_found_and_counted_by_their_present_group() {
        let registry = Registry::default();
        let path = |text: &str| text.parse::<GroupPath>().unwrap();
        let names = |group: &str| {
            let mut names: Vec<_> =
                registry.connected_in(&path(group)).iter().map(|(agent, ..)| agent.to_string()).collect();
            names.sort();
            names.join(" ")
        };
        let mut mailboxes = Vec::new();
        for (n, (agent, group)) in [("one", "a/b"), ("two", "a-b"), ("three", "a")].into_iter().enumerate() {
            let (agent, mailbox) = (agent.parse().unwrap(), registry.open(address(1), Transport::Mqtt));
            registry.arrive(&agent, &path(group), &mailbox, None, 0);
            registry.set_epoch(&agent, mailbox.id(), Some(Epoch(n as u64)));
            mailboxes.push((agent, mailbox));
        }
        assert_eq!(
            (names(""), names("a"), names("a/b")),
            ("one three two".into(), "one three".into(), "one".into())
        );
        assert_eq!((registry.subscribed_in(&path("a")), registry.subscribed_in(&path("c"))), (2, 0));

        let (one, mailbox) = &mailboxes[0];
        registry.set_group(one, &path("c/d"));
        assert_eq!(registry.group_of(one), Some(path("c/d")));
        assert_eq!((names("a"), names("c"), names("a/b")), ("three".into(), "one".into(), String::new()));
        assert_eq!((registry.subscribed_in(&path("a")), registry.subscribed_in(&path("c"))), (1, 1));

        // A newer connection is not subscribed yet.
        let newer = registry.open(address(2), Transport::Poll);
        registry.arrive(one, &path("c"), &newer, None, 1);
        assert_eq!((registry.subscribed_in(&path("c")), names("c/d")), (0, String::new()));
        registry.leave(one, mailbox.id());
        assert_eq!(names("c"), "one", "that connection was not the agent's any more");
        registry.leave(one, newer.id());
        assert_eq!(names("c"), "");
    }
}
