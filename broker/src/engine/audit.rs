//! The audit trail, which the store writes along with each change.

use wakemq_protocol::http::AuditPage;
use wakemq_protocol::{Role, Timestamp};

use super::admin::{PAGE_MAX, wrong_rows};
use super::{Caller, Engine, EngineError};
use crate::store::{Query, Rows};

impl Engine {
    /// Shows a page of the audit trail of what the administrator administers, oldest first.
    ///
    /// The page may be short, or empty, and not the last.
    pub async fn audit(
        &self,
        caller: &Caller,
        since: Option<Timestamp>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, EngineError> {
        let who = self.admit(caller, Role::Admin)?;
        let query = Query::Audit { since, after, scope: who.scope, max: limit.clamp(1, PAGE_MAX) };
        let Rows::Audit { entries, next } = self.store.read(query).await? else {
            return Err(wrong_rows("the audit trail").into());
        };
        Ok(AuditPage { entries, next })
    }
}
