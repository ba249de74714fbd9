//! What is administered.

use std::net::IpAddr;

use serde_json::Value;
use wakemq_protocol::{AgentId, Facts, GroupPath, OperatorName, Role, SecretHash, Timestamp};

use super::{Actor, Change};

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
        /// From where it is, or was, connected, if that is known.
        source: Option<IpAddr>,
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
        /// Its public id, see [`TokenRow::id`](super::TokenRow::id).
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
