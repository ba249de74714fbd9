//! Who carries what: the part of the truth that lives in memory, because it ends with the connections.
//!
//! A reader may see a state that the writer is just about to replace. So the writer, while it decides, marks
//! every command that it changes as *busy*, under the lock of the agent's shard; the mark stays until the change
//! is committed and visible, or has failed. Whoever hands commands out takes the lock **first** and the snapshot
//! second, and gives nothing that is busy: either the mark is still there, or the snapshot has the change.
//!
//! A command for a group ends as a whole, without the writer going through the shards of its agents. Those ends have
//! a mark of their own, behind a lock that everybody who hands commands out shares from before the snapshot until it
//! is noted what is carried; it is taken after the lock of a shard, never before.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use wakemq_protocol::{CommandId, Slot, Timestamp};

use super::{Epoch, Lane};

const SHARDS: usize = 64;
/// No timestamp is negative.
const NOT_SENT: i64 = -1;

/// All claims, by agent key, in shards so that agents do not wait for each other.
pub(super) struct Claims {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    epochs: AtomicU64,
    /// Commands for groups that the running batch ends.
    ending: RwLock<HashSet<CommandId>>,
}

/// The claims of some of the agents.
#[derive(Default)]
pub(super) struct Shard {
    hasher: RandomState,
    held: HashMap<Box<str>, Held>,
    /// The engine's claims: only an agent that is being switched on has one.
    power: HashMap<Box<str>, Held>,
    /// Commands that the running batch changes, by agent.
    busy: HashMap<Box<str>, HashSet<CommandId>>,
}

struct Held {
    epoch: Epoch,
    carried: Vec<Carried>,
}

/// A command that a connection, or the engine, carries; small, since a wake of a group makes one for each agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) id: CommandId,
    /// When it was sent, in milliseconds since 1970; negative if it was not.
    sent_ms: i64,
    /// The slot that gives nothing else meanwhile.
    slot: Option<SlotMark>,
    /// It is the agent's own, and in no inbox.
    pub(super) live: bool,
}

/// Stands for a slot, by a hash that is another in each process: where two slots of an agent had the same, one would
/// wait for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SlotMark(NonZeroU32);

impl Carried {
    /// A command that is carried, since when it is `sent`: a connection sends what it carries at once; the engine has
    /// to find a way first.
    pub(super) fn new(id: CommandId, sent: Option<Timestamp>) -> Self {
        Self { id, sent_ms: sent.map_or(NOT_SENT, Timestamp::unix_ms), slot: None, live: false }
    }

    /// The same for one that is the agent's own, and in no inbox.
    pub(super) fn in_no_inbox(self) -> Self {
        Self { live: true, ..self }
    }

    /// Returns since when it is on its way; `None` if it is not.
    pub(super) fn sent(&self) -> Option<Timestamp> {
        (self.sent_ms >= 0).then(|| Timestamp::from_unix_ms(self.sent_ms))
    }
}

/// What the running batch did, to be completed or undone when it is known whether it was committed.
#[derive(Debug)]
pub(super) enum Effect {
    /// A command was changed; `over` tells that it is not pending any more.
    Changed { agent_key: String, id: CommandId, over: bool },
    /// A command is carried from its acceptance on.
    Carried { agent_key: String, id: CommandId },
    /// A command that the engine carries is on its way.
    Sent { agent_key: String, id: CommandId },
    /// A command for a group was changed as a whole.
    Ending { id: CommandId },
    /// The agent was revoked.
    Revoked { agent_key: String },
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            epochs: AtomicU64::new(0),
            ending: RwLock::default(),
        }
    }
}

impl Claims {
    /// Locks the claims of an agent: always before a snapshot is taken, never while one is held.
    pub(super) fn shard(&self, agent_key: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(agent_key);
        self.shards[(hash % SHARDS as u64) as usize].lock()
    }

    /// Gives a claim to a new connection, or to the engine; returns its epoch and what the former one carried.
    pub(super) fn take_over(&self, agent_key: &str, lane: Lane) -> (Epoch, Vec<Carried>) {
        let mut shard = self.shard(agent_key);
        // Under the lock, so that of two claims the one that holds in the end has the higher epoch.
        let epoch = Epoch(self.epochs.fetch_add(1, Ordering::Relaxed) + 1);
        let former = shard.lane(lane).insert(agent_key.into(), Held { epoch, carried: Vec::new() });
        (epoch, former.map(|held| held.carried).unwrap_or_default())
    }

    /// Ends a claim; returns what it carried, or `None` if the epoch is stale.
    pub(super) fn give_up(&self, agent_key: &str, epoch: Epoch) -> Option<Vec<Carried>> {
        let mut shard = self.shard(agent_key);
        let lane = shard.lane_of(agent_key, epoch)?;
        shard.lane(lane).remove(agent_key).map(|held| held.carried)
    }

    /// Takes one command from what an epoch carries; `None` if the epoch is stale, or does not carry it.
    pub(super) fn let_go(&self, agent_key: &str, epoch: Epoch, id: CommandId) -> Option<Carried> {
        let mut shard = self.shard(agent_key);
        let lane = shard.lane_of(agent_key, epoch)?;
        let carried = shard.carried(agent_key, lane).iter().find(|carried| carried.id == id)?.clone();
        shard.drop_carried(agent_key, id);
        Some(carried)
    }

    /// Keeps commands for groups from ending while some are handed out; taken after a shard.
    pub(super) fn ending(&self) -> RwLockReadGuard<'_, HashSet<CommandId>> {
        self.ending.read()
    }

    /// Marks a command for a group as changed by the running batch: nobody begins to carry it.
    pub(super) fn mark_ending(&self, id: CommandId) {
        self.ending.write().insert(id);
    }

    /// Counts the connections that carry a command for a group; no shard may be locked by the caller.
    pub(super) fn carriers(&self, id: CommandId) -> u64 {
        let carriers = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.held.values().filter(|held| held.carried.iter().any(|carried| carried.id == id)).count()
        };
        self.shards.iter().map(carriers).sum::<usize>() as u64
    }

    /// Completes, or undoes, what a batch did.
    pub(super) fn resolve(&self, effects: Vec<Effect>, committed: bool) {
        for effect in effects {
            match effect {
                Effect::Changed { agent_key, id, over } => {
                    let mut shard = self.shard(&agent_key);
                    shard.unmark_busy(&agent_key, id);
                    if committed && over {
                        shard.drop_carried(&agent_key, id);
                    }
                }
                Effect::Carried { agent_key, id } if !committed => {
                    self.shard(&agent_key).drop_carried(&agent_key, id)
                }
                Effect::Sent { agent_key, id } if !committed => {
                    self.shard(&agent_key).set_sent(&agent_key, id, None)
                }
                Effect::Revoked { agent_key } if committed => {
                    let mut shard = self.shard(&agent_key);
                    shard.held.remove(&*agent_key);
                    shard.power.remove(&*agent_key);
                }
                Effect::Ending { id } => {
                    self.ending.write().remove(&id);
                }
                Effect::Carried { .. } | Effect::Sent { .. } | Effect::Revoked { .. } => {}
            }
        }
    }
}

impl Shard {
    fn lane(&mut self, lane: Lane) -> &mut HashMap<Box<str>, Held> {
        match lane {
            Lane::Agent => &mut self.held,
            Lane::Power => &mut self.power,
        }
    }

    fn held(&self, agent_key: &str, lane: Lane) -> Option<&Held> {
        match lane {
            Lane::Agent => self.held.get(agent_key),
            Lane::Power => self.power.get(agent_key),
        }
    }

    /// Returns the newest epoch of an agent's claim.
    pub(super) fn epoch(&self, agent_key: &str, lane: Lane) -> Option<Epoch> {
        self.held(agent_key, lane).map(|held| held.epoch)
    }

    /// Returns the lane of which an epoch is the newest; `None` if it is stale.
    pub(super) fn lane_of(&self, agent_key: &str, epoch: Epoch) -> Option<Lane> {
        [Lane::Agent, Lane::Power].into_iter().find(|&lane| self.epoch(agent_key, lane) == Some(epoch))
    }

    /// Returns what is carried in a lane.
    pub(super) fn carried(&self, agent_key: &str, lane: Lane) -> &[Carried] {
        self.held(agent_key, lane).map_or(&[], |held| &held.carried)
    }

    fn find_carried(&self, agent_key: &str, id: CommandId) -> Option<&Carried> {
        let lanes = [Lane::Agent, Lane::Power].into_iter();
        lanes.flat_map(|lane| self.carried(agent_key, lane)).find(|carried| carried.id == id)
    }

    /// Tells whether a command is carried: nothing else ends it meanwhile.
    pub(super) fn is_carried(&self, agent_key: &str, id: CommandId) -> bool {
        self.find_carried(agent_key, id).is_some()
    }

    /// Returns since when a command is on its way; `None` if it is not.
    pub(super) fn sent_since(&self, agent_key: &str, id: CommandId) -> Option<Timestamp> {
        self.find_carried(agent_key, id).and_then(Carried::sent)
    }

    /// Notes since when a command is on its way.
    pub(super) fn set_sent(&mut self, agent_key: &str, id: CommandId, sent: Option<Timestamp>) {
        let carried = self.power.get_mut(agent_key).map(|held| held.carried.iter_mut());
        if let Some(carried) = carried.into_iter().flatten().find(|carried| carried.id == id) {
            carried.sent_ms = sent.map_or(NOT_SENT, Timestamp::unix_ms);
        }
    }

    /// Counts the commands that are in no inbox and that the agent's connection carries.
    pub(super) fn live_count(&self, agent_key: &str) -> usize {
        self.carried(agent_key, Lane::Agent).iter().filter(|carried| carried.live).count()
    }

    /// Notes that a command is carried, and which slot gives nothing else meanwhile.
    pub(super) fn carry(&mut self, agent_key: &str, lane: Lane, carried: Carried, slot: Option<&Slot>) {
        let slot = slot.map(|slot| self.mark(slot));
        if let Some(held) = self.lane(lane).get_mut(agent_key) {
            // One is carried by each of very many; more than a few by almost none.
            if held.carried.is_empty() {
                held.carried.reserve_exact(1);
            }
            held.carried.push(Carried { slot, ..carried });
        }
    }

    /// Tells whether a command of a slot is carried.
    pub(super) fn is_slot_carried(&self, agent_key: &str, lane: Lane, slot: &Slot) -> bool {
        let mark = self.mark(slot);
        self.carried(agent_key, lane).iter().any(|carried| carried.slot == Some(mark))
    }

    fn mark(&self, slot: &Slot) -> SlotMark {
        // Any 32 bits are as good as others.
        let hash = self.hasher.hash_one(slot) as u32;
        SlotMark(NonZeroU32::new(hash).unwrap_or(NonZeroU32::MIN))
    }

    /// Tells whether the running batch changes a command.
    pub(super) fn is_busy(&self, agent_key: &str, id: CommandId) -> bool {
        self.busy.get(agent_key).is_some_and(|busy| busy.contains(&id))
    }

    /// Marks a command as changed by the running batch.
    pub(super) fn mark_busy(&mut self, agent_key: &str, id: CommandId) {
        self.busy.entry(agent_key.into()).or_default().insert(id);
    }

    fn unmark_busy(&mut self, agent_key: &str, id: CommandId) {
        if let Some(busy) = self.busy.get_mut(agent_key) {
            busy.remove(&id);
            if busy.is_empty() {
                self.busy.remove(agent_key);
            }
        }
    }

    fn drop_carried(&mut self, agent_key: &str, id: CommandId) {
        for held in [&mut self.held, &mut self.power].into_iter().filter_map(|lane| lane.get_mut(agent_key)) {
            held.carried.retain(|carried| carried.id != id);
            // Almost every connection carries nothing almost always.
            if held.carried.is_empty() {
                held.carried = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_by_a_hundred_thousand_is_small() {
        assert_eq!(size_of::<Carried>(), 32);
        let claims = Claims::default();
        claims.take_over("a", Lane::Agent);
        let mut shard = claims.shard("a");
        let (wake, other) = ("wake".parse().unwrap(), "other".parse().unwrap());
        let now = Timestamp::from_unix_ms(0);
        let (first, second) = (CommandId::from_parts(1, &[7; 10]), CommandId::from_parts(2, &[7; 10]));
        shard.carry("a", Lane::Agent, Carried::new(first, Some(now)), Some(&wake));
        assert_eq!(shard.held.get("a").map(|held| held.carried.capacity()), Some(1));
        shard.carry("a", Lane::Agent, Carried::new(second, None), None);
        assert_eq!((shard.sent_since("a", first), shard.sent_since("a", second)), (Some(now), None));
        assert!(shard.is_slot_carried("a", Lane::Agent, &wake));
        assert!(!shard.is_slot_carried("a", Lane::Agent, &other));
        assert!(!shard.is_slot_carried("a", Lane::Power, &wake));
        shard.drop_carried("a", first);
        assert!(!shard.is_slot_carried("a", Lane::Agent, &wake));
        shard.drop_carried("a", second);
        assert_eq!(shard.held.get("a").map(|held| held.carried.capacity()), Some(0));
    }
}
