//! Cloned identities: two machines with one agent's secret that evict each other for ever.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use wakemq_protocol::AgentId;

/// How long a takeover is remembered, in milliseconds.
const MEMORY_MS: u64 = 600_000;
/// How long a connection of a cloned identity is left alone, in milliseconds.
const CALM_MS: u64 = 60_000;
/// Most takeovers that are remembered at a time.
const ENTRIES_MAX: usize = 10_000;

/// One process of an agent, as its CONNECT or its poll tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// What stands for the text that it tells, see [`id_of`](Self::id_of).
    pub id: u64,
    /// Where it connects from.
    pub address: IpAddr,
}

impl Instance {
    /// Returns what stands for a process by whatever transport it comes: a hash of the user property `instance`, or of
    /// the field of that name, because a broker holds one for each connected agent.
    pub fn id_of(instance: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        hasher.finish()
    }
}

/// What a takeover means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloneVerdict {
    /// A process that was started anew, or a connection that was lost: the newer one takes over.
    Fine,
    /// Two instances alternate: a cloned identity. This once the newer one still takes over.
    Cloned {
        /// The other instance.
        other: Instance,
    },
    /// The identity is known to be cloned and has just changed hands: the newer one has to wait.
    Wait {
        /// How long, in seconds, at least.
        secs: u32,
    },
}

#[derive(Debug)]
struct Takeover {
    replaced: Instance,
    at_ms: u64,
    cloned: bool,
}

/// Remembers the latest takeovers.
#[derive(Debug, Default)]
pub struct Clones {
    takeovers: HashMap<AgentId, Takeover>,
}

impl Clones {
    /// Judges that `newer` is about to take over from the live connection of `older`.
    pub fn judge(
        &mut self,
        agent: &AgentId,
        older: &Instance,
        newer: &Instance,
        now_ms: u64,
    ) -> CloneVerdict {
        if older.id == newer.id {
            return CloneVerdict::Fine;
        }
        let known = self.takeovers.get(agent).filter(|known| now_ms < known.at_ms + MEMORY_MS);
        let alternates = known.is_some_and(|known| known.replaced.id == newer.id);
        let was_cloned = known.is_some_and(|known| known.cloned);
        if let Some(known) = known
            && known.cloned
            && now_ms < known.at_ms + CALM_MS
        {
            let secs = (known.at_ms + CALM_MS - now_ms).div_ceil(1000);
            return CloneVerdict::Wait { secs: u32::try_from(secs).unwrap_or(u32::MAX) };
        }
        self.make_room(now_ms);
        let cloned = alternates || was_cloned;
        self.takeovers.insert(agent.clone(), Takeover { replaced: *older, at_ms: now_ms, cloned });
        if cloned { CloneVerdict::Cloned { other: *older } } else { CloneVerdict::Fine }
    }

    fn make_room(&mut self, now_ms: u64) {
        if self.takeovers.len() < ENTRIES_MAX {
            return;
        }
        self.takeovers.retain(|_, takeover| now_ms < takeover.at_ms + MEMORY_MS);
        if self.takeovers.len() >= ENTRIES_MAX {
            // So many at once is a storm and not clones: forgetting them costs one more eviction each.
            self.takeovers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: u64) -> Instance {
        Instance { id, address: IpAddr::from([127, 0, 0, 1]) }
    }

    #[test]
    fn a_restart_is_fine_and_an_alternation_is_a_clone() {
        let agent: AgentId = "a".parse().unwrap();
        let (x, y, z) = (instance(1), instance(2), instance(3));
        let mut clones = Clones::default();
        assert_eq!(clones.judge(&agent, &x, &x, 0), CloneVerdict::Fine, "a lost connection");
        assert_eq!(clones.judge(&agent, &x, &y, 1_000), CloneVerdict::Fine, "a restart");
        assert_eq!(clones.judge(&agent, &y, &z, 2_000), CloneVerdict::Fine, "another restart");
        assert_eq!(clones.judge(&agent, &z, &y, 3_000), CloneVerdict::Cloned { other: z });
        assert_eq!(clones.judge(&agent, &y, &z, 33_000), CloneVerdict::Wait { secs: 30 });
        assert_eq!(clones.judge(&agent, &y, &z, 63_000), CloneVerdict::Cloned { other: y });
        assert_eq!(clones.judge(&agent, &z, &y, 63_000 + MEMORY_MS), CloneVerdict::Fine, "long forgotten");
    }
}
