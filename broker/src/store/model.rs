//! What goes into the store and what comes out of it.

use std::net::SocketAddr;

use serde_json::Value;
use wakemq_protocol::http::AuditEntry;
use wakemq_protocol::{
    AgentId, CommandId, Facts, GroupPath, GroupUpdate, Kind, News, OperatorName, Outcome, Receipt, Role,
    SecretHash, Submission, Target, Timestamp,
};

use super::Epoch;

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

/// A change of a command's state: for one agent, or of a command for a group as a whole.
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

/// Whether a write waits for its flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Flushed,
    /// It does not: the next flush takes it along, and a crash may lose it.
    Lazy,
}

/// A change of agents, groups, tokens or operators, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// What.
    pub op: AdminOp,
    /// Who: leaves a line in the audit trail, with how it was before and is after, in the same write. `None`
    /// leaves none.
    pub actor: Option<Actor>,
}

/// A change of agents, groups, tokens or operators.
///
/// Where an operation has a `scope`, it is the subtree that the operator may administer; outside of it the thing is
/// unknown. A group comes into being with the first agent, token or operator in it, with all its ancestors.
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
        /// Where the operator may administer.
        scope: GroupPath,
    },
    /// Takes an agent into another group. What it leaves ends `cancelled` for it: the live commands for groups that
    /// it is not in any more, and its own commands whose publisher may not command the new group.
    MoveAgent {
        /// The agent.
        agent: AgentId,
        /// The group that it joins, which the engine has checked to be within the operator's right.
        to: GroupPath,
        /// Where the operator may administer.
        scope: GroupPath,
    },
    /// Creates a group, with its ancestors; one that exists is [`AdminOutcome::Exists`].
    CreateGroup {
        /// The group.
        group: GroupPath,
    },
    /// Removes a group and what lies below it; refused while it is in use.
    RemoveGroup {
        /// The group; the root is in use always.
        group: GroupPath,
    },
    /// Gives a group, and what lies below it, another path; refused while it is in use.
    RenameGroup {
        /// The group.
        group: GroupPath,
        /// Its new path, which must not exist.
        to: GroupPath,
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
    /// Removes an enrolment token; agents that used it stay.
    RevokeToken {
        /// Its public id, see [`TokenRow::id`].
        id: String,
        /// Where the operator may administer.
        scope: GroupPath,
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
        group: GroupPath,
    },
    /// Changes what an operator may do; its secret stays.
    ChangeOperator {
        /// Its name.
        name: OperatorName,
        /// What it may do from now on.
        role: Option<Role>,
        /// Where, from now on; the engine has checked it to be within the operator's right.
        group: Option<GroupPath>,
        /// Where the one who changes it may administer.
        scope: GroupPath,
    },
    /// Removes an operator and its secret; its commands stay.
    RevokeOperator {
        /// Its name.
        name: OperatorName,
        /// Where the one who removes it may administer.
        scope: GroupPath,
    },
    /// Leaves a line in the audit trail and does nothing else: for what is told in sum.
    Note {
        /// What was done.
        action: &'static str,
        /// To what.
        target: String,
        /// In which group.
        group: GroupPath,
        /// How it is now.
        after: Value,
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
    /// Moved.
    Moved {
        /// From where.
        from: GroupPath,
        /// What became of its commands.
        changes: Vec<Change>,
    },
    /// The operator has these rights now.
    Changed {
        /// What it may do.
        role: Role,
        /// Where.
        group: GroupPath,
    },
    /// The name, or the secret, is taken.
    Exists,
    /// No such agent, group, token or operator.
    Unknown,
    /// Something uses the group: in words, what.
    InUse(String),
    /// Without this operator nobody could administer the root any more.
    LastAdmin,
    /// The token has expired.
    Expired,
    /// The token has no use left.
    UsedUp,
}

/// Which rows to read. Every page is read without going through what is not on it, or through a bounded part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// One agent.
    Agent(AgentId),
    /// Agents of a subtree, by group and then by id.
    Agents {
        /// The last of the page before.
        after: Option<(GroupPath, AgentId)>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Groups of a subtree, the group itself too, by path.
    Groups {
        /// The last path of the page before.
        after: Option<GroupPath>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Operators limited to a subtree or a part of it, by name.
    Operators {
        /// The last name of the page before.
        after: Option<OperatorName>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Enrolment tokens for a subtree, by public id.
    Tokens {
        /// The last id of the page before.
        after: Option<String>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Lines of the audit trail within a subtree, oldest first.
    Audit {
        /// Those of this moment and later.
        since: Option<Timestamp>,
        /// Those after this number.
        after: Option<u64>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Agents that a command for a group still waits for and of which nothing else is known.
    Waiting {
        /// The command.
        id: CommandId,
        /// The last of the page before.
        after: Option<(GroupPath, AgentId)>,
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
    /// Groups.
    Groups(Vec<GroupRow>),
    /// Operators.
    Operators(Vec<OperatorRow>),
    /// Enrolment tokens.
    Tokens(Vec<TokenRow>),
    /// Lines of the audit trail.
    Audit {
        /// The lines.
        entries: Vec<AuditEntry>,
        /// Where to go on, if there may be more; the page may be short nevertheless.
        next: Option<u64>,
    },
    /// Agents that are waited for.
    Waiting {
        /// The agents with their groups.
        agents: Vec<(GroupPath, AgentId)>,
        /// Where to go on, if there may be more; the page may be short nevertheless.
        next: Option<(GroupPath, AgentId)>,
    },
    /// The store can be read.
    Healthy,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// Its path.
    pub group: GroupPath,
    /// How many agents are in it or below it.
    pub agents: u64,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// Its name.
    pub name: OperatorName,
    /// What it may do.
    pub role: Role,
    /// Where.
    pub group: GroupPath,
    /// When it was created.
    pub created: Timestamp,
}

/// An enrolment token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its public id: the first 16 hexadecimal digits of its hash.
    pub id: String,
    /// The group that its agents join.
    pub group: GroupPath,
    /// How many agents may use it.
    pub uses: u32,
    /// How many of them still may.
    pub uses_left: u32,
    /// Until when.
    pub expires: Timestamp,
    /// Who created it.
    pub by: String,
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
    /// How many commands wait for it, those for its groups too.
    pub pending: u32,
}
