//! Which attempts run, and what is left for them.
//!
//! An attempt has one place here from before it looks into the store until after it has ended, so that nothing that
//! happens meanwhile is missed.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use wakemq_core::power::Heard;
use wakemq_protocol::{AgentId, CommandId, CommandState, Outcome};

use crate::registry::ConnectionId;

/// How much may wait for one attempt; more is dropped with a line in the log. An attempt has at most ten commands
/// under way, and a few changes of each.
const INPUTS_MAX: usize = 64;
/// Of how many agents is remembered that they have something new; for more, all that is pending is looked at.
const POKED_MAX: usize = 1_000;

/// Something that an attempt is to take.
#[derive(Debug)]
pub(super) enum Input {
    /// The state of a command that it has given.
    Told {
        /// The command.
        command: CommandId,
        /// Its state.
        state: CommandState,
        /// What the agent said.
        detail: Option<String>,
    },
    /// What the endpoint tells of itself, and when that came.
    Heard(Heard, u64),
}

/// Why an attempt ends that has not come to its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The command is to be taken back.
    Cancelled,
    /// The command has ended already: its agent was revoked.
    Over,
}

/// The running attempts, by agent, and what is to be begun.
#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// There is something to begin.
    begin: Notify,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<AgentId, Running>,
    /// Whose the commands are that attempts have given.
    errands: HashMap<CommandId, mpsc::Sender<Input>>,
    /// Agents with something new.
    poked: VecDeque<AgentId>,
    /// There may be others.
    scan: bool,
}

#[derive(Debug)]
struct Running {
    /// What is carried out at the moment.
    command: Option<CommandId>,
    inputs: mpsc::Sender<Input>,
    ending: watch::Sender<Option<Ending>>,
    /// The endpoint's newest connection, and when its CONNECT came, if that was since the place was taken.
    connected: Option<(ConnectionId, u64)>,
    /// Before this no other CONNECT can have come that is of interest.
    since_ms: u64,
    /// There is something new for the agent since.
    poked: bool,
}

/// The attempt's end of its place.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) agent: AgentId,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) ending: watch::Receiver<Option<Ending>>,
    sender: mpsc::Sender<Input>,
}

impl Desk {
    /// Notes that an agent has something new to be carried out.
    pub(super) fn poke(&self, agent: &AgentId) {
        {
            let mut state = self.state.lock();
            if let Some(running) = state.running.get_mut(agent) {
                running.poked = true;
                return;
            }
            if state.poked.len() < POKED_MAX {
                state.poked.push_back(agent.clone());
            } else {
                state.scan = true;
            }
        }
        self.begin.notify_one();
    }

    /// Has all that is pending looked at.
    pub(super) fn scan(&self) {
        self.state.lock().scan = true;
        self.begin.notify_one();
    }

    /// Waits until there is something to begin.
    pub(super) async fn wait(&self) {
        self.begin.notified().await;
    }

    /// Tells, once, whether all that is pending is to be looked at.
    pub(super) fn take_scan(&self) -> bool {
        std::mem::take(&mut self.state.lock().scan)
    }

    /// Takes an agent with something new.
    pub(super) fn take_poked(&self) -> Option<AgentId> {
        self.state.lock().poked.pop_front()
    }

    /// Takes a place for an agent; `None` if it has one.
    pub(super) fn open(&self, agent: &AgentId, since_ms: u64) -> Option<Line> {
        let mut state = self.state.lock();
        if state.running.contains_key(agent) {
            return None;
        }
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let (ending_sender, ending) = watch::channel(None);
        let running = Running {
            command: None,
            inputs: sender.clone(),
            ending: ending_sender,
            connected: None,
            since_ms,
            poked: false,
        };
        state.running.insert(agent.clone(), running);
        Some(Line { agent: agent.clone(), inputs, ending, sender })
    }

    /// Gives a place back.
    pub(super) fn close(&self, agent: &AgentId) {
        let left = self.state.lock().running.remove(agent);
        if left.is_some_and(|running| running.poked) {
            self.poke(agent);
        }
    }

    /// Notes which command an agent's place is for from now on, or that it is for none.
    pub(super) fn carry(&self, agent: &AgentId, command: Option<CommandId>) {
        if let Some(running) = self.state.lock().running.get_mut(agent) {
            running.command = command;
            running.ending.send_replace(None);
        }
    }

    /// Notes that a CONNECT from before a time is of no interest to an attempt.
    pub(super) fn since(&self, agent: &AgentId, since_ms: u64) {
        if let Some(running) = self.state.lock().running.get_mut(agent) {
            running.since_ms = since_ms;
        }
    }

    /// Has an attempt told what becomes of a command that it is about to give.
    pub(super) fn expect(&self, line: &Line, command: CommandId) {
        self.state.lock().errands.insert(command, line.sender.clone());
    }

    /// Forgets commands that an attempt has given.
    pub(super) fn forget(&self, commands: impl IntoIterator<Item = CommandId>) {
        let mut state = self.state.lock();
        for command in commands {
            state.errands.remove(&command);
        }
    }

    /// Takes a change of a command that an attempt has given.
    pub(super) fn errand_told(&self, command: CommandId, outcome: &Outcome) {
        let Some(inputs) = self.state.lock().errands.get(&command).cloned() else { return };
        // What an agent did is as true when its word comes late: behind a restart every order has expired.
        let late = outcome.late.as_ref();
        let late = late.and_then(|receipt| Some((receipt.state.command_state()?, receipt.detail.clone())));
        let (state, detail) = late.unwrap_or_else(|| (outcome.state, outcome.detail.clone()));
        leave(&inputs, Input::Told { command, state, detail });
    }

    /// Takes a change of a `power` command, which may end its attempt.
    pub(super) fn changed(&self, command: CommandId, outcome: &Outcome) {
        let state = self.state.lock();
        let running = state.running.get(&outcome.agent).filter(|running| running.command == Some(command));
        let Some(running) = running else { return };
        if outcome.state.is_terminal() {
            running.ending.send_replace(Some(Ending::Over));
        } else if outcome.cancel_requested {
            running.ending.send_replace(Some(Ending::Cancelled));
        }
    }

    /// Notes that a CONNECT of an agent has come.
    pub(super) fn connected(&self, agent: &AgentId, connection: ConnectionId, at_ms: u64) {
        if let Some(running) = self.state.lock().running.get_mut(agent) {
            running.connected = Some((connection, at_ms));
        }
    }

    /// Takes what an agent tells of itself; `heard` makes it of the time of its CONNECT.
    pub(super) fn heard(
        &self,
        agent: &AgentId,
        connection: ConnectionId,
        at_ms: u64,
        heard: impl FnOnce(u64) -> Heard,
    ) {
        let state = self.state.lock();
        let Some(running) = state.running.get(agent) else { return };
        let connected = running.connected.filter(|(newest, _)| *newest == connection);
        let connected_ms = connected.map_or(running.since_ms, |(_, at_ms)| at_ms);
        leave(&running.inputs, Input::Heard(heard(connected_ms), at_ms));
    }

    /// Returns how many attempts run.
    pub(super) fn running(&self) -> usize {
        self.state.lock().running.len()
    }
}

fn leave(inputs: &mpsc::Sender<Input>, input: Input) {
    match inputs.try_send(input) {
        // It has ended.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(input)) => {
            tracing::warn!(?input, "an attempt to switch an endpoint on does not keep up: it misses this");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use wakemq_protocol::{Receipt, ReceiptState, Timestamp};

    use super::*;

    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    fn id(number: u64) -> CommandId {
        CommandId::from_parts(number, &[7; 10])
    }

    fn outcome(state: CommandState) -> Outcome {
        Outcome {
            agent: agent("a"),
            state,
            at: Timestamp::from_unix_ms(0),
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        }
    }

    fn heard_at(connected_ms: u64) -> Heard {
        Heard { connected_ms, boot_id: None, resume_id: None, since_boot: None, since_resume: None }
    }

    #[test]
    fn an_agent_has_one_place_and_what_comes_meanwhile_is_looked_at_afterwards() {
        let desk = Desk::default();
        let line = desk.open(&agent("a"), 0).unwrap();
        assert!(desk.open(&agent("A"), 0).is_none(), "one id");
        desk.poke(&agent("a"));
        assert_eq!(desk.take_poked(), None);
        desk.close(&line.agent);
        assert_eq!(desk.take_poked(), Some(agent("a")));
        desk.close(&agent("a"));
        assert_eq!((desk.take_poked(), desk.running()), (None, 0));
    }

    #[test]
    fn more_than_can_be_remembered_is_looked_for() {
        let desk = Desk::default();
        for number in 0..POKED_MAX {
            desk.poke(&agent(&format!("a{number}")));
        }
        assert!(!desk.take_scan());
        desk.poke(&agent("b"));
        assert!(desk.take_scan() && !desk.take_scan());
        assert_eq!(std::iter::from_fn(|| desk.take_poked()).count(), POKED_MAX);
    }

    #[test]
    fn what_became_of_an_order_is_told_to_who_gave_it_a_late_word_too() {
        let desk = Desk::default();
        let mut line = desk.open(&agent("pc"), 0).unwrap();
        desk.expect(&line, id(1));
        desk.errand_told(id(2), &outcome(CommandState::Acknowledged));
        desk.errand_told(id(1), &outcome(CommandState::Expired));
        let receipt = Receipt { id: id(1), state: ReceiptState::Done, detail: Some("sent".into()) };
        desk.errand_told(id(1), &Outcome { late: Some(receipt), ..outcome(CommandState::Expired) });
        desk.forget([id(1)]);
        desk.errand_told(id(1), &outcome(CommandState::Done));
        let mut told = Vec::new();
        while let Ok(input) = line.inputs.try_recv() {
            let Input::Told { command, state, detail } = input else { panic!("{input:?}") };
            assert_eq!(command, id(1));
            told.push((state, detail));
        }
        assert_eq!(told, [(CommandState::Expired, None), (CommandState::Done, Some("sent".into()))]);
    }

    #[test]
    fn facts_are_dated_by_the_connect_of_their_own_connection() {
        let desk = Desk::default();
        let connection = |number| ConnectionId(NonZeroU64::new(number).unwrap());
        desk.heard(&agent("pc"), connection(1), 5, heard_at);
        let mut line = desk.open(&agent("pc"), 100).unwrap();
        desk.connected(&agent("pc"), connection(2), 500);
        for (number, at_ms) in [(1, 510), (2, 520)] {
            desk.heard(&agent("pc"), connection(number), at_ms, heard_at);
        }
        let mut told = Vec::new();
        while let Ok(Input::Heard(heard, at_ms)) = line.inputs.try_recv() {
            told.push((heard.connected_ms, at_ms));
        }
        assert_eq!(told, [(100, 510), (500, 520)]);
    }

    #[test]
    fn only_the_command_that_is_carried_ends_its_attempt() {
        let desk = Desk::default();
        let mut line = desk.open(&agent("a"), 0).unwrap();
        let mut told = || {
            let changed = line.ending.has_changed().unwrap();
            changed.then(|| *line.ending.borrow_and_update()).flatten()
        };
        let asked = Outcome { cancel_requested: true, ..outcome(CommandState::Sent) };
        desk.changed(id(1), &asked);
        assert_eq!(told(), None);
        desk.carry(&agent("a"), Some(id(1)));
        desk.changed(id(2), &asked);
        desk.changed(id(1), &outcome(CommandState::Sent));
        assert_eq!(told(), None);
        desk.changed(id(1), &asked);
        assert_eq!(told(), Some(Ending::Cancelled));
        desk.changed(id(1), &outcome(CommandState::Cancelled));
        assert_eq!(told(), Some(Ending::Over));
        desk.carry(&agent("a"), Some(id(2)));
        assert_eq!(told(), None, "what was told of the former one is over");
    }

    #[test]
    fn who_does_not_keep_up_holds_nobody_up() {
        let desk = Desk::default();
        let mut line = desk.open(&agent("pc"), 0).unwrap();
        desk.expect(&line, id(1));
        for _ in 0..2 * INPUTS_MAX {
            desk.errand_told(id(1), &outcome(CommandState::Acknowledged));
        }
        assert_eq!(std::iter::from_fn(|| line.inputs.try_recv().ok()).count(), INPUTS_MAX);
    }
}
