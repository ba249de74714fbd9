//! Where an attempt stood, read from its evidence.

use wakemq_protocol::{AgentId, CommandState, PowerStep, PowerWhat};

use super::exchange::Heard;
use super::rounds::{Asked, Rounds, Word};

/// How long after its CONNECT an endpoint has told of itself, in milliseconds.
const TELLING_MS: u64 = 10_000;

/// What the evidence of an attempt tells.
#[derive(Debug)]
pub(super) struct Past {
    /// When it began.
    pub(super) began_ms: Option<u64>,
    /// When somebody was first asked to send.
    pub(super) first_ms: Option<u64>,
    /// The rounds, as far as they got.
    pub(super) rounds: Rounds,
    /// The broker has sent.
    pub(super) broker_sent: bool,
    /// What the endpoint told, if that was not judged any more, and when.
    pub(super) heard: Option<(Heard, u64)>,
    acknowledged: bool,
}

impl Past {
    /// Reads the steps in their order.
    pub(super) fn read(evidence: &[PowerStep], now_ms: u64) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        // When the broker looked for relays, and when it did so for the first time since which somebody was asked.
        let (mut looks, mut base_ms) = (Vec::new(), None);
        let (mut began_ms, mut first_ms, mut heard) = (None, None, None);
        let (mut broker_sent, mut acknowledged) = (false, false);
        for step in evidence {
            // A clock that was set back between the two starts of the broker must not bring the future.
            let at_ms = u64::try_from(step.at.unix_ms()).unwrap_or(0).min(now_ms);
            began_ms.get_or_insert(at_ms);
            match &step.what {
                PowerWhat::Probed { .. }
                | PowerWhat::ProbeUnanswered
                | PowerWhat::RelaySilent { .. }
                | PowerWhat::LeftOut { .. }
                // It comes with the end of the command.
                | PowerWhat::Verdict { .. } => {}
                PowerWhat::Heard { since_boot, since_resume, after_ms: _ } => {
                    heard = heard_again(*since_boot, *since_resume, first_ms, at_ms);
                }
                PowerWhat::RelayAsked { relay, command, round } => {
                    first_ms.get_or_insert(at_ms);
                    base_ms.get_or_insert(Rounds::base_of(*round, at_ms));
                    // Its connection ended with the broker: unless it says so later, it has not got it.
                    let (relay, command, round) = (relay.clone(), *command, *round);
                    asked.push(Asked { relay, command, round, at_ms, word: Word::Silent });
                }
                PowerWhat::RelayAcknowledged { relay } => {
                    acknowledged = true;
                    set(&mut asked, relay, Word::Acknowledged);
                }
                PowerWhat::RelaySaid { relay, state, .. } => {
                    let word = if *state == CommandState::Done { Word::Done } else { Word::Failed };
                    set(&mut asked, relay, word);
                }
                PowerWhat::RelayLeft { relay } => set(&mut asked, relay, Word::Left),
                PowerWhat::NoRelay { .. } => looks.push(at_ms),
                PowerWhat::BrokerSent { destinations, .. } => {
                    looks.push(at_ms);
                    if !destinations.is_empty() {
                        broker_sent = true;
                        base_ms.get_or_insert(at_ms);
                        first_ms.get_or_insert(at_ms);
                    }
                }
            }
        }
        let base_ms = base_ms.unwrap_or(now_ms);
        let rounds = looks.into_iter().map(|at_ms| Rounds::round_at(base_ms, at_ms));
        let round = rounds.chain(asked.iter().map(|asked| asked.round)).max().unwrap_or(0);
        let rounds = Rounds::resumed(base_ms, round, asked);
        Self { began_ms, first_ms, rounds, broker_sent, heard, acknowledged }
    }

    /// Tells whether the command was `sent`.
    pub(super) fn was_sent(&self) -> bool {
        self.acknowledged || self.broker_sent
    }
}

/// Returns what an endpoint told, with a time of its CONNECT that is surely not too late: that is not kept, and moved
/// back it makes the verdict vague and not wrong.
fn heard_again(
    since_boot: Option<u64>,
    since_resume: Option<u64>,
    first_ms: Option<u64>,
    at_ms: u64,
) -> Option<(Heard, u64)> {
    // Without an age it is judged by its ids, when it comes back.
    since_boot.or(since_resume)?;
    let earliest_ms = first_ms.map_or(0, |first_ms| first_ms.saturating_add(1));
    let connected_ms = at_ms.saturating_sub(TELLING_MS).max(earliest_ms).min(at_ms);
    Some((Heard { connected_ms, boot_id: None, resume_id: None, since_boot, since_resume }, at_ms))
}

/// Notes what a relay did, when it was asked the last time.
fn set(asked: &mut [Asked], relay: &AgentId, word: Word) {
    if let Some(asked) = asked.iter_mut().rev().find(|asked| asked.relay == *relay) {
        asked.word = word;
    }
}
