//! `wakemq show` and `wakemq cancel`.

use wakemq_protocol::http::{CommandView, Profile};
use wakemq_protocol::{AgentId, CommandId, CommandState, Counts, GroupPath, Outcome};
use wakemq_publisher::Management;

use crate::evidence::evidence;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::listing::{Listing, PAGE, follow};
use crate::output::{Out, hint};
use crate::text::plain;

/// Outcomes of a command for a group that are shown without being asked for.
const SHOWN: usize = 20;

/// What of a command is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What there is to know in short.
    Summary,
    /// All outcomes.
    Outcomes,
    /// All agents that a command for a group waits for.
    Waiting,
}

/// Prints a command and what became of it.
pub(crate) async fn show(
    id: CommandId,
    part: Part,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    match part {
        Part::Summary => {
            let view = management.command(id).await.map_err(unknown_id)?;
            if json {
                out.json(&view)?;
            } else {
                describe(&view).iter().try_for_each(|line| out.line(line))?;
            }
        }
        Part::Outcomes => outcomes(id, json, &mut management, out).await?,
        Part::Waiting => waiting(id, json, &mut management, out).await?,
    }
    Ok(ExitCode::AllAsWanted)
}

async fn outcomes(
    id: CommandId,
    json: bool,
    management: &mut Management,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut listing = Listing::new(["AGENT", "STATE", "SINCE", "NOTE"], json);
    let mut after: Option<AgentId> = None;
    while !out.is_closed() {
        let view = management.command_outcomes(id, after.as_ref(), PAGE).await.map_err(unknown_id)?;
        let row = |outcome: &Outcome| {
            let since = outcome.at.whole_secs().to_string();
            let note = note(outcome).unwrap_or_default();
            [outcome.agent.to_string(), outcome.state.to_string(), since, note]
        };
        listing.page(&view.outcomes, row, out)?;
        after = match follow(after.as_ref(), view.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(())
}

async fn waiting(
    id: CommandId,
    json: bool,
    management: &mut Management,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut listing = Listing::new(["AGENT", "GROUP"], json);
    let mut after: Option<String> = None;
    while !out.is_closed() {
        let page = management.waiting(id, after.as_deref(), PAGE).await.map_err(unknown_id)?;
        listing.page(&page.agents, |one| [one.agent.to_string(), one.group.label().to_owned()], out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(())
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
        match (&view.group, view.counts) {
            (Some(path), Some(of)) => out.line(&format!("{}: {}", path.label(), counts(of)))?,
            _ => view.outcomes.iter().try_for_each(|outcome| out.line(&describe_outcome(outcome)))?,
        }
    }
    out.flush()?;
    let (whole, on_its_way) = match view.counts {
        Some(of) => (of.total() == of.cancelled, of.sent > 0),
        None => (
            view.outcomes.iter().all(|outcome| outcome.state == CommandState::Cancelled),
            view.outcomes.iter().any(|outcome| outcome.cancel_requested),
        ),
    };
    if whole {
        return Ok(ExitCode::AllAsWanted);
    }
    hint(if on_its_way {
        "what is on its way ends cancelled only if the connection ends first; `wakemq show ID` tells"
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
    let target = match (&view.agent, &view.group) {
        (Some(agent), _) => format!("agent:     {agent}"),
        (None, path) => format!("group:     {}", path.as_ref().map_or("", GroupPath::label)),
    };
    let mut lines = vec![
        format!("id:        {}", view.id),
        format!("kind:      {}", view.kind),
        target,
        format!("slot:      {slot}"),
        format!("priority:  {}", format!("{:?}", view.priority).to_lowercase()),
        format!("by:        {}", plain(&view.by)),
        format!("issued:    {}", view.issued),
        format!("expires:   {}", view.expires),
    ];
    if let Some(reason) = &view.reason {
        lines.push(format!("reason:    {}", plain(reason)));
    }
    if let Some(state) = view.state {
        lines.push(format!("state:     {state}"));
    }
    if let Some(of) = view.counts {
        lines.push(format!("agents:    {} ({})", of.total(), counts(of)));
    }
    let shown = view.outcomes.iter().take(SHOWN);
    lines.extend(shown.map(|outcome| format!("outcome:   {}", describe_outcome(outcome))));
    if view.outcomes.len() > SHOWN || view.next.is_some() {
        lines.push(format!("outcome:   … and more: `wakemq show {} --outcomes` lists all", view.id));
    }
    lines.extend(
        view.evidence.iter().map(|step| format!("evidence:  {} {}", step.at, plain(&evidence(&step.what)))),
    );
    let unknown = view.counts.map_or(0, |of| of.queued);
    if unknown > 0 {
        lines.push(format!("waiting:   {unknown}: `wakemq show {} --waiting` lists them", view.id));
    }
    lines
}

/// Prints the counts that are not 0, the first in a command's life first.
pub(crate) fn counts(of: Counts) -> String {
    let words: Vec<_> =
        of.iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {state}")).collect();
    if words.is_empty() { "no agents".to_owned() } else { words.join(", ") }
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
    use wakemq_protocol::{Kind, PowerStep, PowerWhat, Priority, Timestamp};

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

    fn view() -> CommandView {
        CommandView {
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
            evidence: Vec::new(),
        }
    }

    #[test]
    fn a_command_is_described_with_its_outcome() {
        let view = view();
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

    #[test]
    fn the_evidence_is_part_of_a_description() {
        let step = |ms, what| PowerStep { at: Timestamp::from_unix_ms(ms), what };
        let relay: AgentId = "till-3".parse().unwrap();
        let view = CommandView {
            kind: Kind::Power,
            evidence: vec![
                step(1_000, PowerWhat::RelaySilent { relay }),
                step(2_500, PowerWhat::NoRelay { detail: "no\nawake relay".into() }),
            ],
            ..view()
        };
        assert_eq!(
            describe(&view)[9..].join("\n"),
            "outcome:   pc-1: done since 1970-01-01T00:00:01Z\n\
             evidence:  1970-01-01T00:00:01Z till-3 is silent\n\
             evidence:  1970-01-01T00:00:02.5Z no relay: no awake relay"
        );
    }

    #[test]
    fn a_command_for_a_group_is_described_by_counts() {
        let mut view = CommandView {
            id: CommandId::from_parts(1, &[0; 10]),
            kind: Kind::Wake,
            agent: None,
            group: Some("paris".parse().unwrap()),
            state: Some(CommandState::Queued),
            counts: Some(Counts { queued: 2, done: 25, ..Counts::default() }),
            next: None,
            slot: None,
            priority: Priority::Normal,
            reason: None,
            issued: Timestamp::from_unix_ms(0),
            expires: Timestamp::from_unix_ms(60_000),
            by: "op:console".into(),
            outcomes: vec![outcome(CommandState::Done)],
            evidence: Vec::new(),
        };
        let id = "00000000-0001-7000-8000-000000000000";
        assert_eq!(
            describe(&view)[8..].join("\n"),
            format!(
                "state:     queued\n\
                 agents:    27 (2 queued, 25 done)\n\
                 outcome:   pc-1: done since 1970-01-01T00:00:01Z\n\
                 waiting:   2: `wakemq show {id} --waiting` lists them"
            )
        );
        assert_eq!(describe(&view)[2], "group:     paris");
        view.outcomes = vec![outcome(CommandState::Done); 25];
        let lines = describe(&view);
        assert_eq!(lines.iter().filter(|line| line.contains("pc-1")).count(), SHOWN);
        assert!(lines.contains(&format!("outcome:   … and more: `wakemq show {id} --outcomes` lists all")));
    }
}
