//! Who may do what, at this moment.
//!
//! A right is looked up where it is used, never remembered: what was proved at a connection's CONNECT, or at the
//! head of a request, is only who somebody is. The table of all operators is in memory, because it is asked for
//! each event and each submission; it follows the store by [`Engine::load_rights`](super::Engine::load_rights) at
//! the start and by each durable change.

use std::collections::HashMap;
use std::net::SocketAddr;

use parking_lot::RwLock;
use wakemq_protocol::{GroupPath, OperatorName, Role};

use super::EngineError;
use crate::store::{Actor, Principal};

/// An operator and what it may do.
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

    /// Returns what the session of one of its connections is to know.
    pub fn session_rights(&self) -> wakemq_core::Rights {
        wakemq_core::Rights { may_command: self.role >= Role::Operator, scope: self.scope.clone() }
    }

    /// Returns the name under which what it publishes is recorded: `op:` and its own.
    pub fn by(&self) -> String {
        by(&self.name)
    }

    /// Refuses an operator whose role is below `needed`.
    pub fn require(&self, needed: Role) -> Result<(), EngineError> {
        if self.role >= needed {
            return Ok(());
        }
        Err(EngineError::NotAllowed(format!(
            "operator {} has the role {}; this needs {needed}",
            self.name, self.role
        )))
    }

    /// Refuses a group that is not wholly within the operator's own.
    pub fn require_group(&self, group: &GroupPath) -> Result<(), EngineError> {
        if self.scope.contains(group) {
            return Ok(());
        }
        Err(EngineError::NotAllowed(format!(
            "operator {} is limited to the group `{}`, which does not contain `{}`",
            self.name,
            self.scope.label(),
            group.label()
        )))
    }
}

pub(super) fn by(name: &OperatorName) -> String {
    format!("op:{name}")
}

/// An operator that asks for something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose secret was given.
    pub name: OperatorName,
    /// Where the request came from; `None` for one that came over no connection.
    pub address: Option<SocketAddr>,
}

impl Caller {
    /// Returns what the audit trail says of the caller.
    pub(super) fn actor(&self) -> Actor {
        Actor { by: by(&self.name), address: self.address }
    }
}

/// The present rights of every operator.
#[derive(Debug, Default)]
pub(super) struct Rights {
    operators: RwLock<HashMap<OperatorName, (Role, GroupPath)>>,
}

impl Rights {
    /// Returns an operator as it is now; `None` if it was revoked, or never was.
    pub(super) fn of(&self, name: &OperatorName) -> Option<Operator> {
        let operators = self.operators.read();
        let (role, scope) = operators.get(name)?;
        Some(Operator { name: name.clone(), role: *role, scope: scope.clone() })
    }

    pub(super) fn set(&self, Operator { name, role, scope }: Operator) {
        self.operators.write().insert(name, (role, scope));
    }

    pub(super) fn remove(&self, name: &OperatorName) {
        self.operators.write().remove(name);
    }

    /// Takes the place of the whole table; returns whose rights are not what they were.
    pub(super) fn replace(&self, operators: HashMap<OperatorName, (Role, GroupPath)>) -> Vec<OperatorName> {
        let former = std::mem::replace(&mut *self.operators.write(), operators);
        let now = self.operators.read();
        former
            .into_iter()
            .filter(|(name, rights)| now.get(name) != Some(rights))
            .map(|(name, _)| name)
            .collect()
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
