//! What counts of the things that are said of a command at an agent, its own or its group's.

use wakemq_protocol::{CommandId, CommandState, Outcome, Receipt};

use crate::store::claims::Shard;
use crate::store::{Epoch, Lane, Verdict};

/// What is said of a command at an agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said<'a> {
    /// The agent has it in its journal.
    Acknowledged { epoch: Epoch },
    /// The broker could not send it.
    Failed { epoch: Epoch, detail: &'a str },
    /// The agent says what became of it.
    Receipt(&'a Receipt),
}

impl Said<'_> {
    /// Returns what is said in words.
    pub(super) fn detail(&self) -> Option<String> {
        match *self {
            Self::Acknowledged { .. } => None,
            Self::Failed { detail, .. } => Some(detail.to_owned()),
            Self::Receipt(receipt) => receipt.detail.clone(),
        }
    }
}

/// Where a command stands at an agent.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    /// What is known, carried or not.
    outcome: &'a Outcome,
    /// It may still be acknowledged.
    is_pending: bool,
    is_carried: bool,
    /// The newest of the agent's claims.
    epoch: Option<Epoch>,
}

impl<'a> Standing<'a> {
    pub(super) fn new(
        shard: &Shard,
        agent_key: &str,
        id: CommandId,
        outcome: &'a Outcome,
        is_pending: bool,
    ) -> Self {
        let is_carried = shard.is_carried(agent_key, id);
        Self { outcome, is_pending, is_carried, epoch: shard.epoch(agent_key, Lane::Agent) }
    }
}

/// What follows from what was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement<'a> {
    /// Nothing is to be written.
    Nothing(Verdict),
    /// It had ended before: the receipt is kept beside the state.
    Late(&'a Receipt),
    /// It has another state.
    Becomes {
        state: CommandState,
        /// It has arrived only now, which ends what is left of its slot.
        arrived: bool,
    },
}

/// Judges what is said of a command: what has ended stays, and a former connection decides nothing.
pub(super) fn judge<'a>(said: &Said<'a>, at: &Standing<'_>) -> Judgement<'a> {
    let is_over = !at.is_pending && at.outcome.state.is_terminal();
    match *said {
        Said::Receipt(receipt) => match receipt.state.command_state() {
            None => Judgement::Nothing(Verdict::Applied),
            Some(state) if !at.is_pending && at.outcome.state == state => {
                Judgement::Nothing(Verdict::Applied)
            }
            Some(_) if is_over && at.outcome.late.as_ref() == Some(receipt) => {
                Judgement::Nothing(Verdict::Late)
            }
            Some(_) if is_over => Judgement::Late(receipt),
            Some(state) => Judgement::Becomes { state, arrived: at.is_pending },
        },
        Said::Acknowledged { .. } | Said::Failed { .. } if is_over => Judgement::Nothing(Verdict::Late),
        Said::Acknowledged { epoch } | Said::Failed { epoch, .. } if at.epoch != Some(epoch) => {
            Judgement::Nothing(Verdict::Stale)
        }
        // Said again because the answer to the first time was lost.
        Said::Acknowledged { .. } if !at.is_pending => Judgement::Nothing(Verdict::Applied),
        Said::Acknowledged { .. } | Said::Failed { .. } if !at.is_pending || !at.is_carried => {
            Judgement::Nothing(Verdict::Stale)
        }
        Said::Acknowledged { .. } => Judgement::Becomes { state: CommandState::Acknowledged, arrived: true },
        Said::Failed { .. } => Judgement::Becomes { state: CommandState::Failed, arrived: false },
    }
}
