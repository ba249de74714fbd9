//! Waiting with a time limit, and an error that says for what.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, interval, timeout};

/// How long anything may take. Nothing comes near it on an idle machine; a busy one must not fail a test.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How often [`eventually`] looks.
const LOOK: Duration = Duration::from_millis(20);

/// Awaits a future, and fails with what was waited for.
pub async fn within<F: Future>(what: &str, future: F) -> Result<F::Output> {
    timeout(LIMIT, future).await.with_context(|| format!("waited {} s for: {what}", LIMIT.as_secs()))
}

/// Looks again and again until there is something, for states of another process that nobody announces.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    let mut ticks = interval(LOOK);
    loop {
        ticks.tick().await;
        if let Some(found) = look().await.with_context(|| format!("while waiting for: {what}"))? {
            return Ok(found);
        }
        if began.elapsed() > LIMIT {
            bail!("waited {} s for: {what}", LIMIT.as_secs());
        }
    }
}
