//! The command of `--on-wake`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use wakemq_protocol::{AgentId, Command};

use crate::system;

/// A shell that takes what it started along when it is dropped before its end. What it left running at its
/// end, a program that it was meant to start say, is left alone.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = system::kill_all(&self.0) {
            tracing::warn!(%error, "what the command started cannot be killed");
        }
    }
}

/// Runs `script` for a command; the error says why it counts as failed. Dropping the future kills the script
/// with all that it started.
pub(crate) async fn run(
    script: &str,
    agent: &AgentId,
    command: &Command,
    limit: Duration,
) -> Result<(), String> {
    let text = |option: Option<&str>| option.unwrap_or_default().to_owned();
    let child = system::shell(script)
        .env("WAKEMQ_AGENT", agent.as_str())
        .env("WAKEMQ_ID", command.id.to_string())
        .env("WAKEMQ_KIND", command.kind.as_str())
        .env("WAKEMQ_SLOT", text(command.slot.as_ref().map(|slot| slot.as_str())))
        .env("WAKEMQ_PRIORITY", format!("{:?}", command.priority).to_lowercase())
        .env("WAKEMQ_REASON", text(command.reason.as_deref()))
        .env("WAKEMQ_ISSUED", command.issued.to_string())
        .env("WAKEMQ_BY", &command.by)
        .env("WAKEMQ_TTL", command.ttl.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run the command: {error}"))?;
    let mut running = Running(child);
    let Ok(ended) = tokio::time::timeout(limit, running.0.wait()).await else {
        return Err(format!("killed after {} s", limit.as_secs()));
    };
    match ended {
        Err(error) => Err(format!("cannot wait for the command: {error}")),
        Ok(status) if status.success() => Ok(()),
        // "exit status: 3" or "signal: 9 (SIGKILL)".
        Ok(status) => Err(status.to_string()),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use tokio::sync::oneshot;

    fn command() -> Command {
        serde_json::from_str(
            r#"{"id":"0197c1b2-0000-7000-8000-000000000001","kind":"wake","slot":"wake","ttl":60,
                "priority":"high","reason":"it's new","issued":"2026-11-22T01:00:00Z","by":"op:console"}"#,
        )
        .unwrap()
    }

    async fn script(script: &str, limit_secs: u64) -> Result<(), String> {
        run(script, &"a1".parse().unwrap(), &command(), Duration::from_secs(limit_secs)).await
    }

    #[tokio::test]
    async fn the_exit_code_is_the_answer() {
        assert_eq!(script("exit 0", 60).await, Ok(()));
        assert_eq!(script("exit 3", 60).await, Err("exit status: 3".to_owned()));
    }

    #[tokio::test]
    async fn the_environment_tells_the_command() {
        let all = r#"test "$WAKEMQ_AGENT $WAKEMQ_ID $WAKEMQ_KIND $WAKEMQ_SLOT $WAKEMQ_PRIORITY $WAKEMQ_REASON \
$WAKEMQ_ISSUED $WAKEMQ_BY $WAKEMQ_TTL" = "a1 0197c1b2-0000-7000-8000-000000000001 wake wake high it's new \
2026-11-22T01:00:00Z op:console 60""#;
        assert_eq!(script(all, 60).await, Ok(()));
    }

    /// A pipe ends when all that hold it open for writing are gone.
    #[tokio::test]
    async fn what_a_killed_command_started_is_killed_too() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let text = format!("exec 3>'{}'; sleep 1000 & echo ready >&3; wait", fifo.display());
        let (ready, started) = oneshot::channel();
        let (end, gone) = oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(File::open(fifo).unwrap()).lines();
            ready.send(lines.next().unwrap().unwrap()).unwrap();
            end.send(lines.next().is_none()).unwrap();
        });
        tokio::select! {
            result = script(&text, 600) => panic!("{result:?}"),
            line = started => assert_eq!(line.unwrap(), "ready"),
        }
        let limit = Duration::from_secs(20);
        assert!(tokio::time::timeout(limit, gone).await.expect("its child lives on").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_without_end_is_killed() {
        let result = script("exec sleep 1000", 600).await;
        assert_eq!(result, Err("killed after 600 s".to_owned()));
    }
}
