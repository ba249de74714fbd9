//! An agent that asks by long poll: what it was given, and how long it counts as connected.

use std::cmp::Reverse;
use std::collections::VecDeque;

use wakemq_protocol::http::PollAnswer;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, PAYLOAD_MAX, PENDING_MAX, POLL_GRACE_SECS, POLL_WITHHELD_SECS};
use wakemq_protocol::{Command, CommandId, to_json};

/// What stands around the commands of an answer, in bytes.
const AROUND: usize = r#"{"status":"commands","commands":[]}"#.len();

/// What the broker is to do for an agent that polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollAction {
    /// Record that a command is in the agent's journal.
    Acknowledged(CommandId),
    /// Take the next commands of the inbox; answer with `handle_page`.
    Fetch {
        /// How many at most.
        max: usize,
    },
    /// Let one command go: it is `queued` again, or the end that is due.
    LetGo(CommandId),
    /// Answer the poll that waits.
    Answer(PollAnswer),
    /// The agent does not count as connected any more; what it was given stays withheld.
    Leave,
    /// It is over: end the agent's presence, if that has not been told, and let everything go.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A poll waits for its answer, until its heartbeat is over.
    Waiting { until_ms: u64 },
    /// The last poll was answered; the agent counts as connected until then.
    Resting { until_ms: u64 },
    /// It is not connected; something that it was given is withheld still.
    Away,
    /// Nothing is left.
    Over,
}

/// A command that was in an answer.
#[derive(Debug)]
struct Given {
    id: CommandId,
    /// When it goes out anew.
    until_ms: u64,
    /// It is for this presence of the agent alone.
    live: bool,
}

/// An agent's polls, from the first to the one that nobody follows up.
///
/// `handle_poll` begins each of them; the older one, if it waits still, is the caller's to answer `superseded`. After
/// every call, `poll_action` until it gives `None`, the actions being carried out in their order; `handle_timeout` at
/// [`deadline_ms`](Self::deadline_ms). Each poll has exactly one [`PollAction::Answer`], unless it is superseded,
/// dropped or evicted.
///
/// A command that was in an answer is withheld until it is acknowledged by a later poll, or by a receipt, or until
/// [`POLL_WITHHELD_SECS`] are over; whether the agent counts as connected meanwhile changes nothing. One with time to
/// live 0 ends when the agent ceases to be connected.
#[derive(Debug)]
pub struct PollSession {
    phase: Phase,
    given: Vec<Given>,
    /// Commands with time to live 0 that wait for the next answer.
    live: Vec<Command>,
    /// What the poll acknowledges and was not given: by a poller before this one, or before the broker's restart. It
    /// counts as soon as the inbox gives it.
    claimed: Vec<CommandId>,
    actions: VecDeque<PollAction>,
}

impl Default for PollSession {
    fn default() -> Self {
        Self {
            phase: Phase::Resting { until_ms: u64::MAX },
            given: Vec::new(),
            live: Vec::new(),
            claimed: Vec::new(),
            actions: VecDeque::new(),
        }
    }
}

impl PollSession {
    /// Tells whether the agent has ceased to count as connected.
    pub fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Away | Phase::Over)
    }

    /// Tells whether nothing is left of it: the next poll begins with a new one.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Returns when `handle_timeout` is to be called at the latest.
    pub fn deadline_ms(&self) -> u64 {
        let withheld = self.given.iter().map(|given| given.until_ms).min().unwrap_or(u64::MAX);
        match self.phase {
            Phase::Waiting { until_ms } | Phase::Resting { until_ms } => until_ms.min(withheld),
            Phase::Away | Phase::Over => withheld,
        }
    }

    /// Takes the next thing to do.
    pub fn poll_action(&mut self) -> Option<PollAction> {
        while let Some(action) = self.actions.pop_front() {
            // Another action has answered the poll: the next one looks anew.
            let late = matches!(action, PollAction::Fetch { .. }) && !self.is_waiting();
            if !late {
                return Some(action);
            }
        }
        // A parked poll holds no queue.
        self.actions = VecDeque::new();
        None
    }

    /// Takes a poll: what it acknowledges counts before it is answered.
    pub fn handle_poll(&mut self, heartbeat_secs: u32, acknowledged: Vec<CommandId>, now_ms: u64) {
        self.phase = Phase::Waiting { until_ms: now_ms + 1000 * u64::from(heartbeat_secs) };
        self.claimed = acknowledged;
        let claimed = &mut self.claimed;
        let actions = &mut self.actions;
        self.given.retain(|given| {
            let before = claimed.len();
            claimed.retain(|id| *id != given.id);
            let counts = claimed.len() < before;
            if counts {
                actions.push_back(PollAction::Acknowledged(given.id));
            }
            !counts
        });
        self.look(now_ms);
    }

    /// Notes that the inbox may hold something new.
    pub fn handle_inbox_changed(&mut self, now_ms: u64) {
        self.look(now_ms);
    }

    /// Notes that a receipt has come for a command: it is not waited for any more.
    pub fn handle_settled(&mut self, id: CommandId, now_ms: u64) {
        self.given.retain(|given| given.id != id);
        // Its slot may hold another.
        self.look(now_ms);
    }

    /// Takes what `Fetch` asked for.
    pub fn handle_page(&mut self, commands: Vec<Command>, now_ms: u64) {
        let claimed = std::mem::take(&mut self.claimed);
        let (known, new): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| claimed.contains(&command.id));
        let again = !known.is_empty();
        self.actions.extend(known.into_iter().map(|command| PollAction::Acknowledged(command.id)));
        self.give(new, now_ms);
        if again {
            // There is room again, and their slots may hold others.
            self.look(now_ms);
        }
        self.idle(now_ms);
    }

    /// Takes a command that is only for who is connected (time to live 0).
    pub fn handle_live(&mut self, command: Command, now_ms: u64) {
        if self.is_away() || self.live.len() >= PENDING_MAX {
            self.actions.push_back(PollAction::LetGo(command.id));
            return;
        }
        self.live.push(command);
        if self.is_waiting() {
            self.give(Vec::new(), now_ms);
        }
    }

    /// Looks what is due: the heartbeat, the grace, commands that are withheld no longer.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let (due, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.given).into_iter().partition(|given| now_ms >= given.until_ms);
        self.given = kept;
        let any = !due.is_empty();
        self.actions.extend(due.into_iter().map(|given| PollAction::LetGo(given.id)));
        match self.phase {
            // Only then it is known whether it is idle.
            Phase::Waiting { .. } if any => self.look(now_ms),
            Phase::Waiting { .. } => self.idle(now_ms),
            Phase::Resting { until_ms } if now_ms >= until_ms => self.leave(),
            Phase::Away => self.end_if_empty(),
            Phase::Resting { .. } | Phase::Over => {}
        }
    }

    /// Notes that the client of the poll that waits is gone: it does not count as connected.
    pub fn handle_dropped(&mut self) {
        if self.is_waiting() {
            self.leave();
        }
    }

    /// Ends it: another connection took over, the agent was revoked, the broker stops.
    pub fn handle_evicted(&mut self) {
        if self.phase != Phase::Over {
            self.actions.clear();
            self.end();
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    fn room(&self) -> usize {
        usize::from(IN_FLIGHT_MAX).saturating_sub(self.given.len())
    }

    /// Looks for something to answer with, if a poll waits.
    fn look(&mut self, now_ms: u64) {
        if !self.is_waiting() {
            return;
        }
        let max = self.room().saturating_sub(self.live.len());
        if max > 0 {
            self.actions.push_back(PollAction::Fetch { max });
        } else {
            self.claimed = Vec::new();
            self.give(Vec::new(), now_ms);
            self.idle(now_ms);
        }
    }

    /// Answers the poll that waits, if there is something: as much as fits. The rest waits for the next one.
    fn give(&mut self, page: Vec<Command>, now_ms: u64) {
        if !self.is_waiting() {
            // It was answered while the page was under way.
            self.actions.extend(page.into_iter().map(|command| PollAction::LetGo(command.id)));
            return;
        }
        let live = std::mem::take(&mut self.live).into_iter().map(|command| (command, true));
        let mut all: Vec<_> = page.into_iter().map(|command| (command, false)).chain(live).collect();
        all.sort_by_key(|(command, _)| Reverse(command.priority));
        let (mut room, mut bytes) = (self.room(), AROUND);
        let mut commands = Vec::new();
        let until_ms = now_ms + 1000 * u64::from(POLL_WITHHELD_SECS);
        for (command, live) in all {
            let size = to_json(&command).len() + 1;
            if room > 0 && bytes + size <= PAYLOAD_MAX {
                (room, bytes) = (room - 1, bytes + size);
                self.given.push(Given { id: command.id, until_ms, live });
                commands.push(command);
            } else if live {
                self.live.push(command);
            } else {
                self.actions.push_back(PollAction::LetGo(command.id));
            }
        }
        if !commands.is_empty() {
            self.answer(PollAnswer::Commands { commands }, now_ms);
        }
    }

    /// Answers the poll that waits if its heartbeat is over.
    fn idle(&mut self, now_ms: u64) {
        let looks = self.actions.iter().any(|action| matches!(action, PollAction::Fetch { .. }));
        if matches!(self.phase, Phase::Waiting { until_ms } if now_ms >= until_ms) && !looks {
            self.answer(PollAnswer::Idle, now_ms);
        }
    }

    fn answer(&mut self, answer: PollAnswer, now_ms: u64) {
        self.phase = Phase::Resting { until_ms: now_ms + 1000 * u64::from(POLL_GRACE_SECS) };
        self.claimed = Vec::new();
        self.actions.push_back(PollAction::Answer(answer));
    }

    /// Ceases to be connected: what was for the connected agent alone ends with that.
    fn leave(&mut self) {
        let unsent = std::mem::take(&mut self.live).into_iter().map(|command| command.id);
        let given = self.given.iter().filter(|given| given.live).map(|given| given.id);
        self.actions.extend(unsent.chain(given).map(PollAction::LetGo));
        self.given.retain(|given| !given.live);
        self.claimed = Vec::new();
        self.phase = Phase::Away;
        self.actions.push_back(PollAction::Leave);
        self.end_if_empty();
    }

    fn end_if_empty(&mut self) {
        if self.given.is_empty() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        (self.given, self.live, self.claimed) = (Vec::new(), Vec::new(), Vec::new());
        self.actions.push_back(PollAction::End);
    }
}
