//! What is read, a page at a time.

use std::net::IpAddr;

use wakemq_protocol::http::AuditEntry;
use wakemq_protocol::{AgentId, CommandId, Facts, GroupPath, OperatorName, Role, Timestamp};

/// Which rows to read. Every page is read without going through what is not on it, or through a bounded part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// One agent.
    Agent(AgentId),
    /// Agents by their ids, in that order; those that do not exist are left out.
    Named(Vec<AgentId>),
    /// Agents of a subtree, by group and then by id.
    Agents {
        /// The last of the page before.
        after: Option<(GroupPath, AgentId)>,
        /// The subtree.
        scope: GroupPath,
        /// How many at most.
        max: usize,
    },
    /// Where the agents of a subtree are, by group and then by id, and nothing else of them.
    Places {
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
    /// Pending `power` commands of all agents, in order of acceptance.
    Power {
        /// Where the page before ended.
        after: Option<u64>,
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
    /// Agents and their groups.
    Places(Vec<(GroupPath, AgentId)>),
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
    /// Pending `power` commands.
    Power {
        /// The commands, each with its agent.
        commands: Vec<(AgentId, CommandId)>,
        /// Where to go on, if there may be more.
        next: Option<u64>,
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
    /// From where it last connected, as the broker saw it.
    pub source: Option<IpAddr>,
    /// How many commands wait for it, those for its groups too.
    pub pending: u32,
}
