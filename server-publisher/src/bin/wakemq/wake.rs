//! `wakemq wake`: submits to all agents at once, and tells what became of each; or to a group.
//!
//! `wakemq wol` does the same with another command, and shows each step of it.

mod board;
mod group;
mod power;
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
use crate::output::{Out, complain, hint, say};
use crate::progress::Progress;
use board::{Board, Ending, News};
use power::Powering;
pub(crate) use power::of_group;

/// News that wait to be shown.
const NEWS_QUEUE: usize = 1_024;

/// What all agents are asked, and how far that is waited for.
pub(crate) struct Errand {
    pub(crate) submission: Submission,
    pub(crate) wanted: Wanted,
    pub(crate) timeout_secs: u32,
    pub(crate) json: bool,
}

/// Wakes the agents, waits, and prints what became of them.
pub(crate) async fn run(args: WakeArgs, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    if let Some(target) = args.group() {
        return group::run(&args, target, profile, out).await;
    }
    let agents = agents(&args.agents)?;
    let asleep = if args.is_power_auto() { power::away(&agents, profile).await? } else { Vec::new() };
    let errand = Errand {
        submission: submission(&args),
        wanted: args.wait.into(),
        timeout_secs: args.timeout_secs(),
        json: args.json,
    };
    errand.run(&agents, &asleep, profile, out).await
}

impl Errand {
    /// Submits to all, waits, and prints what became of each; those that are `asleep` are switched on first.
    pub(crate) async fn run(
        &self,
        agents: &[AgentId],
        asleep: &[AgentId],
        profile: &Profile,
        out: &mut Out,
    ) -> Result<ExitCode, Failure> {
        let deadline = Instant::now() + Duration::from_secs(self.timeout_secs.into());
        let mut board = Board::new(agents, self.wanted, self.timeout_secs)?;
        if self.submission.kind == Kind::Power {
            board = board.switching_on();
        }
        let Some(publisher) = connect(profile, self.timeout_secs, deadline).await? else {
            return Ok(ExitCode::Interrupted);
        };
        let powering = Powering::start(asleep, &publisher, deadline);
        let interrupted = self.follow(&publisher, powering, &mut board, deadline, out).await?;
        publisher.close().await;
        if !self.json {
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
        &self,
        publisher: &Publisher,
        mut powering: Powering,
        board: &mut Board,
        deadline: Instant,
        out: &mut Out,
    ) -> Result<bool, Failure> {
        let (tell, mut told) = mpsc::channel(NEWS_QUEUE);
        // Dropped at the end, which ends what is still waited for.
        let mut tasks = JoinSet::new();
        for (row, (agent, id)) in board.targets().enumerate() {
            let submission = Submission { id: Some(id), ..self.submission.clone() };
            let (publisher, agent, tell) = (publisher.clone(), agent.clone(), tell.clone());
            tasks.spawn(follow_one(publisher, agent, submission, self.wanted, deadline, row, tell));
        }
        drop(tell);
        let mut progress = Progress::new();
        let mut interrupt = std::pin::pin!(interrupt());
        loop {
            tokio::select! {
                news = told.recv() => {
                    let Some((row, news)) = news else { break };
                    progress.clear_if(matches!(news, News::Step(_)));
                    self.show(board, row, news, told.is_empty(), out)?;
                }
                line = powering.next() => {
                    progress.clear();
                    say(&line);
                }
                () = progress.due() => {}
                () = &mut interrupt => {
                    for row in board.interrupt() {
                        if self.json {
                            out.json(&report::object(board, row))?;
                        }
                    }
                    return Ok(true);
                }
            }
            progress.show(|| board.summary(publisher.lost().as_deref()));
        }
        progress.clear();
        powering.accepted().await;
        Ok(false)
    }

    /// Takes news, and shows what is to be seen at once.
    fn show(
        &self,
        board: &mut Board,
        row: usize,
        news: News,
        is_last: bool,
        out: &mut Out,
    ) -> Result<(), Failure> {
        if let News::Step(step) = &news {
            if self.json {
                out.json(&report::step_object(board, row, step))?;
            } else {
                out.line(&report::step_line(board, row, step))?;
            }
        }
        let is_step = matches!(news, News::Step(_));
        let ended = board.take(row, news);
        if self.json && ended {
            out.json(&report::object(board, row))?;
        }
        if is_last && (is_step || self.json && ended) {
            out.flush()?;
        }
        Ok(())
    }
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
    let mut told = 0;
    loop {
        for step in submitted.steps().into_iter().skip(told) {
            told += 1;
            tell(News::Step(step)).await;
        }
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
