//! Who may do what, and why something was not done.

use wakemq_protocol::{AgentId, CommandId, GroupPath, OperatorName};

use crate::store::{Principal, Role, StoreError};

/// An operator whose secret was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its name.
    pub name: OperatorName,
    /// What it may do.
    pub role: Role,
    /// Where: this group and everything below it.
    pub scope: GroupPath,
}

impl Operator {
    /// Takes the operator out of a principal; an agent is none.
    pub fn from_principal(principal: Principal) -> Option<Self> {
        match principal {
            Principal::Operator { name, role, scope } => Some(Self { name, role, scope }),
            Principal::Agent { .. } => None,
        }
    }

    /// Returns the name under which what it publishes is recorded: `op:` and its own.
    pub fn by(&self) -> String {
        format!("op:{}", self.name)
    }

    /// Refuses an operator whose role is below `needed`.
    pub fn require(&self, needed: Role) -> Result<(), EngineError> {
        if self.role >= needed {
            return Ok(());
        }
        Err(EngineError::NotAllowed(format!(
            "operator {} has the role {}; this needs {}",
            self.name,
            word(self.role),
            word(needed)
        )))
    }

    /// Refuses a group that is not wholly within the operator's own.
    pub fn require_group(&self, group: &GroupPath) -> Result<(), EngineError> {
        if self.scope.contains(group) {
            return Ok(());
        }
        Err(EngineError::NotAllowed(format!(
            "operator {} is limited to the group `{}`, which does not contain `{group}`",
            self.name, self.scope
        )))
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

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
    /// The id, or the secret, is taken.
    #[error("{0} exists already, or its secret is in use")]
    Exists(String),
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
        matches!(self, Self::Random | Self::Store(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_by_role_and_whole_segments() {
        let who = Operator {
            name: "erika".parse().unwrap(),
            role: Role::Operator,
            scope: "a/paris".parse().unwrap(),
        };
        assert!(who.require(Role::Viewer).is_ok());
        assert!(who.require(Role::Operator).is_ok());
        assert!(matches!(who.require(Role::Admin), Err(EngineError::NotAllowed(_))));
        assert!(who.require_group(&"a/paris/floor-2".parse().unwrap()).is_ok());
        assert!(who.require_group(&"a/paris-2".parse().unwrap()).is_err());
        assert!(who.require_group(&GroupPath::root()).is_err());
    }
}
