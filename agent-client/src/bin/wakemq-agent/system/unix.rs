//! Unix: signals, and process groups.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or Ctrl-C.
pub(crate) async fn ended() -> io::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Prepares a shell that leads a process group of its own: it can be killed with all that it started, and
/// Ctrl-C at a terminal does not reach it before the program has decided.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).process_group(0);
    command
}

/// Kills a shell that nobody has waited for, and what it started.
pub(crate) fn kill_all(shell: &Child) -> io::Result<()> {
    // An id is not given to another process before somebody has waited for the one that had it.
    let Some(leader) = shell.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return Ok(()) };
    match kill_process_group(leader, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
