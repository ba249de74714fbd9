//! `wakemq wake`: submits to all agents at once, and tells what became of each; or to a group.

mod board;
mod group;
mod report;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, Kind, SlotChoice, Submission};
use wakemq_publisher::{Publisher, SubmitError, Verdict, Wanted, new_command_id};

use crate::args::WakeArgs;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::interrupt::interrupt;
use crate::names::agents;
use crate::output::{Out, complain, hint};
use crate::progress::Progress;
use board::{Board, Ending, News};

/// News that wait to be shown.
const NEWS_QUEUE: usize = 1_024;

/// Wakes the agents, waits, and prints what became of them.
pub(crate) async fn run(args: WakeArgs, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    if let Some(target) = args.group() {
        return group::run(&args, target, profile, out).await;
    }
    let agents = agents(&args.agents)?;
    let wanted = Wanted::from(args.wait);
    let limit = Duration::from_secs(args.timeout.into());
    let deadline = Instant::now() + limit;
    let mut board = Board::new(&agents, wanted, args.timeout)?;

    let Some(publisher) = connect(profile, args.timeout, deadline).await? else {
        return Ok(ExitCode::Interrupted);
    };

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

/// Connects until the deadline; `None` if Ctrl-C came first.
async fn connect(
    profile: &Profile,
    timeout_secs: u32,
    deadline: Instant,
) -> Result<Option<Publisher>, Failure> {
    let connected = tokio::select! {
        connected = timeout_at(deadline, Publisher::connect(profile)) => connected,
        () = interrupt() => return Ok(None),
    };
    let publisher = connected.map_err(|_| {
        let error = anyhow::anyhow!("the broker cannot be reached within {timeout_secs} s");
        Failure::new(ExitCode::Unreachable, error, "see that wakemqd runs, or give more time by --timeout")
    })??;
    Ok(Some(publisher))
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
            () = &mut interrupt => {
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
        if let Some(outcome) = submitted.outcome() {
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

/// Chooses an id for each agent before anything is sent, so that it can be told whatever happens.
fn choose_id() -> Result<wakemq_protocol::CommandId, Failure> {
    new_command_id().ok_or_else(|| SubmitError::NoRandomness.into())
}
