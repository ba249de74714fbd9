//! How the outcomes are printed.

use serde::Serialize;
use wakemq_protocol::{AgentId, CommandId, PowerStep, Receipt, Timestamp};
use wakemq_publisher::SubmitError;

use super::board::{Board, Ending, Row};
use crate::commands::note;
use crate::evidence::evidence;
use crate::failure::{Failure, hint_for};
use crate::output::{Out, complain, hint, say};
use crate::text::{self, table};

/// One agent's outcome as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Object<'a> {
    agent: &'a AgentId,
    id: CommandId,
    /// A state of the wire; `accepted` where only that is known, `unknown` where not even that.
    state: &'static str,
    as_wanted: bool,
    /// Milliseconds from the start to the latest news.
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<&'a Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Returns a row as JSON shows it.
pub(crate) fn object(board: &Board, row: usize) -> Object<'_> {
    let row = &board.rows()[row];
    let outcome = row.outcome.as_ref();
    Object {
        agent: &row.agent,
        id: row.id,
        state: row.state(),
        as_wanted: row.as_wanted(),
        ms: u64::try_from(row.took.as_millis()).unwrap_or(u64::MAX),
        at: outcome.map(|outcome| outcome.at),
        detail: outcome.and_then(|outcome| outcome.detail.as_deref()),
        superseded_by: outcome.and_then(|outcome| outcome.superseded_by),
        late: outcome.and_then(|outcome| outcome.late.as_ref()),
        error: row.error(board),
    }
}

/// A step on the way of one agent's command as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct StepObject<'a> {
    agent: &'a AgentId,
    id: CommandId,
    evidence: &'a PowerStep,
}

/// Returns a step as JSON shows it.
pub(crate) fn step_object<'a>(board: &'a Board, row: usize, step: &'a PowerStep) -> StepObject<'a> {
    let row = &board.rows()[row];
    StepObject { agent: &row.agent, id: row.id, evidence: step }
}

/// Returns a step in words, with the time since the start.
pub(crate) fn step_line(board: &Board, row: usize, step: &PowerStep) -> String {
    let took = board.elapsed();
    let secs = format!("{}.{}", took.as_secs(), took.subsec_millis() / 100);
    let words = evidence(&step.what);
    format!("{secs:>6} s  {}: {}", board.rows()[row].agent, text::plain(&words))
}

/// Prints one plain line for one, a table for many and the counts behind it.
pub(crate) fn plain(board: &Board, out: &mut Out) -> Result<(), Failure> {
    if let [row] = board.rows() {
        return out.line(&line(row, board));
    }
    let rows: Vec<_> = board.rows().iter().map(|row| cells(row, board)).collect();
    for line in table(["AGENT", "STATE", "AFTER", "ID", "NOTE"], &rows) {
        out.line(&line)?;
    }
    out.flush()?;
    say(&format!("{} agents: {}", rows.len(), board.summary(None)));
    Ok(())
}

fn line(row: &Row, board: &Board) -> String {
    let mut line = format!("{}: {}", row.agent, row.state());
    if row.accepted {
        line.push_str(&format!(" after {}", after(row)));
    }
    if let Some(remark) = remark(row, board) {
        line.push_str(&format!(", {remark}"));
    }
    line.push_str(&format!(" ({})", row.id));
    line
}

fn cells(row: &Row, board: &Board) -> [String; 5] {
    let after = if row.accepted { after(row) } else { "-".to_owned() };
    [
        row.agent.to_string(),
        row.state().to_owned(),
        after,
        row.id.to_string(),
        remark(row, board).unwrap_or_default(),
    ]
}

fn after(row: &Row) -> String {
    let ms = row.took.as_millis();
    if ms < 10_000 { format!("{ms} ms") } else { format!("{} s", row.took.as_secs()) }
}

/// Returns what else there is to say: of the state, and of what went wrong.
fn remark(row: &Row, board: &Board) -> Option<String> {
    let error = row.error(board).map(|error| text::plain(&error).into_owned());
    let remarks: Vec<_> = row.outcome.as_ref().and_then(note).into_iter().chain(error).collect();
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

/// Says what to do about what is not as wanted, each advice once.
pub(crate) fn advise(board: &Board) {
    let wrong = board.rows().iter().filter(|row| !row.as_wanted()).count();
    if wrong == 0 || board.rows().iter().any(|row| matches!(row.ending, Some(Ending::Interrupted))) {
        return;
    }
    complain(&match board.rows() {
        [row] => format!("{} is not as wanted: {}", row.agent, reason(row, board)),
        rows => format!("{wrong} of {} are not as wanted", rows.len()),
    });
    let mut given = Vec::new();
    for advice in board.rows().iter().filter(|row| !row.as_wanted()).map(|row| advice(row, board)) {
        if !given.contains(&advice) {
            given.push(advice);
        }
    }
    hint(&given.join("; "));
}

fn reason(row: &Row, board: &Board) -> String {
    remark(row, board).unwrap_or_else(|| row.state().to_owned())
}

fn advice(row: &Row, board: &Board) -> &'static str {
    match &row.ending {
        Some(Ending::NotFollowed(SubmitError::TimedOut)) => {
            "the command remains valid until its ttl ends, `wakemq show ID` tells what becomes of it"
        }
        Some(Ending::NotFollowed(SubmitError::Unreachable(_))) => {
            "the broker has the command and delivers it when it is back, `wakemq show ID` then tells more"
        }
        Some(Ending::NotAccepted(error) | Ending::NotFollowed(error)) => hint_for(error),
        Some(Ending::Judged(_)) if board.switches_on() => {
            "`wakemq explain AGENT` says what to do about it, `wakemq show ID` has the evidence"
        }
        Some(Ending::Judged(_) | Ending::Interrupted) | None => "`wakemq show ID` tells all about a command",
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::News;
    use super::*;
    use wakemq_protocol::{CommandState, Outcome};
    use wakemq_publisher::{Verdict, Wanted};

    fn outcome(state: CommandState, detail: Option<&str>) -> Outcome {
        Outcome {
            agent: "a".parse().unwrap(),
            state,
            at: Timestamp::from_unix_ms(0),
            detail: detail.map(str::to_owned),
            superseded_by: None,
            cancel_requested: false,
            late: None,
        }
    }

    fn board(agents: &[&str]) -> Board {
        let agents: Vec<_> = agents.iter().map(|agent| agent.parse().unwrap()).collect();
        Board::new(&agents, Wanted::Acknowledged, 30).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_one_line() {
        let mut board = board(&["a"]);
        board.take(0, News::Accepted);
        board.take(0, News::Outcome(outcome(CommandState::Acknowledged, None)));
        board.take(0, News::Ended(Ending::Judged(Verdict::Reached)));
        let id = board.rows()[0].id;
        assert_eq!(line(&board.rows()[0], &board), format!("a: acknowledged after 0 ms ({id})"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_as_wanted_says_why() {
        let mut board = board(&["a", "b"]);
        board.take(0, News::Accepted);
        board.take(0, News::Outcome(outcome(CommandState::Queued, None)));
        board.take(0, News::Ended(Ending::NotFollowed(SubmitError::TimedOut)));
        board.take(1, News::Accepted);
        board.take(1, News::Outcome(outcome(CommandState::Failed, Some("exit\nstatus 1"))));
        board.take(1, News::Ended(Ending::Judged(Verdict::Missed)));
        let id = board.rows()[0].id;
        let texts = |row: &Row| cells(row, &board);
        assert_eq!(
            texts(&board.rows()[0]),
            ["a", "queued", "0 ms", &id.to_string(), "not acknowledged within 30 s"]
        );
        assert_eq!(texts(&board.rows()[1])[4], "exit status 1");
        let json = serde_json::to_value(object(&board, 1)).unwrap();
        assert_eq!(json["state"], "failed");
        assert_eq!(json["as_wanted"], false);
        assert_eq!(json["detail"], "exit\nstatus 1");
        assert!(json.get("error").is_none());
    }
}
