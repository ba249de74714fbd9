//! Who is asked to send, and when: three rounds, in each of them at most three relays.

use wakemq_protocol::{AgentId, CommandId, CommandState, Medium};

use super::neighbours::Neighbour;

/// When relays are looked for, in milliseconds from the first look.
const LOOKS_MS: [u64; 3] = [0, 30_000, 60_000];
/// How many relays are asked at first in a round.
const AT_FIRST: usize = 2;
/// How many relays are asked in a round at most, whatever happens.
const ROUND_MAX: usize = 3;
/// How long a relay may take to acknowledge, in milliseconds.
const SILENT_MS: u64 = 3_000;

/// What a relay that was asked has done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing yet.
    Asked,
    /// Nothing in time, or nothing before the broker was restarted.
    Silent,
    /// Its connection ended before it acknowledged.
    Left,
    /// It has the job.
    Acknowledged,
    /// It says that it has sent.
    Done,
    /// It says that it could or would not.
    Failed,
}

/// A relay that was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) relay: AgentId,
    pub(super) command: CommandId,
    pub(super) round: u8,
    pub(super) at_ms: u64,
    pub(super) word: Word,
}

/// The rounds of an attempt.
#[derive(Debug)]
pub(super) struct Rounds {
    /// When the first look was.
    base_ms: u64,
    /// How many looks there were, missed ones included: the number of the present round.
    round: u8,
    /// How many relays are wanted; 0 if none are being looked for.
    wanted: usize,
    asked: Vec<Asked>,
}

/// What the state of a relay's command means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) relay: AgentId,
    /// It has the job, which was not known.
    pub(super) acknowledged: bool,
    pub(super) what: Change,
    /// Another may take its place.
    pub(super) replace: bool,
}

/// What else became of a relay's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Left,
    Said,
}

impl Rounds {
    /// Makes rounds of which the first is due.
    pub(super) fn new(base_ms: u64) -> Self {
        Self { base_ms, round: 0, wanted: 0, asked: Vec::new() }
    }

    /// Makes rounds that go on behind `round`.
    pub(super) fn resumed(base_ms: u64, round: u8, asked: Vec<Asked>) -> Self {
        Self { base_ms, round, wanted: 0, asked }
    }

    /// Returns the number of the round, from 1, that is on at a time; 0 before the first.
    pub(super) fn round_at(base_ms: u64, at_ms: u64) -> u8 {
        let looks = LOOKS_MS.iter().filter(|&&look| base_ms.saturating_add(look) <= at_ms);
        u8::try_from(looks.count()).unwrap_or(u8::MAX)
    }

    /// Returns when the first look was, if that of a round was at a time.
    pub(super) fn base_of(round: u8, at_ms: u64) -> u64 {
        let look = usize::from(round).checked_sub(1).and_then(|index| LOOKS_MS.get(index));
        at_ms.saturating_sub(look.copied().unwrap_or(0))
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = CommandId> {
        self.asked.iter().map(|asked| asked.command)
    }

    pub(super) fn is_finding(&self) -> bool {
        self.wanted > 0
    }

    /// Returns the times of the looks; with a short timeout there are fewer, but there always is the first.
    fn looks(timeout_ms: u64) -> impl Iterator<Item = u64> {
        LOOKS_MS.into_iter().filter(move |&look| look == 0 || look < timeout_ms)
    }

    /// Returns when the last look is.
    pub(super) fn last_look_ms(&self, timeout_ms: u64) -> u64 {
        self.base_ms.saturating_add(Self::looks(timeout_ms).max().unwrap_or(0))
    }

    /// Tells whether no look follows.
    pub(super) fn is_last(&self, timeout_ms: u64) -> bool {
        self.next_look_ms(timeout_ms).is_none()
    }

    fn next_look_ms(&self, timeout_ms: u64) -> Option<u64> {
        let look = Self::looks(timeout_ms).nth(usize::from(self.round))?;
        Some(self.base_ms.saturating_add(look))
    }

    /// Returns when a relay falls silent or the next look is due.
    pub(super) fn deadline_ms(&self, timeout_ms: u64) -> Option<u64> {
        let waiting = self.asked.iter().filter(|asked| asked.word == Word::Asked);
        let silent = waiting.map(|asked| asked.at_ms.saturating_add(SILENT_MS));
        silent.chain(self.next_look_ms(timeout_ms)).min()
    }

    /// Begins the round that is due; of several that were missed the last.
    pub(super) fn begin_if_due(&mut self, now_ms: u64, timeout_ms: u64) -> bool {
        let before = self.round;
        while self.next_look_ms(timeout_ms).is_some_and(|next| now_ms >= next) {
            self.round += 1;
        }
        if self.round == before {
            return false;
        }
        self.wanted = AT_FIRST;
        true
    }

    pub(super) fn asked_in_round(&self) -> usize {
        self.asked.iter().filter(|asked| asked.round == self.round).count()
    }

    /// Looks for one more, if there may be one more in this round; tells whether that is a new question.
    pub(super) fn want_another(&mut self) -> bool {
        if self.asked_in_round() + self.wanted >= ROUND_MAX {
            return false;
        }
        self.wanted += 1;
        self.wanted == 1
    }

    /// Chooses whom to ask: fresh ones, then those that were asked in an earlier round, the reliable before the
    /// others; in each case by cable before by radio, then by id.
    pub(super) fn choose(&mut self, candidates: Vec<Neighbour>) -> Vec<Neighbour> {
        let room = ROUND_MAX.saturating_sub(self.asked_in_round());
        let wanted = std::mem::take(&mut self.wanted).min(room);
        let mut ranked: Vec<_> = candidates
            .into_iter()
            .filter_map(|neighbour| Some((self.rank(&neighbour)?, neighbour)))
            .collect();
        ranked.sort_by(|(one, _), (other, _)| one.cmp(other));
        ranked.dedup_by(|(one, _), (other, _)| one.agent == other.agent);
        ranked.into_iter().take(wanted).map(|(_, neighbour)| neighbour).collect()
    }

    /// Returns the place of a candidate among others; `None` if it was asked in this round.
    fn rank(&self, neighbour: &Neighbour) -> Option<Rank> {
        let mut before = self.asked.iter().filter(|asked| asked.relay == *neighbour.agent()).peekable();
        let was_asked = before.peek().is_some();
        let mut was_vain = false;
        for asked in before {
            if asked.round == self.round {
                return None;
            }
            was_vain = matches!(asked.word, Word::Silent | Word::Left | Word::Failed);
        }
        let (medium, agent) = (neighbour.medium(), neighbour.agent().clone());
        Some(Rank { was_asked, was_vain, medium, agent })
    }

    /// Notes that a relay is asked; returns in which round.
    pub(super) fn ask(&mut self, relay: &AgentId, command: CommandId, now_ms: u64) -> u8 {
        let relay = relay.clone();
        self.asked.push(Asked { relay, command, round: self.round, at_ms: now_ms, word: Word::Asked });
        self.round
    }

    /// Takes those that have not acknowledged in time, and whether another may take their place.
    pub(super) fn fall_silent(&mut self, now_ms: u64) -> Vec<(AgentId, bool)> {
        let round = self.round;
        let silent = self
            .asked
            .iter_mut()
            .filter(|asked| asked.word == Word::Asked && now_ms >= asked.at_ms.saturating_add(SILENT_MS));
        silent
            .map(|asked| {
                asked.word = Word::Silent;
                (asked.relay.clone(), asked.round == round)
            })
            .collect()
    }

    /// Takes the state of a command; `None` if that is not a relay's, or tells nothing new.
    pub(super) fn told(&mut self, command: CommandId, state: CommandState) -> Option<Told> {
        let round = self.round;
        let asked = self.asked.iter_mut().find(|asked| asked.command == command)?;
        let before = asked.word;
        let open = matches!(before, Word::Asked | Word::Silent | Word::Left);
        let (word, what) = match state {
            CommandState::Queued | CommandState::Sent => return None,
            CommandState::Acknowledged if open => (Word::Acknowledged, Change::Nothing),
            CommandState::Done if open || before == Word::Acknowledged => (Word::Done, Change::Said),
            CommandState::Failed | CommandState::Refused if open || before == Word::Acknowledged => {
                (Word::Failed, Change::Said)
            }
            CommandState::Superseded | CommandState::Expired | CommandState::Cancelled
                if matches!(before, Word::Asked | Word::Silent) =>
            {
                (Word::Left, Change::Left)
            }
            CommandState::Acknowledged
            | CommandState::Done
            | CommandState::Failed
            | CommandState::Refused
            | CommandState::Superseded
            | CommandState::Expired
            | CommandState::Cancelled => return None,
        };
        asked.word = word;
        // One that was silent has been replaced already.
        let in_vain = matches!(word, Word::Left | Word::Failed);
        Some(Told {
            relay: asked.relay.clone(),
            acknowledged: open && matches!(word, Word::Acknowledged | Word::Done),
            what,
            replace: in_vain && asked.round == round && matches!(before, Word::Asked | Word::Acknowledged),
        })
    }

    /// Returns those that have the job and do not say that they failed, and all that were asked.
    pub(super) fn names(&self) -> (Vec<AgentId>, Vec<AgentId>) {
        let (mut sent, mut all) = (Vec::new(), Vec::new());
        for asked in &self.asked {
            if matches!(asked.word, Word::Acknowledged | Word::Done) && !sent.contains(&asked.relay) {
                sent.push(asked.relay.clone());
            }
            if !all.contains(&asked.relay) {
                all.push(asked.relay.clone());
            }
        }
        (sent, all)
    }
}

/// The place of a candidate among others, the smallest first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    was_asked: bool,
    was_vain: bool,
    medium: Medium,
    agent: AgentId,
}
