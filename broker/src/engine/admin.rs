//! The administration half of the engine: who somebody is, enrolment, agents, tokens, operators.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use wakemq_protocol::http::{
    AgentPage, AgentView, CommandView, EnrolAnswer, EnrolRequest, ImportLine, ImportResult, TokenAnswer,
    TokenRequest,
};
use wakemq_protocol::limits::FACTS_MAX;
use wakemq_protocol::{
    AgentId, CommandId, Facts, GroupPath, OperatorName, Secret, SecretHash, SecretKind, Timestamp,
};

use super::{Engine, EngineError, Operator};
use crate::store::{
    Admin, AdminOp, AdminOutcome, AgentRow, CommandRow, Durability, Outcomes, Principal, Query, Role, Rows,
    Status, Store, StoreError, Target,
};

/// Most agents that one page shows; with facts of 8 KiB each, a page stays below 4 MiB.
pub const PAGE_MAX: usize = 400;
/// Most agents that may join by one token.
const TOKEN_USES_MAX: u32 = 1_000_000;
/// Longest validity of a token, in seconds: a year.
const TOKEN_EXPIRES_MAX_SECS: u32 = 31_536_000;

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
    pub async fn enrol(&self, request: EnrolRequest) -> Result<EnrolAnswer, EngineError> {
        if request.token.kind() != SecretKind::Enrolment {
            return Err(EngineError::TokenUnknown);
        }
        check_facts(&request.facts)?;
        let wished = match request.agent {
            Some(agent) => agent,
            None => random_agent_id()?,
        };
        let op = AdminOp::Enrol {
            token: hash_of(&request.token),
            agent: wished.clone(),
            secret: request.secret_sha256,
            facts: request.facts,
        };
        match self.write_one(op).await? {
            AdminOutcome::Enrolled { agent, group } => {
                tracing::info!(%agent, %group, "agent enrolled");
                let advertise = self.advertise.clone();
                Ok(EnrolAnswer { agent, group, endpoints: advertise.endpoints, ca: advertise.ca })
            }
            AdminOutcome::Exists => Err(EngineError::Exists(format!("agent {wished}"))),
            AdminOutcome::Unknown => Err(EngineError::TokenUnknown),
            AdminOutcome::Expired => Err(EngineError::TokenExpired),
            AdminOutcome::UsedUp => Err(EngineError::TokenUsedUp),
            other @ (AdminOutcome::Done
            | AdminOutcome::Revoked { .. }
            | AdminOutcome::Moved { .. }
            | AdminOutcome::Changed { .. }
            | AdminOutcome::InUse(_)
            | AdminOutcome::LastAdmin) => Err(out_of_place(&other)),
        }
    }

    /// Shows a command and what became of it.
    pub async fn command(&self, who: &Operator, id: CommandId) -> Result<CommandView, EngineError> {
        who.require(Role::Viewer)?;
        match self.store.command(id, Outcomes { after: None, max: PAGE_MAX }).await? {
            Some(row) if who.scope.contains(&row.group) => Ok(command_view(row)),
            Some(_) | None => Err(EngineError::UnknownCommand(id)),
        }
    }

    /// Shows a page of the agents that the operator may see, by group and then by id.
    ///
    /// A `limit` above [`PAGE_MAX`] is taken as that; `next` says where the following page begins.
    pub async fn agents(
        &self,
        who: &Operator,
        after: Option<AgentId>,
        limit: usize,
    ) -> Result<AgentPage, EngineError> {
        who.require(Role::Viewer)?;
        let limit = limit.clamp(1, PAGE_MAX);
        // One more than is shown tells whether there is a next page.
        let after = match after {
            Some(last) => {
                let rows = agent_rows(self.store.read(Query::Agent(last.clone())).await?)?;
                let row = rows.into_iter().next().filter(|row| who.scope.contains(&row.group));
                Some(row.map(|row| (row.group, row.agent)).ok_or(EngineError::UnknownAgent(last))?)
            }
            None => None,
        };
        let query = Query::Agents { after, scope: who.scope.clone(), max: limit + 1 };
        let mut rows = agent_rows(self.store.read(query).await?)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let agents: Vec<_> = rows.into_iter().map(|row| self.agent_view(row)).collect();
        let next = agents.last().filter(|_| more).map(|last| last.agent.to_string());
        Ok(AgentPage { agents, next })
    }

    /// Shows one agent.
    pub async fn agent(&self, who: &Operator, id: AgentId) -> Result<AgentView, EngineError> {
        who.require(Role::Viewer)?;
        let rows = agent_rows(self.store.read(Query::Agent(id.clone())).await?)?;
        match rows.into_iter().next() {
            Some(row) if who.scope.contains(&row.group) => Ok(self.agent_view(row)),
            Some(_) | None => Err(EngineError::UnknownAgent(id)),
        }
    }

    /// Tells whether the operator may import agents at all.
    pub fn may_import(&self, who: &Operator) -> Result<(), EngineError> {
        who.require(Role::Admin)
    }

    /// Creates agents with secrets of their own, in one flush; each line comes with its number.
    ///
    /// A line that cannot be carried out does not stop the others. If the store fails, any of the agents may or
    /// may not have been created; those that were are refused as existing when they are imported again.
    pub async fn import(
        &self,
        who: &Operator,
        lines: Vec<(u64, ImportLine)>,
    ) -> Result<Vec<ImportResult>, EngineError> {
        self.may_import(who)?;
        let mut results: Vec<Option<ImportResult>> = Vec::with_capacity(lines.len());
        let mut ops = Vec::with_capacity(lines.len());
        let mut made = Vec::with_capacity(lines.len());
        for (line, ImportLine { agent, group }) in lines {
            if let Err(error) = who.require_group(&group) {
                results.push(Some(ImportResult::Failed { line, error: error.to_string() }));
                continue;
            }
            let secret = random_secret(SecretKind::Agent)?;
            ops.push(AdminOp::CreateAgent { agent: agent.clone(), group, secret: hash_of(&secret) });
            made.push((line, agent, secret));
            results.push(None);
        }
        let outcomes = self.write(ops).await?;
        let mut created =
            made.into_iter().zip(outcomes).map(|((line, agent, secret), outcome)| match outcome {
                AdminOutcome::Done => ImportResult::Created { agent, secret },
                AdminOutcome::Exists => {
                    ImportResult::Failed { line, error: format!("agent {agent} exists already") }
                }
                other @ (AdminOutcome::Enrolled { .. }
                | AdminOutcome::Revoked { .. }
                | AdminOutcome::Moved { .. }
                | AdminOutcome::Changed { .. }
                | AdminOutcome::InUse(_)
                | AdminOutcome::LastAdmin
                | AdminOutcome::Unknown
                | AdminOutcome::Expired
                | AdminOutcome::UsedUp) => {
                    ImportResult::Failed { line, error: out_of_place(&other).to_string() }
                }
            });
        Ok(results.into_iter().filter_map(|refused| refused.or_else(|| created.next())).collect())
    }

    /// Creates an enrolment token.
    pub async fn create_token(
        &self,
        who: &Operator,
        request: TokenRequest,
    ) -> Result<TokenAnswer, EngineError> {
        who.require(Role::Admin)?;
        who.require_group(&request.group)?;
        check_range("uses", request.uses, TOKEN_USES_MAX)?;
        check_range("expires_in", request.expires_in, TOKEN_EXPIRES_MAX_SECS)?;
        let token = random_secret(SecretKind::Enrolment)?;
        let now = self.clock.now();
        let expires =
            Timestamp::from_unix_ms(now.unix_ms() + i64::from(request.expires_in) * 1000).whole_secs();
        let hash = hash_of(&token);
        let op = AdminOp::CreateToken {
            token: hash,
            group: request.group.clone(),
            uses: request.uses,
            expires,
            by: who.by(),
        };
        self.write_done(op, "the token").await?;
        tracing::info!(by = %who.name, group = %request.group, uses = request.uses, %expires, "token created");
        let id = hash.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(TokenAnswer { id, token, group: request.group, uses: request.uses, expires })
    }

    /// Tells whether the store can be read.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store.read(Query::Health).await.map(drop)
    }

    fn agent_view(&self, row: AgentRow) -> AgentView {
        let present = self.registry.find(&row.agent);
        AgentView {
            // Not subscribed is offline: nothing would reach it.
            connected: present.as_ref().is_some_and(|(_, epoch)| epoch.is_some()),
            address: present.map(|(mailbox, _)| mailbox.address().to_string()),
            agent: row.agent,
            group: row.group,
            created: row.created.whole_secs(),
            last_seen: row.last_seen.map(Timestamp::whole_secs),
            facts: row.facts,
            pending: row.pending,
        }
    }

    async fn write(&self, ops: Vec<AdminOp>) -> Result<Vec<AdminOutcome>, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let asked = ops.len();
        let ops = ops.into_iter().map(|op| Admin { op, actor: None }).collect();
        let outcomes = self.store.write(ops, Durability::Flushed, self.clock.now()).await?;
        if outcomes.len() != asked {
            return Err(StoreError::Damaged(format!("{asked} writes had {} outcomes", outcomes.len())));
        }
        Ok(outcomes)
    }

    pub(super) async fn write_one(&self, op: AdminOp) -> Result<AdminOutcome, EngineError> {
        let outcomes = self.write(vec![op]).await?;
        outcomes.into_iter().next().ok_or_else(|| StoreError::Damaged("a write had no outcome".into()).into())
    }

    async fn write_done(&self, op: AdminOp, what: &str) -> Result<(), EngineError> {
        done(&self.write_one(op).await?, what)
    }
}

/// Creates an operator in a store that no engine runs on yet, and returns its secret.
pub async fn create_operator(
    store: &dyn Store,
    name: OperatorName,
    role: Role,
    scope: GroupPath,
    now: Timestamp,
) -> Result<Secret, EngineError> {
    let secret = random_secret(SecretKind::Operator)?;
    let what = format!("operator {name}");
    let op = AdminOp::CreateOperator { name, secret: hash_of(&secret), role, group: scope };
    let outcomes = store.write(vec![Admin { op, actor: None }], Durability::Flushed, now).await?;
    let first = outcomes.first().ok_or_else(|| StoreError::Damaged("a write had no outcome".into()))?;
    done(first, &what)?;
    Ok(secret)
}

fn done(outcome: &AdminOutcome, what: &str) -> Result<(), EngineError> {
    match outcome {
        AdminOutcome::Done => Ok(()),
        AdminOutcome::Exists => Err(EngineError::Exists(what.to_owned())),
        other @ (AdminOutcome::Enrolled { .. }
        | AdminOutcome::Revoked { .. }
        | AdminOutcome::Moved { .. }
        | AdminOutcome::Changed { .. }
        | AdminOutcome::InUse(_)
        | AdminOutcome::LastAdmin
        | AdminOutcome::Unknown
        | AdminOutcome::Expired
        | AdminOutcome::UsedUp) => Err(out_of_place(other)),
    }
}

/// A store that answers with what was not asked is not one to go on with; it is told like a damaged one.
fn out_of_place(outcome: &AdminOutcome) -> EngineError {
    StoreError::Damaged(format!("a write had the outcome {outcome:?}")).into()
}

fn agent_rows(rows: Rows) -> Result<Vec<AgentRow>, StoreError> {
    match rows {
        Rows::Agents(rows) => Ok(rows),
        Rows::Groups(_)
        | Rows::Operators(_)
        | Rows::Tokens(_)
        | Rows::Audit { .. }
        | Rows::Waiting { .. }
        | Rows::Healthy => Err(StoreError::Damaged("a query for agents gave none of them".into())),
    }
}

/// Shows a command as `GET /v1/commands/{id}` does.
pub(crate) fn command_view(row: CommandRow) -> CommandView {
    let (agent, group) = match row.target {
        Target::Agent(agent) => (Some(agent), None),
        Target::Group(group) => (None, Some(group)),
    };
    let (update, outcomes, next) = match row.status {
        Status::Agent(outcome) => (None, vec![outcome], None),
        Status::Group { update, outcomes, next } => (Some(update), outcomes, next),
    };
    CommandView {
        id: row.id,
        slot: row.submission.effective_slot(),
        kind: row.submission.kind,
        agent,
        group,
        priority: row.submission.priority,
        reason: row.submission.reason,
        issued: row.issued.whole_secs(),
        expires: row.expires.whole_secs(),
        by: row.by,
        state: update.as_ref().map(|update| update.state),
        counts: update.map(|update| update.counts),
        outcomes,
        next,
    }
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

fn check_range(what: &str, value: u32, max: u32) -> Result<(), EngineError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("{what} is {value}; 1 to {max} is allowed")))
}

fn hash_of(secret: &Secret) -> SecretHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.expose().as_bytes()).as_ref());
    SecretHash(hash)
}

fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| EngineError::Random)?;
    Ok(bytes)
}

fn random_secret(kind: SecretKind) -> Result<Secret, EngineError> {
    Ok(Secret::from_random(kind, &random()?))
}

/// Makes an id for an agent that wishes none: `a-` and 80 random bits.
fn random_agent_id() -> Result<AgentId, EngineError> {
    let digits: String = random::<10>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("a-{digits}").parse().map_err(|_| EngineError::Random)
}
