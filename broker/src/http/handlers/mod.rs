//! What each path does, by subject.

pub(super) mod agents;
pub(super) mod audit;
pub(super) mod commands;
pub(super) mod groups;
pub(super) mod operators;
pub(super) mod polls;
pub(super) mod power;
pub(super) mod system;
pub(super) mod tokens;

use std::future::Future;

use axum::Json as Answer;

use super::problem::{Kind, Refusal};
use crate::engine::EngineError;

/// How many lines a page shows if the request does not say.
const PAGE_DEFAULT: usize = 100;

type Answered<T> = Result<Answer<T>, Refusal>;

/// Carries out a change to its end, whether the client waits for the answer or not: what follows from a change that
/// is durable, as ending the connections of an operator that was revoked, must not be left undone.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(change).await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a request broke off");
            Err(Refusal::new(Kind::Unavailable, "the request broke off; look at what became of it"))
        }
    }
}
