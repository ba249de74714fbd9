//! `wakemq wol --mac`: packets for a machine without an agent.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};
use wakemq_protocol::http::{Profile, WolAnswer, WolRequest};
use wakemq_protocol::{AgentId, CommandId, CommandState, MacAddr, Outcome, SecureOn};
use wakemq_publisher::Management;

use crate::args::{WolArgs, WolWait};
use crate::commands::note;
use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::interrupt::interrupt;
use crate::output::{Out, complain, hint};
use crate::text::plain;

/// How often the relay's command is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// More than any password has, in bytes.
const PASSWORD_MAX: u64 = 64;

/// What was done.
#[derive(Debug, Serialize)]
struct Object<'a> {
    mac: MacAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a AgentId>,
    #[serde(flatten)]
    answer: &'a WolAnswer,
    /// What became of the relay's command, as far as that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a Outcome>,
    as_wanted: bool,
}

/// Has packets sent, and tells what became of that.
pub(super) async fn run(
    mac: MacAddr,
    args: &WolArgs,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout.into());
    let secureon = args.secureon_file.as_deref().map(password).transpose()?;
    let mut management = Management::new(profile)?;
    let request = WolRequest { mac, via: args.via.clone(), secureon };
    let answer = management.wol(&request).await.map_err(|error| {
        let conflict = "see that the agent is connected, or [wol] addresses in the broker's configuration";
        with_advice(error, "see the spelling; `wakemq agents list` shows all agents", conflict)
    })?;
    let follows = args.wait.unwrap_or(WolWait::Sent) == WolWait::Sent;
    let outcome = match answer.command.filter(|_| follows) {
        Some(command) => {
            let followed = tokio::select! {
                followed = timeout_at(deadline, outcome(command, &mut management)) => followed,
                () = interrupt() => {
                    complain(&format!("interrupted; the command {command} remains"));
                    hint(&format!("`wakemq show {command}` tells what became of it"));
                    return Ok(ExitCode::Interrupted);
                }
            };
            followed.ok().transpose()?
        }
        None => None,
    };
    let as_wanted = match (&outcome, answer.command) {
        (Some(outcome), _) => outcome.state == CommandState::Done,
        (None, Some(_)) => !follows,
        (None, None) => !answer.destinations.is_empty() && answer.errors.is_empty(),
    };
    if args.json {
        let (via, outcome) = (args.via.as_ref(), outcome.as_ref());
        out.json(&Object { mac, via, answer: &answer, outcome, as_wanted })?;
    } else {
        out.line(&describe(mac, args.via.as_ref(), &answer, outcome.as_ref()))?;
    }
    out.flush()?;
    if as_wanted {
        return Ok(ExitCode::AllAsWanted);
    }
    for error in &answer.errors {
        complain(&plain(error));
    }
    hint(match answer.command {
        Some(_) => {
            "the agent must be connected, and may have been told not to relay; try another one near the machine"
        }
        None => "see [wol] addresses in the broker's configuration, and the broker's log",
    });
    Ok(ExitCode::SomeNot)
}

/// Reads a SecureOn password; what is no password is not shown.
fn password(path: &Path) -> Result<SecureOn, Failure> {
    const FORM: &str = "it holds 4 or 6 octets, as 01:02:03:04:05:06 or 1.2.3.4";
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(PASSWORD_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(PASSWORD_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", path.display()))
        .map_err(|error| Failure::usage(error, FORM))?;
    text.trim().parse().map_err(|error: wakemq_protocol::ParseIdError| {
        Failure::usage(anyhow::Error::new(error).context(path.display().to_string()), FORM)
    })
}

/// Follows a relay's command to its end.
async fn outcome(command: CommandId, management: &mut Management) -> Result<Outcome, Failure> {
    loop {
        let view = management.command(command).await?;
        if let Some(outcome) = view.outcomes.into_iter().find(|outcome| outcome.state.is_terminal()) {
            return Ok(outcome);
        }
        sleep(LOOK).await;
    }
}

/// Says what was done in one line.
fn describe(mac: MacAddr, via: Option<&AgentId>, answer: &WolAnswer, outcome: Option<&Outcome>) -> String {
    match (via, answer.command) {
        (Some(via), Some(command)) => {
            let what = match outcome {
                None => format!("{via} is asked to send"),
                Some(outcome) => {
                    let note = note(outcome).map_or_else(String::new, |note| format!(": {note}"));
                    match outcome.state {
                        CommandState::Done => format!("{via} says that it has sent{note}"),
                        CommandState::Expired => format!("{via} was not asked, it is not connected{note}"),
                        CommandState::Queued
                        | CommandState::Sent
                        | CommandState::Acknowledged
                        | CommandState::Failed
                        | CommandState::Refused
                        | CommandState::Superseded
                        | CommandState::Cancelled => format!("{via}: {}{note}", outcome.state),
                    }
                }
            };
            format!("{mac}: {what} ({command})")
        }
        (Some(_) | None, _) => {
            let to = if answer.destinations.is_empty() {
                "nowhere".to_owned()
            } else {
                answer.destinations.join(", ")
            };
            format!("{mac}: the broker sent to {}", plain(&to))
        }
    }
}
