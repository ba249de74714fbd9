//! `wakemq wake`: submits to all agents at once, and tells what became of each.

mod board;
mod report;

use std::io::BufRead as _;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, Kind, SlotChoice, Submission};
use wakemq_publisher::{Publisher, SubmitError, Verdict, Wanted, new_command_id};

use crate::args::WakeArgs;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{Out, complain, hint};
use crate::progress::Progress;
use board::{Board, Ending, News};

/// News that wait to be shown.
const NEWS_QUEUE: usize = 1_024;

/// Wakes the agents, waits, and prints what became of them.
pub(crate) async fn run(args: WakeArgs, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let agents = agents(&args.agents)?;
    let wanted = Wanted::from(args.wait);
    let limit = Duration::from_secs(args.timeout.into());
    let deadline = Instant::now() + limit;
    let mut board = Board::new(&agents, wanted, args.timeout)?;

    let connected = tokio::select! {
        connected = timeout_at(deadline, Publisher::connect(profile)) => connected,
        _ = interrupt() => return Ok(ExitCode::Interrupted),
    };
    let publisher = connected.map_err(|_| {
        let error = anyhow::anyhow!("the broker cannot be reached within {} s", args.timeout);
        Failure::new(ExitCode::Unreachable, error, "see that wakemqd runs, or give more time by --timeout")
    })??;

    let interrupted = follow(&args, &publisher, &mut board, deadline, out).await?;
    publisher.close().await;
    if !args.json {
        report::plain(&board, out)?;
    }
    out.flush()?;
    report::advise(&board);
    if interrupted {
        complain("interrupted; what was accepted remains valid");
        hint("`wakemq show ID` tells what became of a command, `wakemq cancel ID` takes it back");
        return Ok(ExitCode::Interrupted);
    }
    Ok(board.code())
}

/// Submits and follows until each wait has ended; true if Ctrl-C ended it.
async fn follow(
    args: &WakeArgs,
    publisher: &Publisher,
    board: &mut Board,
    deadline: Instant,
    out: &mut Out,
) -> Result<bool, Failure> {
    let (tell, mut told) = mpsc::channel(NEWS_QUEUE);
    // Dropped at the end, which ends what is still waited for.
    let mut tasks = JoinSet::new();
    for (row, (agent, id)) in board.targets().enumerate() {
        let submission = Submission { id: Some(id), ..submission(args) };
        let (publisher, agent, tell) = (publisher.clone(), agent.clone(), tell.clone());
        tasks.spawn(follow_one(publisher, agent, submission, Wanted::from(args.wait), deadline, row, tell));
    }
    drop(tell);
    let mut progress = Progress::new();
    let mut interrupt = std::pin::pin!(interrupt());
    loop {
        tokio::select! {
            news = told.recv() => {
                let Some((row, news)) = news else { return Ok(false) };
                let ended = board.take(row, news);
                if args.json && ended {
                    out.json(&report::object(board, row))?;
                    if told.is_empty() {
                        out.flush()?;
                    }
                }
            }
            () = progress.due() => {}
            _ = &mut interrupt => {
                for row in board.interrupt() {
                    if args.json {
                        out.json(&report::object(board, row))?;
                    }
                }
                return Ok(true);
            }
        }
        progress.show(|| board.summary(publisher.lost().as_deref()));
    }
}

/// Submits to one agent, and tells each change until the wait ends.
async fn follow_one(
    publisher: Publisher,
    agent: AgentId,
    submission: Submission,
    wanted: Wanted,
    deadline: Instant,
    row: usize,
    tell: mpsc::Sender<(usize, News)>,
) {
    // Nobody is left to be told once the receiver has gone, and then this task is ended too.
    let tell = async |news| _ = tell.send((row, news)).await;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut submitted = match publisher.submit_within(&agent, submission, left()).await {
        Ok(submitted) => submitted,
        Err(error) => return tell(News::Ended(Ending::NotAccepted(error))).await,
    };
    tell(News::Accepted).await;
    if wanted == Wanted::Accepted {
        return tell(News::Ended(Ending::Judged(Verdict::Reached))).await;
    }
    loop {
        let known = submitted.outcome();
        if let Some(outcome) = known {
            let verdict = wanted.judge(outcome.state);
            tell(News::Outcome(outcome)).await;
            if verdict != Verdict::Waiting {
                return tell(News::Ended(Ending::Judged(verdict))).await;
            }
        }
        match timeout_at(deadline, submitted.next()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return tell(News::Ended(Ending::NotFollowed(error))).await,
            Err(_) => {
                let error = publisher.lost().map_or(SubmitError::TimedOut, SubmitError::Unreachable);
                return tell(News::Ended(Ending::NotFollowed(error))).await;
            }
        }
    }
}

fn submission(args: &WakeArgs) -> Submission {
    Submission {
        slot: match &args.slot {
            Some(slot) => SlotChoice::Named(slot.clone()),
            None if args.no_slot => SlotChoice::Never,
            None => SlotChoice::Default,
        },
        ttl: args.ttl,
        priority: args.priority.into(),
        reason: args.reason.clone(),
        ..Submission::new(Kind::Wake)
    }
}

/// Resolves when the user presses Ctrl-C; never where that cannot be noticed, and then it ends the program.
async fn interrupt() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::debug!(%error, "Ctrl-C cannot be noticed");
        std::future::pending::<()>().await;
    }
}

/// Returns the agents of the command line, and of standard input for each `-`; each agent once.
fn agents(words: &[String]) -> Result<Vec<AgentId>, Failure> {
    let mut texts = Vec::new();
    for word in words {
        if word == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line
                    .context("cannot read standard input")
                    .map_err(|error| Failure::usage(error, "`-` reads agents, one a line"))?;
                texts.push(line.trim().to_owned());
            }
        } else {
            texts.push(word.clone());
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut agents = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let agent: AgentId = text.parse().map_err(|error: wakemq_protocol::ParseIdError| {
            Failure::usage(
                anyhow::Error::new(error).context(format!("{text:?}")),
                "an agent is named by 1 to 64 of A-Z a-z 0-9 . _ -; `wakemq agents list` shows all agents",
            )
        })?;
        if seen.insert(agent.clone()) {
            agents.push(agent);
        }
    }
    if agents.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!("no agent to wake"), "name one, or one a line for `-`"));
    }
    Ok(agents)
}

/// Chooses an id for each agent before anything is sent, so that it can be told whatever happens.
fn choose_id() -> Result<wakemq_protocol::CommandId, Failure> {
    new_command_id().ok_or_else(|| SubmitError::NoRandomness.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_is_woken_once_in_the_order_given() {
        let words = ["b", "a", "B", "c"].map(str::to_owned);
        let names: Vec<_> = agents(&words).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b", "a", "c"]);
    }

    #[test]
    fn what_is_no_agent_is_a_matter_of_usage() {
        let failure = agents(&["a b".to_owned()]).unwrap_err();
        assert_eq!(failure.code, ExitCode::Usage);
        assert!(failure.to_string().starts_with("error: \"a b\": not a valid agent id"), "{failure}");
    }
}
