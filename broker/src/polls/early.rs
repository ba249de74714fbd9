//! Facts that came before the poll whose presence they belong to: nothing says in which order two requests arrive.

use std::collections::HashMap;

use parking_lot::Mutex;
use wakemq_protocol::limits::POLL_GRACE_SECS;
use wakemq_protocol::{AgentId, Facts};

/// Of how many agents facts are kept; further ones are in the store alone.
const AGENTS_MAX: usize = 1024;

/// The latest facts of agents that are about to poll, each until it does and for 30 seconds at most.
#[derive(Default)]
pub(super) struct Early {
    facts: Mutex<HashMap<AgentId, (Box<Facts>, u64)>>,
}

impl Early {
    pub(super) fn keep(&self, agent: &AgentId, facts: Facts, now_ms: u64) {
        let mut kept = self.facts.lock();
        if kept.len() >= AGENTS_MAX {
            kept.retain(|_, (_, until_ms)| *until_ms > now_ms);
        }
        if kept.len() < AGENTS_MAX || kept.contains_key(agent) {
            let until_ms = now_ms + 1000 * u64::from(POLL_GRACE_SECS);
            kept.insert(agent.clone(), (Box::new(facts), until_ms));
        }
    }

    pub(super) fn take(&self, agent: &AgentId, now_ms: u64) -> Option<Facts> {
        let (facts, until_ms) = self.facts.lock().remove(agent)?;
        (until_ms > now_ms).then_some(*facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_for_a_while_and_of_a_bounded_number_of_agents() {
        let (early, facts) = (Early::default(), Facts::default());
        let agent = |n: usize| format!("a-{n}").parse::<AgentId>().unwrap();
        for n in 0..=AGENTS_MAX {
            early.keep(&agent(n), facts.clone(), 0);
        }
        assert!(early.take(&agent(AGENTS_MAX), 0).is_none(), "there was no room");
        assert!(early.take(&agent(0), 29_999).is_some());
        assert!(early.take(&agent(0), 29_999).is_none(), "they are taken once");
        assert!(early.take(&agent(1), 30_000).is_none(), "they are too old");
        early.keep(&agent(AGENTS_MAX), facts, 30_000);
        assert!(early.take(&agent(AGENTS_MAX), 30_000).is_some());
    }
}
