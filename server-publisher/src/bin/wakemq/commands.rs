//! `wakemq show` and `wakemq cancel`.

use wakemq_protocol::http::{CommandView, Profile};
use wakemq_protocol::{CommandId, CommandState, Outcome};
use wakemq_publisher::Management;

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{Out, hint};
use crate::text::plain;

/// Prints a command and what became of it.
pub(crate) async fn show(
    id: CommandId,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let view = Management::new(profile)?.command(id).await.map_err(unknown_id)?;
    if json {
        out.json(&view)?;
    } else {
        for line in describe(&view) {
            out.line(&line)?;
        }
    }
    Ok(ExitCode::AllAsWanted)
}

/// Takes a command back, and prints what became of it.
pub(crate) async fn cancel(
    id: CommandId,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let view = Management::new(profile)?.cancel(id).await.map_err(unknown_id)?;
    if json {
        out.json(&view)?;
    } else {
        for outcome in &view.outcomes {
            out.line(&describe_outcome(outcome))?;
        }
    }
    let open = view.outcomes.iter().find(|outcome| outcome.state != CommandState::Cancelled);
    let Some(open) = open else { return Ok(ExitCode::AllAsWanted) };
    hint(if open.cancel_requested {
        "it is on its way, and ends cancelled only if the connection ends first; `wakemq show` tells"
    } else {
        "what an agent has, or what has ended, cannot be taken back"
    });
    Ok(ExitCode::SomeNot)
}

fn unknown_id(error: wakemq_publisher::ApiError) -> Failure {
    let unknown = error.is_not_found();
    let mut failure = Failure::from(error);
    if unknown {
        failure.hint =
            "the broker forgets a command a day after it would have expired; see the id".to_owned();
    }
    failure
}

fn describe(view: &CommandView) -> Vec<String> {
    let slot = view.slot.as_ref().map_or("none", |slot| slot.as_str());
    let mut lines = vec![
        format!("id:        {}", view.id),
        format!("kind:      {}", view.kind),
        format!("agent:     {}", view.agent.as_ref().map_or("", |agent| agent.as_str())),
        format!("slot:      {slot}"),
        format!("priority:  {}", format!("{:?}", view.priority).to_lowercase()),
        format!("by:        {}", plain(&view.by)),
        format!("issued:    {}", view.issued),
        format!("expires:   {}", view.expires),
    ];
    if let Some(reason) = &view.reason {
        lines.push(format!("reason:    {}", plain(reason)));
    }
    lines.extend(view.outcomes.iter().map(|outcome| format!("outcome:   {}", describe_outcome(outcome))));
    lines
}

/// Prints an outcome in one line.
fn describe_outcome(outcome: &Outcome) -> String {
    let mut line = format!("{}: {} since {}", outcome.agent, outcome.state, outcome.at);
    if let Some(note) = note(outcome) {
        line.push_str(", ");
        line.push_str(&note);
    }
    line
}

/// Returns what else there is to say of an outcome.
pub(crate) fn note(outcome: &Outcome) -> Option<String> {
    let mut notes = Vec::new();
    if let Some(newer) = &outcome.superseded_by {
        notes.push(format!("by {newer}"));
    }
    if outcome.cancel_requested {
        notes.push("cancelling asked for".to_owned());
    }
    if let Some(detail) = &outcome.detail {
        notes.push(plain(detail).into_owned());
    }
    if let Some(late) = &outcome.late {
        let detail =
            late.detail.as_deref().map_or_else(String::new, |detail| format!(" ({})", plain(detail)));
        let said = format!("{:?}", late.state).to_lowercase();
        notes.push(format!("the agent said {said} too late{detail}"));
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::{Kind, Priority, Timestamp};

    fn outcome(state: CommandState) -> Outcome {
        Outcome {
            agent: "pc-1".parse().unwrap(),
            state,
            at: Timestamp::from_unix_ms(1_000),
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        }
    }

    #[test]
    fn an_outcome_is_one_line() {
        assert_eq!(
            describe_outcome(&outcome(CommandState::Queued)),
            "pc-1: queued since 1970-01-01T00:00:01Z"
        );
        let mut failed = outcome(CommandState::Failed);
        failed.detail = Some("disk\nfull\x1b[2J".into());
        assert_eq!(describe_outcome(&failed), "pc-1: failed since 1970-01-01T00:00:01Z, disk full\\u{1b}[2J");
    }

    #[test]
    fn a_command_is_described_with_its_outcome() {
        let view = CommandView {
            id: CommandId::from_parts(1, &[0; 10]),
            kind: Kind::Wake,
            agent: Some("pc-1".parse().unwrap()),
            group: None,
            state: None,
            counts: None,
            next: None,
            slot: None,
            priority: Priority::High,
            reason: Some("new policy".into()),
            issued: Timestamp::from_unix_ms(0),
            expires: Timestamp::from_unix_ms(60_000),
            by: "op:console".into(),
            outcomes: vec![outcome(CommandState::Done)],
        };
        assert_eq!(
            describe(&view).join("\n"),
            "id:        00000000-0001-7000-8000-000000000000\n\
             kind:      wake\n\
             agent:     pc-1\n\
             slot:      none\n\
             priority:  high\n\
             by:        op:console\n\
             issued:    1970-01-01T00:00:00Z\n\
             expires:   1970-01-01T00:01:00Z\n\
             reason:    new policy\n\
             outcome:   pc-1: done since 1970-01-01T00:00:01Z"
        );
    }
}
