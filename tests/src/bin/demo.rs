//! `cargo demo`: real agents woken over real TLS, also across a SIGKILL of the broker, on a timeline.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wakemq_protocol::{AgentId, CommandState, Kind, Submission};
use wakemq_publisher::{Publisher, Submitted, Verdict, Wanted};
use wakemq_tests::agents::{AgentProcess, Home};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::{LIMIT, within};

const NAMES: [&str; 3] = ["office-1", "office-2", "laptop-3"];

#[tokio::main]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = demo() => done,
        // What was started is ended, and its files are removed, as the demo is dropped.
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted");
            return ExitCode::from(130);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("hint: `cargo test -p wakemq-tests` shows which part does not work");
            ExitCode::FAILURE
        }
    }
}

/// Room for the longest name.
const WHO: usize = 10;
/// Room for what is told, before the measured time.
const WHAT: usize = 62;

/// Tells what happens, and when.
struct Timeline {
    began: Instant,
}

impl Timeline {
    fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Tells a step.
    fn tell(&self, who: &str, what: impl Display) -> Result<()> {
        self.line(who, &what.to_string(), None)
    }

    /// Tells a step and how long it took.
    fn measured(&self, who: &str, what: impl Display, took: Duration) -> Result<()> {
        self.line(who, &what.to_string(), Some(took))
    }

    fn line(&self, who: &str, what: &str, took: Option<Duration>) -> Result<()> {
        let at = self.began.elapsed().as_secs_f64();
        let took = took.map(|took| format!("{:>9.1} ms", took.as_secs_f64() * 1000.0)).unwrap_or_default();
        let line = format!("{at:7.3} s  {who:<WHO$} {what:<WHAT$}{took}");
        writeln!(std::io::stdout(), "{}", line.trim_end()).context("standard output")
    }
}

async fn demo() -> Result<()> {
    eprintln!("building wakemqd, wakemq-agent and wakemq …");
    tokio::task::spawn_blocking(Programs::get).await??;
    let line = Timeline::new();

    let began = Instant::now();
    let mut broker = BrokerProcess::start().await?;
    line.measured(
        "broker",
        format!("made its CA and its store, and listens on {}", broker.address()),
        began.elapsed(),
    )?;
    let agents = enrol(&line, &broker).await?;
    let [(_, _first), (second_home, mut second), (third_home, mut third)] = agents;
    let publisher = broker.publisher().await?;

    wake_connected(&line, &publisher).await?;

    second.process().terminate()?;
    second.process().wait_exit().await?;
    line.tell(NAMES[1], "is off (SIGTERM)")?;
    let _second = wake_absent(&line, &publisher, &second_home).await?;

    third.process().terminate()?;
    third.process().wait_exit().await?;
    line.tell(NAMES[2], "is off (SIGTERM)")?;
    let _third = wake_across_kill(&line, &mut broker, &third_home).await?;

    publisher.close().await;
    line.tell("", "every wake was handled; nothing was lost")
}

/// Enrols three agents by one token, and runs them.
async fn enrol(line: &Timeline, broker: &BrokerProcess) -> Result<[(Home, AgentProcess); 3]> {
    let token = broker.token(3).await?;
    line.tell("operator", "made an enrolment token for three agents")?;
    let mut agents = Vec::new();
    for name in NAMES {
        let began = Instant::now();
        let home = Home::enrol(broker, name, &token).await?;
        line.measured(name, "is enrolled, with a secret that it made itself", began.elapsed())?;
        let began = Instant::now();
        let agent = home.run(None)?;
        agent.connected().await?;
        line.measured(name, "started, connected over TLS and subscribed", began.elapsed())?;
        agents.push((home, agent));
    }
    agents.try_into().map_err(|_| anyhow::anyhow!("not three agents"))
}

async fn wake_connected(line: &Timeline, publisher: &Publisher) -> Result<()> {
    line.tell("operator", format!("wakes {}, which is connected", NAMES[0]))?;
    let began = Instant::now();
    let mut command = submit(publisher, NAMES[0]).await?;
    line.measured("broker", "has the command on its disk (PUBACK)", began.elapsed())?;
    until(&mut command, Wanted::Acknowledged).await?;
    line.measured(NAMES[0], "has the command in its journal (PUBACK)", began.elapsed())?;
    until(&mut command, Wanted::Done).await?;
    line.measured(NAMES[0], "was woken, its receipt came back", began.elapsed())
}

async fn wake_absent(line: &Timeline, publisher: &Publisher, home: &Home) -> Result<AgentProcess> {
    let began = Instant::now();
    let mut command = submit(publisher, NAMES[1]).await?;
    line.measured("broker", format!("has a command for {}, and keeps it", NAMES[1]), began.elapsed())?;
    let told = within("the command's first state", command.next()).await??;
    let state = told.map(|news| news.state());
    ensure!(state == Some(CommandState::Queued), "the command is {state:?}");
    let began = Instant::now();
    let agent = home.run(None)?;
    until(&mut command, Wanted::Done).await?;
    line.measured(NAMES[1], "is back and was woken, counted from its start", began.elapsed())?;
    Ok(agent)
}

async fn wake_across_kill(line: &Timeline, broker: &mut BrokerProcess, home: &Home) -> Result<AgentProcess> {
    let publisher = broker.publisher().await?;
    let mut command = submit(&publisher, NAMES[2]).await?;
    let accepted = Instant::now();
    broker.kill().await?;
    line.measured(
        "broker",
        format!("accepted a command for {}; SIGKILL right after", NAMES[2]),
        accepted.elapsed(),
    )?;
    let began = Instant::now();
    broker.restart().await?;
    line.measured("broker", "is back on the same store", began.elapsed())?;
    let began = Instant::now();
    let agent = home.run(None)?;
    agent.wait_line(&command.id().to_string()).await?;
    line.measured(NAMES[2], "was woken, counted from its start", began.elapsed())?;
    until(&mut command, Wanted::Done).await?;
    line.measured("operator", "is connected again by itself, and was told so", began.elapsed())?;
    publisher.close().await;
    Ok(agent)
}

async fn submit(publisher: &Publisher, agent: &str) -> Result<Submitted> {
    Ok(within("a submission", publisher.submit(&agent.parse::<AgentId>()?, Submission::new(Kind::Wake)))
        .await??)
}

async fn until(command: &mut Submitted, wanted: Wanted) -> Result<()> {
    let verdict = command.wait(wanted, LIMIT).await?;
    ensure!(verdict == Verdict::Reached, "the command became {:?}", command.outcome());
    Ok(())
}
