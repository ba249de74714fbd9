//! Switching endpoints on: `power` commands are carried out here, by asking neighbours that are awake.
//!
//! `desk` knows which attempts run and takes to them what concerns them; `queue` begins them, at most
//! [`ATTEMPTS_MAX`] at a time; `carry` drives one, that is, one [`PowerAttempt`](wakemq_core::power::PowerAttempt)
//! over the store, the registry and the network. `order` gives commands to agents on an operator's behalf, `relays`
//! knows who is awake where, `candidates` finds those who may send for an endpoint, `sender` sends from the broker
//! itself, `wol` does both for machines without an agent.

mod candidates;
mod carry;
mod course;
mod desk;
mod order;
mod patient;
mod queue;
mod relays;
mod sender;
mod wol;

use std::sync::atomic::{AtomicBool, Ordering};

use wakemq_core::power::{Heard, Place, PowerSettings};
use wakemq_protocol::{
    AgentId, EventBody, Facts, GroupPath, Kind, Outcome, PowerNews, PowerStep, Timestamp, Update,
};

use super::Engine;
use super::quiet::Quiet;
use crate::clock::Clock;
use crate::config::Wol;
use crate::registry::Mailbox;
use crate::store::{Change, StoreError};
use desk::Desk;
use relays::{Fall, Relays};
use sender::Sender;

pub(crate) use queue::PowerQueue;

/// How many attempts run at a time; more commands wait in the store, in order of acceptance.
pub const ATTEMPTS_MAX: usize = 500;
/// Of how many subnets warnings tell within ten minutes: more than that have one cause.
const WARNED_MAX: usize = 1_000;
/// What an agent takes to connect, in milliseconds, in addition to the time over which agents spread when they come
/// back.
const CONNECT_MS: u64 = 10_000;

/// What is needed for switching endpoints on.
pub(super) struct Power {
    settings: PowerSettings,
    sender: Sender,
    relays: Relays,
    desk: Desk,
    /// When this process began, in milliseconds since 1970: every connection is younger.
    began_ms: u64,
    /// Which subnets were told of lately, and whether they had a relay left.
    warned: Quiet<(u64, bool)>,
    /// The broker stops: that agents leave tells nothing.
    stopping: AtomicBool,
}

impl Power {
    /// Makes it of the configuration, and of the time within which agents come back after a restart.
    pub(super) fn new(wol: &Wol, return_secs: u32, clock: &Clock) -> Self {
        let sender = Sender::new(wol);
        let settings = PowerSettings {
            timeout_ms: u64::from(wol.timeout_secs) * 1000,
            return_ms: u64::from(return_secs) * 1000 + CONNECT_MS,
            ports: wol.ports.clone(),
            broker_sends: sender.has_addresses(),
        };
        Self {
            settings,
            sender,
            relays: Relays::default(),
            desk: Desk::default(),
            began_ms: ms(clock.now()),
            warned: Quiet::new(WARNED_MAX),
            stopping: AtomicBool::new(false),
        }
    }
}

impl Engine {
    /// Notes that the broker stops: that its agents leave from now on tells nothing of them.
    pub fn stops(&self) {
        self.power.stopping.store(true, Ordering::Relaxed);
    }

    /// Tells whether an agent is connected and subscribed.
    pub(super) fn is_subscribed(&self, agent: &AgentId) -> bool {
        self.registry.find(agent).is_some_and(|(_, epoch)| epoch.is_some())
    }

    /// Returns how many attempts run.
    pub(super) fn power_attempts(&self) -> usize {
        self.power.desk.running()
    }

    /// Begins with `power` commands of an agent, as soon as there is room.
    pub(super) fn power_submitted(&self, agent: &AgentId) {
        self.power.desk.poke(agent);
    }

    /// Looks for all that are pending: some may have been passed over while the store failed.
    pub(super) fn power_look_again(&self) {
        self.power.desk.scan();
    }

    /// Takes a change of a command's state to the attempt that it concerns.
    pub(super) fn power_told(&self, kind: &Kind, update: &Update) {
        match kind {
            Kind::Power => self.power.desk.changed(update.id, &update.outcome),
            Kind::Wake | Kind::Relay => self.power.desk.errand_told(update.id, &update.outcome),
            Kind::Other(_) => {}
        }
    }

    /// Tells of a step on the way of a `power` command.
    pub(super) fn power_event(&self, change: &Change, group: GroupPath, update: &Update, step: &PowerStep) {
        let Outcome { agent, .. } = &update.outcome;
        self.publish(group, || EventBody::Power {
            news: PowerNews::Step {
                agent: agent.clone(),
                command: update.id,
                by: change.by.clone(),
                step: step.clone(),
            },
        });
    }

    /// Notes that an agent's CONNECT has come.
    pub(super) fn power_connected(&self, agent: &AgentId, mailbox: &Mailbox) {
        self.power.desk.connected(agent, mailbox.id(), ms(self.clock.now()));
    }

    /// Takes what an agent tells of itself to the attempt that waits for it, and notes whether it relays.
    pub(super) fn power_heard(&self, agent: &AgentId, group: &GroupPath, mailbox: &Mailbox, facts: &Facts) {
        self.power.desk.heard(agent, mailbox.id(), ms(self.clock.now()), |connected_ms| Heard {
            connected_ms,
            boot_id: facts.boot_id.clone(),
            resume_id: facts.resume_id.clone(),
            since_boot: facts.since_boot,
            since_resume: facts.since_resume,
        });
        let place = Place {
            agent: agent.clone(),
            group: group.clone(),
            source: Some(mailbox.address().ip()),
            interfaces: facts.interfaces.clone(),
        };
        self.warn(self.power.relays.tells(&place, facts.relay, mailbox.id()));
    }

    /// Notes that an agent's connection is not one of a relay any more, and which one has taken over if one has.
    pub(super) fn power_left(&self, agent: &AgentId, mailbox: &Mailbox, successor: Option<&Mailbox>) {
        let falls = self.power.relays.leaves(agent, mailbox.id(), successor.map(Mailbox::id));
        self.warn(falls);
    }

    /// Notes that an agent has another group: if it relays, then for others from now on.
    pub(super) async fn power_moved(&self, agent: &AgentId, group: &GroupPath) -> Result<(), StoreError> {
        let Some((mailbox, _)) = self.registry.find(agent) else { return Ok(()) };
        if !self.power.relays.knows(agent) {
            return Ok(());
        }
        if let Some(facts) = self.agent_row(agent).await?.and_then(|row| row.facts) {
            let source = Some(mailbox.address().ip());
            let place =
                Place { agent: agent.clone(), group: group.clone(), source, interfaces: facts.interfaces };
            self.warn(self.power.relays.tells(&place, facts.relay, mailbox.id()));
        }
        Ok(())
    }

    /// Tells that a subnet has one awake relay left, or none.
    fn warn(&self, falls: Vec<Fall>) {
        if falls.is_empty() || self.power.stopping.load(Ordering::Relaxed) {
            return;
        }
        let now_ms = self.clock.mono_ms();
        for Fall { subnet, network, gone, last } in falls {
            if !self.power.warned.is_due((subnet, last.is_some()), now_ms) {
                continue;
            }
            let agent = last.as_ref().unwrap_or(&gone).clone();
            let group = self.registry.group_of(&agent).unwrap_or_else(GroupPath::root);
            let keep =
                "keep another endpoint with an agent awake there, or give the broker addresses in [wol]";
            let detail = match &last {
                Some(last) => format!(
                    "{last} is the last awake relay on {network}: if it goes too, no neighbour can switch \
                     endpoints on there; {keep}"
                ),
                None => format!(
                    "{gone} was the last awake relay on {network}: no neighbour can switch endpoints on there \
                     now; {keep}"
                ),
            };
            tracing::warn!(%agent, %network, "{detail}");
            self.publish(group, || EventBody::Power {
                news: match last {
                    Some(_) => PowerNews::LastRelay { agent, subnet: network, detail },
                    None => PowerNews::NoRelayLeft { agent, subnet: network, detail },
                },
            });
        }
    }
}

/// Returns a time in milliseconds since 1970, as state machines have it.
fn ms(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ms()).unwrap_or(0)
}
