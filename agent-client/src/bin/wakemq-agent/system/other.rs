//! Systems with neither signals nor process groups.

use std::io;

use tokio::process::{Child, Command};

/// Waits for Ctrl-C.
pub(crate) async fn ended() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Prepares a shell.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("cmd");
    command.args(["/C", script]);
    command
}

/// Knows of nothing but the shell itself, which is killed when it is dropped.
pub(crate) fn kill_all(_shell: &Child) -> io::Result<()> {
    Ok(())
}
