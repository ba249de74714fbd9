//! What is known of each agent's command.

use std::time::Duration;

use tokio::time::Instant;
use wakemq_protocol::{AgentId, CommandId, CommandState, Outcome, PowerStep};
use wakemq_publisher::{SubmitError, Verdict, Wanted};

use super::choose_id;
use crate::exit::ExitCode;
use crate::failure::{Failure, code_of};

/// What happened to one command.
#[derive(Debug)]
pub(crate) enum News {
    /// The broker has it.
    Accepted,
    /// Its state changed.
    Outcome(Outcome),
    /// A step on its way.
    Step(PowerStep),
    /// The wait for it ended.
    Ended(Ending),
}

/// How the wait for one command ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// By its state.
    Judged(Verdict),
    /// It was not accepted, or nobody knows.
    NotAccepted(SubmitError),
    /// It was accepted, and news of it ceased.
    NotFollowed(SubmitError),
    /// Ctrl-C.
    Interrupted,
}

/// One agent's command.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) agent: AgentId,
    pub(crate) id: CommandId,
    pub(crate) accepted: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) ending: Option<Ending>,
    /// From the start to the latest news.
    pub(crate) took: Duration,
}

impl Row {
    /// Returns the state in a word: a state of the wire, `accepted` where only that is known, or `unknown`.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.outcome, self.accepted, &self.ending) {
            (Some(outcome), ..) => outcome.state.as_str(),
            (None, true, _) => "accepted",
            (None, false, Some(Ending::NotAccepted(error))) if !is_open(error) => "refused",
            (None, false, _) => "unknown",
        }
    }

    /// Tells whether the command is as wanted.
    pub(crate) fn as_wanted(&self) -> bool {
        self.code() == ExitCode::AllAsWanted
    }

    fn code(&self) -> ExitCode {
        match &self.ending {
            Some(Ending::Judged(Verdict::Reached)) => ExitCode::AllAsWanted,
            Some(Ending::NotAccepted(error) | Ending::NotFollowed(error)) => code_of(error),
            Some(Ending::Judged(Verdict::Missed | Verdict::Waiting) | Ending::Interrupted) | None => {
                ExitCode::SomeNot
            }
        }
    }

    /// Returns what went wrong besides the state.
    pub(crate) fn error(&self, board: &Board) -> Option<String> {
        match self.ending.as_ref()? {
            Ending::Judged(_) => None,
            Ending::NotFollowed(SubmitError::TimedOut) => {
                Some(format!("not {} within {} s", board.wanted_word(), board.timeout_secs))
            }
            // The state says that it was refused.
            Ending::NotAccepted(SubmitError::Refused { reason: Some(words), .. }) => Some(words.clone()),
            Ending::NotAccepted(error) | Ending::NotFollowed(error) => Some(error.to_string()),
            Ending::Interrupted => Some("interrupted".to_owned()),
        }
    }
}

/// Tells whether it is open after this error whether the command was accepted.
fn is_open(error: &SubmitError) -> bool {
    matches!(error, SubmitError::Unreachable(_) | SubmitError::TimedOut | SubmitError::Closed)
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Board {
    rows: Vec<Row>,
    wanted: Wanted,
    /// The commands switch endpoints on.
    switches_on: bool,
    timeout_secs: u32,
    started: Instant,
}

impl Board {
    /// Makes a row for each agent, with the id that its command will have.
    pub(crate) fn new(agents: &[AgentId], wanted: Wanted, timeout_secs: u32) -> Result<Self, Failure> {
        let row = |agent: &AgentId| {
            Ok(Row {
                agent: agent.clone(),
                id: choose_id()?,
                accepted: false,
                outcome: None,
                ending: None,
                took: Duration::ZERO,
            })
        };
        let rows = agents.iter().map(row).collect::<Result<_, Failure>>()?;
        Ok(Self { rows, wanted, switches_on: false, timeout_secs, started: Instant::now() })
    }

    /// Speaks of endpoints that are switched on.
    pub(crate) fn switching_on(self) -> Self {
        Self { switches_on: true, ..self }
    }

    /// Tells whether the commands switch endpoints on.
    pub(crate) fn switches_on(&self) -> bool {
        self.switches_on
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the rows in order of the command line.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns for whom and under which id to submit.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&AgentId, CommandId)> {
        self.rows.iter().map(|row| (&row.agent, row.id))
    }

    /// Takes news; true if the row's wait has ended.
    pub(crate) fn take(&mut self, row: usize, news: News) -> bool {
        let took = self.started.elapsed();
        let Some(row) = self.rows.get_mut(row) else { return false };
        match news {
            News::Accepted => {
                row.accepted = true;
                row.took = took;
            }
            News::Outcome(outcome) => {
                row.outcome = Some(outcome);
                row.took = took;
            }
            News::Step(_) => row.took = took,
            News::Ended(ending) => {
                row.ending = Some(ending);
                return true;
            }
        }
        false
    }

    /// Ends all waits; returns the rows that were still waited for.
    pub(crate) fn interrupt(&mut self) -> Vec<usize> {
        let open = self.rows.iter_mut().enumerate().filter(|(_, row)| row.ending.is_none());
        open.map(|(index, row)| {
            row.ending = Some(Ending::Interrupted);
            index
        })
        .collect()
    }

    /// Returns the exit code for all.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::of_all(self.rows.iter().map(Row::code))
    }

    fn wanted_word(&self) -> &'static str {
        match self.wanted {
            Wanted::Accepted => "accepted",
            Wanted::Sent => CommandState::Sent.as_str(),
            Wanted::Acknowledged => CommandState::Acknowledged.as_str(),
            Wanted::Done if self.switches_on => "up",
            Wanted::Done => CommandState::Done.as_str(),
        }
    }

    /// Counts the states in one line, in order of their first appearance, and why nothing moves.
    pub(crate) fn summary(&self, lost: Option<&str>) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for row in &self.rows {
            let state =
                if row.ending.is_none() && row.state() == "unknown" { "waiting" } else { row.state() };
            match counts.iter_mut().find(|(known, _)| *known == state) {
                Some((_, count)) => *count += 1,
                None => counts.push((state, 1)),
            }
        }
        let words: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let lost =
            lost.map_or_else(String::new, |why| format!("; no connection: {}", crate::text::plain(why)));
        format!("{}{lost}", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::Timestamp;

    pub(crate) fn board(agents: &[&str]) -> Board {
        let agents: Vec<_> = agents.iter().map(|agent| agent.parse().unwrap()).collect();
        Board::new(&agents, Wanted::Acknowledged, 30).unwrap()
    }

    fn outcome(agent: &str, state: CommandState) -> News {
        News::Outcome(Outcome {
            agent: agent.parse().unwrap(),
            state,
            at: Timestamp::from_unix_ms(0),
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn rows_tell_what_is_known_and_no_more() {
        let mut board = board(&["a", "b", "c", "d"]);
        assert_eq!(board.rows()[0].state(), "unknown");
        assert!(!board.take(0, News::Accepted));
        assert_eq!(board.rows()[0].state(), "accepted");
        assert!(!board.take(0, outcome("a", CommandState::Acknowledged)));
        assert!(board.take(0, News::Ended(Ending::Judged(Verdict::Reached))));
        board.take(1, News::Ended(Ending::NotAccepted(SubmitError::NotAllowed(None))));
        board.take(2, News::Ended(Ending::NotAccepted(SubmitError::TimedOut)));
        board.take(3, News::Accepted);
        board.take(3, News::Ended(Ending::NotFollowed(SubmitError::TimedOut)));
        let states: Vec<_> = board.rows().iter().map(Row::state).collect();
        assert_eq!(states, ["acknowledged", "refused", "unknown", "accepted"]);
        let errors: Vec<_> = board.rows().iter().map(|row| row.error(&board)).collect();
        assert_eq!(errors[0], None);
        assert_eq!(errors[1].as_deref(), Some("not allowed"));
        assert_eq!(errors[3].as_deref(), Some("not acknowledged within 30 s"));
        assert_eq!(board.code(), ExitCode::SomeNot);
        assert_eq!(board.summary(None), "1 acknowledged, 1 refused, 1 unknown, 1 accepted");
    }

    #[tokio::test(start_paused = true)]
    async fn the_code_is_that_of_what_all_failures_share() {
        let mut board = board(&["a", "b"]);
        board.take(0, News::Ended(Ending::Judged(Verdict::Reached)));
        board.take(1, News::Ended(Ending::NotAccepted(SubmitError::NotAllowed(None))));
        assert_eq!(board.code(), ExitCode::NotAllowed);
        board.take(0, News::Ended(Ending::NotAccepted(SubmitError::Unreachable("gone".into()))));
        assert_eq!(board.code(), ExitCode::SomeNot);
    }

    #[tokio::test(start_paused = true)]
    async fn ctrl_c_ends_what_is_open_alone() {
        let mut board = board(&["a", "b"]);
        board.take(0, News::Ended(Ending::Judged(Verdict::Reached)));
        assert_eq!(board.interrupt(), [1]);
        assert!(board.rows()[0].as_wanted() && !board.rows()[1].as_wanted());
        assert!(board.interrupt().is_empty());
    }
}
