//! How a wake of a group is printed at its end.

use serde::Serialize;
use wakemq_protocol::{AgentId, CommandId, CommandState, Counts, GroupPath};
use wakemq_publisher::{ApiError, Management, SubmitError, Verdict, Wanted};

use super::{Ending, Wake};
use crate::commands::{counts, note};
use crate::exit::ExitCode;
use crate::failure::{Failure, hint_for};
use crate::output::{Out, complain, hint};
use crate::text::{self, table};

/// Agents that are named at most.
const NAMED_MAX: usize = 20;
/// Agents asked for at once.
const PAGE: u32 = 500;
/// Pages of outcomes that are searched for those that are not as wanted.
const PAGES_MAX: usize = 20;

/// Agents for which the command is not as wanted.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) agents: Vec<NotAsWanted>,
    /// Why they could not be asked for.
    pub(super) error: Option<ApiError>,
}

/// An agent for which the command is not as wanted.
#[derive(Debug, Serialize)]
pub(super) struct NotAsWanted {
    agent: AgentId,
    state: CommandState,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Asks how it stands now, since news come at most once a second, and which agents are not as wanted: those first
/// of which nothing is known, by their names; not more than can be shown.
pub(super) async fn rest(wake: &mut Wake, management: &mut Management) -> Rest {
    let mut rest = Rest::default();
    // A broker that could not be reached all the time is not waited for once more.
    let unreachable = matches!(&wake.ending, Ending::NotFollowed(error) if error.is_unreachable());
    if wake.reached() < wake.total() && !unreachable {
        rest.error = collect(wake, management, &mut rest.agents).await.err();
    }
    rest
}

async fn collect(
    wake: &mut Wake,
    management: &mut Management,
    agents: &mut Vec<NotAsWanted>,
) -> Result<(), ApiError> {
    let mut view = management.command_outcomes(wake.id, None, PAGE).await?;
    if let (Some(update), Some(counts)) = (&mut wake.update, view.counts) {
        update.counts = counts;
        if wake.wanted.judge_counts(counts) == Verdict::Reached {
            wake.ending = Ending::Judged(Verdict::Reached);
            return Ok(());
        }
    }
    let mut after: Option<String> = None;
    while agents.len() < NAMED_MAX {
        let page = management.waiting(wake.id, after.as_deref(), PAGE).await?;
        agents.extend(page.agents.into_iter().map(|one| NotAsWanted {
            agent: one.agent,
            state: CommandState::Queued,
            note: Some(format!("in {}", one.group.label())),
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    agents.sort_by(|one, other| one.agent.cmp(&other.agent));
    for _ in 0..PAGES_MAX {
        let wrong = view.outcomes.into_iter().filter(|one| wake.wanted.judge(one.state) != Verdict::Reached);
        agents.extend(wrong.map(|one| NotAsWanted { state: one.state, note: note(&one), agent: one.agent }));
        let Some(next) = view.next.filter(|_| agents.len() < NAMED_MAX) else { break };
        view = management.command_outcomes(wake.id, Some(&next), PAGE).await?;
    }
    agents.truncate(NAMED_MAX);
    Ok(())
}

/// The whole as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Object<'a> {
    group: &'a GroupPath,
    id: CommandId,
    as_wanted: bool,
    /// Milliseconds from the start to the news that ended the wait, or to its end without.
    ms: u64,
    /// Missing where the broker told nothing but that it has the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    /// Some of the agents for which it is not as wanted.
    not_as_wanted: &'a [NotAsWanted],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn object<'a>(wake: &'a Wake, rest: &'a Rest, timeout_secs: u32) -> Object<'a> {
    Object {
        group: &wake.group,
        id: wake.id,
        as_wanted: wake.code() == ExitCode::AllAsWanted,
        ms: u64::try_from(wake.took.as_millis()).unwrap_or(u64::MAX),
        counts: wake.update.as_ref().map(|update| update.counts),
        not_as_wanted: &rest.agents,
        error: error(wake, timeout_secs),
    }
}

/// Prints the sum in one line, the counts in another, and who is missing in a table.
pub(super) fn plain(wake: &Wake, rest: &Rest, out: &mut Out) -> Result<(), Failure> {
    out.line(&headline(wake))?;
    if let Some(update) = &wake.update
        && update.counts.total() > 0
    {
        out.line(&format!("agents: {}", counts(update.counts)))?;
    }
    if !rest.agents.is_empty() {
        let rows: Vec<_> = rest.agents.iter().map(row).collect();
        table(["AGENT", "STATE", "NOTE"], &rows).iter().try_for_each(|line| out.line(line))?;
        let missing = wake.total().saturating_sub(wake.reached());
        let more = missing.saturating_sub(rest.agents.len() as u64);
        if more > 0 {
            out.line(&format!("… and {more} more"))?;
        }
    }
    out.flush()?;
    if let Some(error) = &rest.error {
        complain(&format!("which agents are missing cannot be told: {}", text::plain(&error.to_string())));
    }
    Ok(())
}

fn headline(wake: &Wake) -> String {
    let after = match wake.took.as_millis() {
        ms if ms < 10_000 => format!("{ms} ms"),
        _ => format!("{} s", wake.took.as_secs()),
    };
    let what = match &wake.update {
        None => "accepted".to_owned(),
        Some(update) if update.state == CommandState::Refused => {
            let why =
                update.detail.as_deref().map_or_else(String::new, |why| format!(", {}", text::plain(why)));
            format!("refused{why}")
        }
        Some(update) if update.counts.total() == 0 => "accepted, and there is no agent".to_owned(),
        Some(update) if wake.wanted == Wanted::Accepted => {
            format!("accepted for {}", agents(update.counts.total()))
        }
        Some(_) => format!("{} of {} {}", wake.reached(), agents(wake.total()), word(wake.wanted)),
    };
    format!("{}: {what} after {after} ({})", wake.group.label(), wake.id)
}

fn agents(count: u64) -> String {
    if count == 1 { "1 agent".to_owned() } else { format!("{count} agents") }
}

fn word(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Accepted => "accepted",
        Wanted::Sent => CommandState::Sent.as_str(),
        Wanted::Acknowledged => CommandState::Acknowledged.as_str(),
        Wanted::Done => CommandState::Done.as_str(),
    }
}

fn row(one: &NotAsWanted) -> [String; 3] {
    [one.agent.to_string(), one.state.to_string(), one.note.clone().unwrap_or_default()]
}

/// Returns what went wrong besides the counts.
fn error(wake: &Wake, timeout_secs: u32) -> Option<String> {
    match &wake.ending {
        Ending::Judged(_) => None,
        Ending::NotFollowed(SubmitError::TimedOut) => {
            let missing = wake.total().saturating_sub(wake.reached());
            Some(format!("{missing} not {} within {timeout_secs} s", word(wake.wanted)))
        }
        Ending::NotFollowed(error) => Some(error.to_string()),
        Ending::Interrupted => Some("interrupted".to_owned()),
    }
}

/// Says what to do about what is not as wanted.
pub(super) fn advise(wake: &Wake, timeout_secs: u32) {
    let id = wake.id;
    match &wake.ending {
        Ending::Judged(Verdict::Reached) => {}
        Ending::Judged(Verdict::Missed | Verdict::Waiting) => {
            let missing = wake.total().saturating_sub(wake.reached());
            complain(&format!("{missing} of {} are not as wanted", wake.total()));
            hint(&format!("`wakemq show {id} --outcomes` tells what became of each"));
        }
        Ending::NotFollowed(why) => {
            let words = error(wake, timeout_secs).unwrap_or_default();
            complain(&text::plain(&words));
            hint(&match why {
                SubmitError::TimedOut => format!(
                    "the command remains valid until its ttl ends: `wakemq show {id}` tells what becomes of it, \
                     `wakemq show {id} --waiting` who is missing"
                ),
                SubmitError::Unreachable(_) => format!(
                    "the broker has the command and delivers it when it is back, `wakemq show {id}` then tells more"
                ),
                other @ (SubmitError::NotAllowed(_)
                | SubmitError::BadPayload(_)
                | SubmitError::Quota(_)
                | SubmitError::IdConflict(_)
                | SubmitError::Refused { .. }
                | SubmitError::Invalid(_)
                | SubmitError::Closed
                | SubmitError::NoRandomness) => hint_for(other).to_owned(),
            });
        }
        Ending::Interrupted => {
            complain("interrupted; the command remains valid");
            hint(&format!("`wakemq show {id}` tells what becomes of it, `wakemq cancel {id}` takes it back"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wakemq_protocol::{GroupUpdate, Timestamp};

    fn wake(wanted: Wanted, counts: Option<Counts>, ending: Ending) -> Wake {
        let id = CommandId::from_parts(1, &[0; 10]);
        let group: GroupPath = "paris".parse().unwrap();
        let at = Timestamp::from_unix_ms(0);
        let state = CommandState::Queued;
        let update =
            counts.map(|counts| GroupUpdate { id, group: group.clone(), state, at, counts, detail: None });
        Wake { id, group, wanted, update, ending, took: Duration::from_millis(1_234) }
    }

    #[test]
    fn the_headline_tells_how_many() {
        let id = CommandId::from_parts(1, &[0; 10]);
        let some = Counts { queued: 3, done: 5, acknowledged: 1, ..Counts::default() };
        let judged = || Ending::Judged(Verdict::Waiting);
        for (wake, expected) in [
            (wake(Wanted::Acknowledged, Some(some), judged()), "6 of 9 agents acknowledged"),
            (wake(Wanted::Done, Some(some), judged()), "5 of 9 agents done"),
            (wake(Wanted::Accepted, Some(some), judged()), "accepted for 9 agents"),
            (wake(Wanted::Done, Some(Counts::default()), judged()), "accepted, and there is no agent"),
            (wake(Wanted::Done, None, judged()), "accepted"),
        ] {
            assert_eq!(headline(&wake), format!("paris: {expected} after 1234 ms ({id})"));
        }
    }

    #[test]
    fn what_is_missing_is_an_error_with_its_number() {
        let some = Counts { queued: 3, done: 5, ..Counts::default() };
        let late = wake(Wanted::Done, Some(some), Ending::NotFollowed(SubmitError::TimedOut));
        let object = serde_json::to_value(object(&late, &Rest::default(), 30)).unwrap();
        assert_eq!(object["error"], "3 not done within 30 s");
        assert_eq!((&object["as_wanted"], &object["counts"]["done"]), (&false.into(), &5.into()));
        assert_eq!(late.code(), ExitCode::SomeNot);
        assert_eq!(wake(Wanted::Done, None, Ending::Interrupted).code(), ExitCode::Interrupted);
    }
}
