//! The command of `--on-wake`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command as Process;
use wakemq_protocol::{AgentId, Command};

#[cfg(unix)]
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
#[cfg(not(unix))]
const SHELL: [&str; 2] = ["cmd", "/C"];

/// Runs `script` for a command; the error says why it counts as failed. Dropping the future kills the script.
pub(crate) async fn run(
    script: &str,
    agent: &AgentId,
    command: &Command,
    limit: Duration,
) -> Result<(), String> {
    let text = |option: Option<&str>| option.unwrap_or_default().to_owned();
    let mut child = Process::new(SHELL[0])
        .args([SHELL[1], script])
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
    let Ok(ended) = tokio::time::timeout(limit, child.wait()).await else {
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

    #[tokio::test(start_paused = true)]
    async fn a_command_without_end_is_killed() {
        let result = script("exec sleep 1000", 600).await;
        assert_eq!(result, Err("killed after 600 s".to_owned()));
    }
}
