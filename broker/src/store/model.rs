//! What goes into the store and what comes out of it.

use wakemq_protocol::{
    AgentId, CommandId, CommandState, Facts, GroupPath, OperatorName, Outcome, Receipt, SecretHash,
    Submission, Timestamp, Update,
};

use super::Epoch;

/// A command to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// Its id, chosen by the publisher or by the engine.
    pub id: CommandId,
    /// Who published it, `op:` and the operator's name.
    pub by: String,
    /// The subtree that the publisher may command; an agent outside of it is [`Submitted::Forbidden`].
    pub scope: GroupPath,
    /// For whom.
    pub agent: AgentId,
    /// What was asked, without the id. Together with `by` and `agent` it tells a repetition from a conflict.
    pub submission: Submission,
    /// When it expires: acceptance plus its time to live.
    pub expires: Timestamp,
    /// How it is to be delivered.
    pub delivery: Delivery,
}

/// How a new command is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Through the inbox.
    Inbox,
    /// `ttl` 0: only by the connection of this epoch, which carries it from the moment of acceptance; without an
    /// epoch, or under a stale one, it is accepted as `expired`. It takes no slot and is in no inbox.
    Live(Option<Epoch>),
    /// Not at all: it is recorded as `refused`, for this reason. The agent need not exist.
    Refused(String),
}

/// What became of a [`NewCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Accepted, durably.
    Accepted {
        /// Its own state: `queued`, `sent` (live), `expired` or `refused`.
        outcome: Outcome,
        /// What it did to others: those that it superseded.
        changes: Vec<Change>,
    },
    /// The same command again.
    Duplicate(Outcome),
    /// Another command has this id.
    Conflict,
    /// 100 commands are pending for the agent.
    Full,
    /// No such agent.
    UnknownAgent,
    /// The agent is outside the publisher's scope.
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
        /// The subtree that the operator may command; outside of it the command is unknown.
        scope: GroupPath,
    },
    /// The connection of this epoch ended: what it carried becomes `queued` again, or the end that is due.
    /// A stale epoch changes nothing.
    Release {
        /// The agent.
        agent: AgentId,
        /// The epoch.
        epoch: Epoch,
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

/// A change of a command's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who published the command.
    pub by: String,
    /// The change.
    pub update: Update,
}

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id.
    pub id: CommandId,
    /// Who published it.
    pub by: String,
    /// For whom.
    pub agent: AgentId,
    /// The agent's group at acceptance.
    pub group: GroupPath,
    /// What was asked; its priority may have been raised, and `expires` prolonged, by one that it superseded.
    pub submission: Submission,
    /// When it was accepted.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

impl CommandRow {
    /// Tells whether the command waits for its agent, carried or not.
    pub fn is_pending(&self) -> bool {
        matches!(self.outcome.state, CommandState::Queued | CommandState::Sent)
    }
}

/// Whom a secret belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// An agent, in its own spelling.
    Agent(AgentId),
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

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See.
    Viewer,
    /// See and command.
    Operator,
    /// See, command, and administer agents, tokens and operators.
    Admin,
}

/// Whether a write waits for its flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Flushed,
    /// It does not: the next flush takes it along, and a crash may lose it.
    Lazy,
}

/// A change of agents, tokens or operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminOp {
    /// Creates an agent.
    CreateAgent {
        /// Its id.
        agent: AgentId,
        /// Its group.
        group: GroupPath,
        /// The hash of its secret.
        secret: SecretHash,
    },
    /// Creates an agent by an enrolment token, in the token's group. The same token and secret again is the same
    /// use, whatever became of the token since, and gives the same agent.
    Enrol {
        /// The hash of the token.
        token: SecretHash,
        /// The id that the agent wishes, or one that the engine made.
        agent: AgentId,
        /// The hash of the agent's secret.
        secret: SecretHash,
        /// What it tells of itself.
        facts: Facts,
    },
    /// Removes an agent and its secret; its pending commands end `cancelled`.
    RevokeAgent {
        /// The agent.
        agent: AgentId,
        /// The subtree that the operator may administer; outside of it the agent is unknown.
        scope: GroupPath,
    },
    /// Notes that an agent came or left.
    Seen {
        /// The agent.
        agent: AgentId,
        /// What it told of itself, if it did.
        facts: Option<Facts>,
    },
    /// Creates an enrolment token.
    CreateToken {
        /// The hash of the token.
        token: SecretHash,
        /// The group that its agents join.
        group: GroupPath,
        /// How many agents may use it.
        uses: u32,
        /// Until when.
        expires: Timestamp,
        /// Who created it.
        by: String,
    },
    /// Creates an operator.
    CreateOperator {
        /// Its name.
        name: OperatorName,
        /// The hash of its secret.
        secret: SecretHash,
        /// What it may do.
        role: Role,
        /// Where.
        scope: GroupPath,
    },
}

/// What became of an [`AdminOp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminOutcome {
    /// Done.
    Done,
    /// Enrolled, now or by the same request before.
    Enrolled {
        /// The agent's id.
        agent: AgentId,
        /// Its group.
        group: GroupPath,
    },
    /// Revoked.
    Revoked {
        /// What became of its commands.
        changes: Vec<Change>,
    },
    /// The name, or the secret, is taken.
    Exists,
    /// No such agent or token.
    Unknown,
    /// The token has expired.
    Expired,
    /// The token has no use left.
    UsedUp,
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// One agent.
    Agent(AgentId),
    /// Agents in order of their ids, those after `after`, within `scope`, at most `max`.
    Agents {
        /// The last id of the page before.
        after: Option<AgentId>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Nothing: tells whether the store can be read.
    Health,
}

/// What a [`Query`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Agents.
    Agents(Vec<AgentRow>),
    /// The store can be read.
    Healthy,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its id, in its own spelling.
    pub agent: AgentId,
    /// Its group.
    pub group: GroupPath,
    /// For each level of the group, the root first: the sequence number since which the agent is inside. A record
    /// for a group is meant for it only if its number is higher.
    pub inside_since: Vec<u64>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last seen to come or leave.
    pub last_seen: Option<Timestamp>,
    /// What it last told of itself.
    pub facts: Option<Facts>,
    /// How many commands wait for it.
    pub pending: u32,
}
