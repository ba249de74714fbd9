//! What goes into the store and what comes out of it.

mod admin;
mod query;

use std::net::SocketAddr;

use wakemq_protocol::{
    AgentId, CommandId, GroupPath, GroupUpdate, Kind, News, OperatorName, Outcome, PowerStep, Receipt, Role,
    Submission, Target, Timestamp,
};

use super::Epoch;

pub use admin::{Admin, AdminOp, AdminOutcome, Durability};
pub use query::{AgentRow, GroupRow, OperatorRow, Query, Rows, TokenRow};

/// A command to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// Its id, chosen by the publisher or by the engine.
    pub id: CommandId,
    /// Who published it, and from where. A command for a group leaves a line in the audit trail.
    pub actor: Actor,
    /// The subtree that the publisher may command; a target outside of it is [`Submitted::Forbidden`].
    pub scope: GroupPath,
    /// For whom.
    pub target: Target,
    /// What was asked, without the id. Together with who and for whom it tells a repetition from a conflict.
    pub submission: Submission,
    /// When it expires: acceptance plus its time to live.
    pub expires: Timestamp,
    /// How it is to be delivered.
    pub delivery: Delivery,
}

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `op:` and an operator's name, `agent:` and an agent's id, or `system`.
    pub by: String,
    /// The address of the connection; `None` for what came over none.
    pub address: Option<SocketAddr>,
}

/// How a new command is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Through the inbox.
    Inbox,
    /// `ttl` 0: only by the connections of these epochs, which carry it from the moment of acceptance; for all
    /// others, and under a stale epoch, it is accepted as `expired`. It takes no slot and is in no inbox.
    Live(Vec<(AgentId, Epoch)>),
    /// Not at all: it is recorded as `refused`, for this reason. The target need not exist.
    Refused(String),
}

/// Who carries out an agent's own commands. The claims and slots of one lane know nothing of the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The agent: everything but `power`, over its connection.
    Agent,
    /// The engine: `power`, which no connection of the agent ever gets.
    Power,
}

impl Lane {
    /// Returns the lane of a kind.
    pub fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Power => Self::Power,
            Kind::Wake | Kind::Relay | Kind::Other(_) => Self::Agent,
        }
    }
}

/// What became of a [`NewCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Accepted, durably.
    Accepted {
        /// Where it stands: `queued`, `sent` (live), `expired` or `refused`.
        news: News,
        /// The agent's group, or the group that it is for; for one that was refused, where its publisher can see it.
        group: GroupPath,
        /// What it did to others: those that it superseded.
        changes: Vec<Change>,
    },
    /// The same command again.
    Duplicate(News),
    /// Another command has this id.
    Conflict,
    /// 100 commands are pending for the agent, or live for the group.
    Full,
    /// No such agent or group.
    Unknown,
    /// The target is outside the publisher's scope.
    Forbidden,
}

/// A step in the life of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The agent has it in its journal; counts only under the epoch that carries it.
    Acknowledged {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch of the connection on which the acknowledgement came.
        epoch: Epoch,
    },
    /// The broker itself ends it as `failed`; counts only under the epoch that carries it.
    Failed {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch of the connection that could not take it.
        epoch: Epoch,
        /// Why.
        detail: String,
    },
    /// The agent says what became of it. `progress` changes nothing; a receipt implies the acknowledgement; one
    /// after a terminal state is kept as `late` unless it says the same.
    Receipt {
        /// The agent.
        agent: AgentId,
        /// What it says.
        receipt: Receipt,
    },
    /// An operator takes it back; if it is carried, it is marked and ends so when the connection does.
    Cancel {
        /// The command.
        id: CommandId,
        /// The subtree that the operator may command; a command whose target is not wholly inside is unknown.
        scope: GroupPath,
        /// Who takes it back; leaves a line in the audit trail.
        actor: Actor,
    },
    /// The connection of this epoch ended, or the engine carries out no `power` command under it any more: what it
    /// carried becomes `queued` again, or the end that is due. A stale epoch changes nothing.
    Release {
        /// The agent.
        agent: AgentId,
        /// The epoch.
        epoch: Epoch,
    },
    /// One command of those that an epoch carries is let go, as by [`Release`](Self::Release); the others are carried
    /// on. Changes nothing under a stale epoch, or if it is not carried.
    LetGo {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The packets of a `power` command are in somebody's hands: it is `sent` until the engine lets it go. No more
    /// than being carried is that written. Counts only under the epoch that carries it.
    PowerSent {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch of the engine's claim.
        epoch: Epoch,
    },
    /// A step on the way of a `power` command: kept with it, and told as a [`Change`] in which the state is the
    /// present one. The same step again changes nothing, and so does a verdict, which is made by whatever ends the
    /// command. Counts only under the epoch that carries it.
    Evidence {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch of the engine's claim.
        epoch: Epoch,
        /// The step.
        step: PowerStep,
    },
    /// The engine ends a `power` command as `done` or `failed`; counts only under the epoch that carries it.
    Ended {
        /// The agent.
        agent: AgentId,
        /// The command.
        id: CommandId,
        /// The epoch of the engine's claim.
        epoch: Epoch,
        /// The agent is up: `done`, otherwise `failed`.
        is_up: bool,
        /// How so, or why not.
        detail: String,
    },
    /// Ends what has expired and is not carried, and forgets commands a day after they expired; at most `max` of
    /// each. [`Verdict::More`] if there is more to do.
    Sweep {
        /// How many of each at most.
        max: usize,
    },
}

/// What became of a [`Transition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What became of it.
    pub verdict: Verdict,
    /// Every change of state that it caused.
    pub changes: Vec<Change>,
}

/// What became of a [`Transition`], in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect (or had done so before).
    Applied,
    /// It will take effect when the connection that carries the command ends.
    Requested,
    /// The command has a terminal state, which does not change.
    Late,
    /// It came under an epoch that is not the newest, or that does not carry the command.
    Stale,
    /// No such command.
    Unknown,
    /// It took effect, and should be given again.
    More,
}

/// A change of a command's state: for one agent, or of a command for a group as a whole.
///
/// Of a `power` command each step of its evidence is a change too, in the update's `evidence`. Whatever ends it adds a
/// verdict to its evidence, and the change that tells of the end has that verdict.
///
/// What becomes of a command for a group at one agent is told as that agent's change; how many are in which state
/// is told on request ([`Store::command`](super::Store::command)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who published the command.
    pub by: String,
    /// What was asked.
    pub kind: Kind,
    /// The agent's group, as far as the batch knows it, or the group that the command is for.
    pub group: GroupPath,
    /// The change.
    pub news: News,
}

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id.
    pub id: CommandId,
    /// Who published it.
    pub by: String,
    /// For whom.
    pub target: Target,
    /// The group that it is for; for an agent, the agent's at acceptance, or since it was moved while it waited.
    pub group: GroupPath,
    /// What was asked; its priority may have been raised, and `expires` prolonged, by one that it superseded.
    pub submission: Submission,
    /// When it was accepted.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// What became of it.
    pub status: Status,
    /// How a `power` command is, or was, carried out; in order.
    pub evidence: Vec<PowerStep>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// At its one agent.
    Agent(Outcome),
    /// At the agents of a group.
    Group {
        /// In sum, as counted when it was read; dated by the last change of the command as a whole, because reading has
        /// no time.
        update: GroupUpdate,
        /// A page of what is known of single agents, in order of their ids.
        outcomes: Vec<Outcome>,
        /// The last agent of the page, if there are more.
        next: Option<AgentId>,
    },
}

/// Which outcomes of a command for a group are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Those after this agent.
    pub after: Option<AgentId>,
    /// How many at most; 0 for the counts alone.
    pub max: usize,
}

/// Whom a secret belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An agent.
    Agent {
        /// In its own spelling.
        agent: AgentId,
        /// Its group.
        group: GroupPath,
    },
    /// An operator.
    Operator {
        /// Its name.
        name: OperatorName,
        /// What it may do.
        role: Role,
        /// Where.
        scope: GroupPath,
    },
}
