//! Where an attempt stood, read from its evidence.

use wakemq_protocol::{AgentId, CommandState, PowerStep, PowerWhat};

use super::rounds::{Asked, Rounds, Word};

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
    /// The endpoint was not connected, or did not answer.
    pub(super) was_away: bool,
    /// How it ended.
    pub(super) verdict: Option<(CommandState, Option<String>)>,
    acknowledged: bool,
}

impl Past {
    /// Reads the steps in their order.
    pub(super) fn read(evidence: &[PowerStep], now_ms: u64) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        let mut looks = Vec::new();
        let (mut began_ms, mut first_ms, mut verdict) = (None, None, None);
        let (mut broker_sent, mut was_away, mut acknowledged) = (false, false, false);
        for step in evidence {
            // A clock that was set back between the two starts of the broker must not bring the future.
            let at_ms = u64::try_from(step.at.unix_ms()).unwrap_or(0).min(now_ms);
            began_ms.get_or_insert(at_ms);
            match &step.what {
                PowerWhat::Probed { .. } | PowerWhat::Heard { .. } | PowerWhat::LeftOut { .. } => {}
                PowerWhat::ProbeUnanswered => was_away = true,
                PowerWhat::RelayAsked { relay, command, round } => {
                    was_away = true;
                    first_ms.get_or_insert(at_ms);
                    looks.push(at_ms);
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
                PowerWhat::RelaySilent { .. } => {}
                PowerWhat::RelayLeft { relay } => set(&mut asked, relay, Word::Left),
                PowerWhat::NoRelay { .. } => {
                    was_away = true;
                    looks.push(at_ms);
                }
                PowerWhat::BrokerSent { destinations, .. } => {
                    was_away = true;
                    looks.push(at_ms);
                    if !destinations.is_empty() {
                        broker_sent = true;
                        first_ms.get_or_insert(at_ms);
                    }
                }
                PowerWhat::Verdict { state, detail } => verdict = Some((*state, detail.clone())),
            }
        }
        let base_ms = looks.iter().copied().min().unwrap_or(now_ms);
        let rounds = looks.into_iter().map(|at_ms| Rounds::round_at(base_ms, at_ms));
        let round = rounds.chain(asked.iter().map(|asked| asked.round)).max().unwrap_or(0);
        let rounds = Rounds::resumed(base_ms, round, asked);
        Self { began_ms, first_ms, rounds, broker_sent, was_away, verdict, acknowledged }
    }

    /// Tells whether the command was `sent`.
    pub(super) fn was_sent(&self) -> bool {
        self.acknowledged || self.broker_sent
    }
}

/// Notes what a relay did, when it was asked the last time.
fn set(asked: &mut [Asked], relay: &AgentId, word: Word) {
    if let Some(asked) = asked.iter_mut().rev().find(|asked| asked.relay == *relay) {
        asked.word = word;
    }
}
