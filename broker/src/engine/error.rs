//! Why the engine did not do what it was asked.

use wakemq_protocol::{AgentId, CommandId, GroupPath, OperatorName};

use crate::store::StoreError;

/// Says why the engine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The operator's role or group does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// No such command, or none that the operator may see.
    #[error("there is no command {0}")]
    UnknownCommand(CommandId),
    /// No such agent, or none that the operator may see.
    #[error("there is no agent {0}")]
    UnknownAgent(AgentId),
    /// The agent is not connected and subscribed, which it has to be for this.
    #[error("agent {0} is not connected now, and only one that is can do this")]
    NotConnected(AgentId),
    /// No such group.
    #[error("there is no group `{0}`")]
    UnknownGroup(GroupPath),
    /// No such operator, or none that the operator may see.
    #[error("there is no operator {0}")]
    UnknownOperator(OperatorName),
    /// No enrolment token has this public id, or none that the operator may see.
    #[error("there is no enrolment token {0}")]
    UnknownToken(String),
    /// The id, or the secret, is taken.
    #[error("{0} exists already, or its secret is in use")]
    Exists(String),
    /// The group exists.
    #[error("the group `{0}` exists already")]
    GroupExists(GroupPath),
    /// Something uses the group.
    #[error("the group `{group}` is in use: {what}")]
    InUse {
        /// The group.
        group: GroupPath,
        /// What uses it.
        what: String,
    },
    /// Without this operator nobody could administer the root any more.
    #[error("{0} is the last administrator of everything; make another one first")]
    LastAdmin(OperatorName),
    /// Another command was accepted under the id.
    #[error("id_conflict: another command was accepted under the id {0}")]
    IdConflict(CommandId),
    /// As many commands wait as may wait.
    #[error("{0}")]
    Full(String),
    /// No such enrolment token.
    #[error("the enrolment token is not valid")]
    TokenUnknown,
    /// The enrolment token has expired.
    #[error("the enrolment token has expired")]
    TokenExpired,
    /// The enrolment token has no use left.
    #[error("the enrolment token has no use left")]
    TokenUsedUp,
    /// A value is outside of what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The system gave no random numbers.
    #[error("the system's random source failed")]
    Random,
    /// The store could not do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EngineError {
    /// Tells whether the same request may succeed later without anything about it being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Random | Self::Store(_))
    }
}
