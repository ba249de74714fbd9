//! What asks the program to end.

/// Waits for SIGTERM or Ctrl-C.
#[cfg(unix)]
pub(crate) async fn ended() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn ended() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
