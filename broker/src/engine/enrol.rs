//! How agents come into being, and who somebody is.

use std::net::SocketAddr;

use serde_json::json;
use wakemq_protocol::http::{EnrolAnswer, EnrolRequest, ImportLine, ImportResult};
use wakemq_protocol::limits::FACTS_MAX;
use wakemq_protocol::{Facts, GroupPath, Role, Secret, SecretKind};

use super::admin::{About, done, refusal};
use super::secrets::{hash_of, random_agent_id, random_secret};
use super::{Caller, Engine, EngineError};
use crate::store::{Actor, Admin, AdminOp, AdminOutcome, Principal, StoreError};

impl Engine {
    /// Finds whom a bearer or MQTT password belongs to; what is no secret of an agent or operator is nobody's.
    pub async fn authenticate(&self, presented: &str) -> Result<Option<Principal>, StoreError> {
        match presented.parse::<Secret>() {
            Ok(secret) if secret.kind() != SecretKind::Enrolment => {
                self.store.authenticate(&hash_of(&secret)).await
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Enrols an agent by a token; the same token and hash again is the same use.
    pub async fn enrol(
        &self,
        request: EnrolRequest,
        address: Option<SocketAddr>,
    ) -> Result<EnrolAnswer, EngineError> {
        if request.token.kind() != SecretKind::Enrolment {
            return Err(EngineError::TokenUnknown);
        }
        check_facts(&request.facts)?;
        let wished = match request.agent {
            Some(agent) => agent,
            None => random_agent_id()?,
        };
        let actor = Actor { by: format!("agent:{wished}"), address };
        let op = AdminOp::Enrol {
            token: hash_of(&request.token),
            agent: wished.clone(),
            secret: request.secret_sha256,
            facts: request.facts,
        };
        let outcome = self.write_one(op, actor).await?;
        let AdminOutcome::Enrolled { agent, group } = outcome else {
            return Err(refusal(outcome, About::Enrolment(wished)));
        };
        tracing::info!(%agent, %group, "agent enrolled");
        let advertise = self.advertise.clone();
        Ok(EnrolAnswer { agent, group, endpoints: advertise.endpoints, ca: advertise.ca })
    }

    /// Tells whether the operator may import agents at all.
    pub fn may_import(&self, caller: &Caller) -> Result<(), EngineError> {
        self.admit(caller, Role::Admin).map(drop)
    }

    /// Creates agents with secrets of their own, in one flush; each line comes with its number.
    ///
    /// A line that cannot be carried out does not stop the others. If the store fails, any of the agents may or
    /// may not have been created; those that were are refused as existing when they are imported again. The audit
    /// trail gets one line for all of them together.
    pub async fn import(
        &self,
        caller: &Caller,
        lines: Vec<(u64, ImportLine)>,
    ) -> Result<Vec<ImportResult>, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let mut results: Vec<Option<ImportResult>> = Vec::with_capacity(lines.len());
        let mut ops = Vec::with_capacity(lines.len() + 1);
        let mut made = Vec::with_capacity(lines.len());
        let mut within: Option<GroupPath> = None;
        for (line, ImportLine { agent, group }) in lines {
            if let Err(error) = who.require_group(&group) {
                results.push(Some(ImportResult::Failed { line, error: error.to_string() }));
                continue;
            }
            within = Some(within.map_or_else(|| group.clone(), |within| common(&within, &group)));
            let secret = random_secret(SecretKind::Agent)?;
            let op = AdminOp::CreateAgent { agent: agent.clone(), group, secret: hash_of(&secret) };
            ops.push(Admin { op, actor: None });
            made.push((line, agent, secret));
            results.push(None);
        }
        if let (Some(group), Some((_, first, _)), Some((_, last, _))) = (within, made.first(), made.last()) {
            // In the same write as the agents themselves: what was asked is never missing from the trail.
            let op = AdminOp::Note {
                action: "agent.import",
                target: if made.len() == 1 { first.to_string() } else { format!("{first} … {last}") },
                group,
                after: json!({"agents": made.len()}),
            };
            ops.push(Admin { op, actor: Some(caller.actor()) });
        }
        let outcomes = self.write(ops).await?;
        let mut created = made.into_iter().zip(outcomes).map(|((line, agent, secret), outcome)| {
            match done(outcome, About::Agent(agent.clone())) {
                Ok(()) => ImportResult::Created { agent, secret },
                Err(EngineError::Exists(what)) => {
                    ImportResult::Failed { line, error: format!("{what} exists already") }
                }
                Err(error) => ImportResult::Failed { line, error: error.to_string() },
            }
        });
        Ok(results.into_iter().filter_map(|refused| refused.or_else(|| created.next())).collect())
    }
}

/// Returns the lowest group that contains both.
fn common(one: &GroupPath, other: &GroupPath) -> GroupPath {
    let shared = one.levels().zip(other.levels()).take_while(|(one, other)| one == other);
    shared.last().map_or_else(GroupPath::root, |(level, _)| level)
}

fn check_facts(facts: &Facts) -> Result<(), EngineError> {
    let size = serde_json::to_vec(facts).map(|text| text.len());
    match size {
        Ok(size) if size <= FACTS_MAX => Ok(()),
        Ok(size) => {
            Err(EngineError::Invalid(format!("the facts have {size} bytes; at most {FACTS_MAX} are allowed")))
        }
        Err(error) => Err(EngineError::Invalid(format!("the facts cannot be written as JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_groups_have_in_common_is_a_group() {
        let common_of =
            |one: &str, other: &str| common(&one.parse().unwrap(), &other.parse().unwrap()).to_string();
        assert_eq!(common_of("a/b/c", "a/b/d"), "a/b");
        assert_eq!(common_of("a/b", "a/b/d"), "a/b");
        assert_eq!(common_of("a-b", "a"), "");
    }
}
