//! Enrolment tokens.

use wakemq_protocol::http::{TokenAnswer, TokenPage, TokenRequest, TokenView};
use wakemq_protocol::{Role, SecretKind, Timestamp};

use super::admin::{About, PAGE_MAX, check_range, cut, wrong_rows};
use super::secrets::{hash_of, random_secret};
use super::{Caller, Engine, EngineError};
use crate::store::{AdminOp, Query, Rows};

/// Most agents that may join by one token.
const TOKEN_USES_MAX: u32 = 1_000_000;
/// Longest validity of a token, in seconds: a year.
const TOKEN_EXPIRES_MAX_SECS: u32 = 31_536_000;

impl Engine {
    /// Creates an enrolment token.
    pub async fn create_token(
        &self,
        caller: &Caller,
        request: TokenRequest,
    ) -> Result<TokenAnswer, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        who.require_group(&request.group)?;
        check_range("uses", request.uses, TOKEN_USES_MAX)?;
        check_range("expires_in", request.expires_in, TOKEN_EXPIRES_MAX_SECS)?;
        let token = random_secret(SecretKind::Enrolment)?;
        let now = self.clock.now();
        let expires =
            Timestamp::from_unix_ms(now.unix_ms() + i64::from(request.expires_in) * 1000).whole_secs();
        let hash = hash_of(&token);
        let id: String = hash.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let op = AdminOp::CreateToken {
            token: hash,
            group: request.group.clone(),
            uses: request.uses,
            expires,
            by: who.by(),
        };
        self.write_done(op, caller.actor(), About::Token(id.clone())).await?;
        tracing::info!(by = %who.name, group = %request.group, uses = request.uses, %expires, "token created");
        Ok(TokenAnswer { id, token, group: request.group, uses: request.uses, expires })
    }

    /// Shows a page of the enrolment tokens that the administrator may see, in order of their ids.
    pub async fn tokens(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: usize,
    ) -> Result<TokenPage, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let limit = limit.clamp(1, PAGE_MAX);
        let query = Query::Tokens { after, scope: who.scope, max: limit + 1 };
        let Rows::Tokens(mut rows) = self.store.read(query).await? else {
            return Err(wrong_rows("tokens").into());
        };
        let more = cut(&mut rows, limit);
        let tokens: Vec<_> = rows
            .into_iter()
            .map(|row| TokenView {
                id: row.id,
                group: row.group,
                uses: row.uses,
                uses_left: row.uses_left,
                expires: row.expires,
                by: row.by,
            })
            .collect();
        let next = tokens.last().filter(|_| more).map(|last| last.id.clone());
        Ok(TokenPage { tokens, next })
    }

    /// Removes an enrolment token; agents that used it stay.
    pub async fn revoke_token(&self, caller: &Caller, id: String) -> Result<(), EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let op = AdminOp::RevokeToken { id: id.clone(), scope: who.scope };
        self.write_done(op, caller.actor(), About::Token(id.clone())).await?;
        tracing::info!(token = id, by = %who.name, "token revoked");
        Ok(())
    }
}
