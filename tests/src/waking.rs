//! Wake-ups of tests whose log tells how long they took.

use std::time::Instant;

use anyhow::{Result, ensure};
use wakemq_protocol::{AgentId, Kind, SlotChoice, Submission};
use wakemq_publisher::{Publisher, Verdict, Wanted};

use crate::wait::{LIMIT, within};

/// Wakes an agent, waits until that is as `wanted`, and prints how long it took.
pub async fn wake(publisher: &Publisher, agent: &AgentId, wanted: Wanted, story: &str) -> Result<()> {
    let began = Instant::now();
    let submission = Submission { slot: SlotChoice::Never, ..Submission::new(Kind::Wake) };
    let mut woken = within("a submission", publisher.submit(agent, submission)).await??;
    let verdict = woken.wait(wanted, LIMIT).await?;
    ensure!(verdict == Verdict::Reached, "{story}: {agent} was not woken: {verdict:?}, {:?}", woken.news());
    tell(began, &format!("{story}: woken"));
    Ok(())
}

/// Prints how long something took, for whoever reads the log of a test.
pub fn tell(began: Instant, what: &str) {
    #[expect(clippy::print_stdout, reason = "the test harness keeps it for the log")]
    {
        println!("{what} after {} ms", began.elapsed().as_millis());
    }
}
