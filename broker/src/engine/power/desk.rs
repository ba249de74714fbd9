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
