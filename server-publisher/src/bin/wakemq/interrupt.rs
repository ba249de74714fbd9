//! Ctrl-C.

/// Resolves when the user presses Ctrl-C; never where that cannot be noticed, and then it ends the program.
pub(crate) async fn interrupt() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::debug!(%error, "Ctrl-C cannot be noticed");
        std::future::pending::<()>().await;
    }
}
