//! `wakemq wake --group` and `--all`: one command for all, followed by counts.

mod report;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{CommandId, GroupPath, GroupUpdate, News, Submission};
use wakemq_publisher::{Management, Publisher, SubmitError, Verdict, Wanted};

use super::power::{self, Powering};
use super::{choose_id, connect, submission};
use crate::args::WakeArgs;
use crate::commands::counts;
use crate::exit::ExitCode;
use crate::failure::{Failure, code_of};
use crate::interrupt::interrupt;
use crate::output::{Out, complain, hint, say};
use crate::progress::Progress;
use crate::text::plain;

/// How the wait for a group ended.
#[derive(Debug)]
enum Ending {
    /// By its counts.
    Judged(Verdict),
    /// It was accepted, and was not as wanted in time, or news of it ceased.
    NotFollowed(SubmitError),
    /// Ctrl-C.
    Interrupted,
}

/// What is known of the command.
#[derive(Debug)]
struct Wake {
    id: CommandId,
    group: GroupPath,
    wanted: Wanted,
    update: Option<GroupUpdate>,
    ending: Ending,
    /// From the start to the news that ended the wait, or to its end without.
    took: Duration,
}

/// Wakes a group, waits, and prints what became of it.
pub(super) async fn run(
    args: &WakeArgs,
    group: GroupPath,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let timeout_secs = args.timeout_secs();
    let deadline = started + Duration::from_secs(timeout_secs.into());
    let id = choose_id()?;
    let asleep =
        if args.is_power_auto() { power::of_group(&group, Some(false), profile).await? } else { Vec::new() };
    let Some(publisher) = connect(profile, timeout_secs, deadline).await? else {
        return Ok(ExitCode::Interrupted);
    };
    let mut powering = Powering::start(&asleep, &publisher, deadline);
    let submission = Submission { id: Some(id), ..submission(args) };
    let left = deadline.saturating_duration_since(Instant::now());
    let submitted = tokio::select! {
        submitted = publisher.submit_within(&group, submission, left) => submitted?,
        () = interrupt() => {
            complain(&format!("interrupted; nobody knows whether the broker has the command {id}"));
            hint(&format!("`wakemq show {id}` tells"));
            return Ok(ExitCode::Interrupted);
        }
    };
    let mut wake = Wake {
        id,
        group,
        wanted: args.wait.into(),
        update: None,
        ending: Ending::Judged(Verdict::Waiting),
        took: started.elapsed(),
    };
    wake.follow(submitted, &publisher, &mut powering, started, deadline).await;
    if !matches!(wake.ending, Ending::Interrupted) {
        powering.accepted().await;
    }
    if !matches!(wake.ending, Ending::Judged(_)) {
        wake.took = started.elapsed();
    }
    publisher.close().await;

    let mut management = Management::new(profile)?;
    let asked = tokio::select! {
        rest = report::rest(&mut wake, &mut management) => Some(rest),
        () = interrupt() => None,
    };
    let rest = asked.unwrap_or_else(|| {
        // A second Ctrl-C, or one that comes now: what the news said is known, and is printed.
        wake.ending = Ending::Interrupted;
        report::Rest::default()
    });
    if args.json {
        out.json(&report::object(&wake, &rest, timeout_secs))?;
    } else {
        report::plain(&wake, &rest, out)?;
    }
    out.flush()?;
    report::advise(&wake, timeout_secs);
    Ok(wake.code())
}

impl Wake {
    /// Follows the command until its wait has ended.
    async fn follow(
        &mut self,
        mut submitted: wakemq_publisher::Submitted,
        publisher: &Publisher,
        powering: &mut Powering,
        started: Instant,
        deadline: Instant,
    ) {
        let mut progress = Progress::new();
        let mut interrupt = std::pin::pin!(interrupt());
        let mut late = std::pin::pin!(sleep_until(deadline));
        loop {
            // The broker tells the counts before it acknowledges, so that they are there for any wait.
            if self.wanted == Wanted::Accepted && submitted.news().is_none() {
                self.ending = Ending::Judged(Verdict::Reached);
                return;
            }
            if let Some(News::Group(update)) = submitted.news() {
                let verdict = self.wanted.judge_news(&News::Group(update.clone()));
                if self.update.as_ref() != Some(&update) {
                    self.took = started.elapsed();
                }
                self.update = Some(update);
                if verdict != Verdict::Waiting {
                    self.ending = Ending::Judged(verdict);
                    return;
                }
            }
            tokio::select! {
                news = submitted.next() => if let Err(error) = news {
                    self.ending = Ending::NotFollowed(error);
                    return;
                },
                () = &mut late => {
                    let error = publisher.lost().map_or(SubmitError::TimedOut, SubmitError::Unreachable);
                    self.ending = Ending::NotFollowed(error);
                    return;
                }
                line = powering.next() => {
                    progress.clear();
                    say(&line);
                }
                () = progress.due() => {}
                () = &mut interrupt => {
                    self.ending = Ending::Interrupted;
                    return;
                }
            }
            progress.show(|| self.status(publisher.lost().as_deref()));
        }
    }

    /// Returns how many agents are as wanted or further.
    fn reached(&self) -> u64 {
        let Some(update) = &self.update else { return 0 };
        let fitting = update.counts.iter().filter(|&(state, _)| self.wanted.judge(state) == Verdict::Reached);
        fitting.map(|(_, count)| count).sum()
    }

    fn total(&self) -> u64 {
        self.update.as_ref().map_or(0, |update| update.counts.total())
    }

    /// Tells in one line where it stands.
    fn status(&self, lost: Option<&str>) -> String {
        let counts = self.update.as_ref().map_or_else(
            || "accepted".to_owned(),
            |update| format!("of {}: {}", self.total(), counts(update.counts)),
        );
        let lost = lost.map_or_else(String::new, |why| format!("; no connection: {}", plain(why)));
        format!("{counts}{lost}")
    }

    fn code(&self) -> ExitCode {
        match &self.ending {
            Ending::Judged(Verdict::Reached) => ExitCode::AllAsWanted,
            Ending::Judged(Verdict::Missed | Verdict::Waiting) => ExitCode::SomeNot,
            Ending::NotFollowed(error) => code_of(error),
            Ending::Interrupted => ExitCode::Interrupted,
        }
    }
}
