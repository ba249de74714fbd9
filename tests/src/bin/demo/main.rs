//! `cargo demo`: real agents woken over real TLS, alone and as a group, also across a SIGKILL of the broker, on a
//! timeline; one that is off, switched on by its neighbours; and the events as an operator sees them.

mod power;
mod timeline;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::process::Command;
use wakemq_protocol::http::TokenRequest;
use wakemq_protocol::{AgentId, Counts, GroupPath, Kind, News, Submission};
use wakemq_publisher::{Publisher, Submitted, Verdict, Wanted};
use wakemq_tests::agents::{AgentProcess, Home};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::process::Process;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::{LIMIT, within};

use power::{Lan, Machine};
use timeline::Timeline;

const NAMES: [&str; 3] = ["office-1", "office-2", "laptop-3"];
const GROUP: &str = "paris/office";
/// Since when the machines run, as their agents tell, until one is switched on.
const LONG_AGO_SECS: u64 = 86_400;

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

async fn demo() -> Result<()> {
    eprintln!("building wakemqd, wakemq-agent and wakemq …");
    tokio::task::spawn_blocking(Programs::get).await??;
    let line = Timeline::new();

    let began = Instant::now();
    let lan = Lan::new().await?;
    let mut broker = BrokerProcess::start_with(&lan.config()?).await?;
    line.measured(
        "broker",
        format!("made its CA and its store, and listens on {}", broker.address()),
        began.elapsed(),
    )?;
    let agents = enrol(&line, &broker).await?;
    let [(_, first), (second_machine, mut second), (third_machine, mut third)] = agents;
    let publisher = broker.publisher().await?;

    wake_connected(&line, &publisher).await?;

    let watch = watch(&broker).await?;
    line.tell("operator", format!("runs `wakemq watch --group {GROUP}`, for later"))?;
    switch_off(&line, &mut second).await?;
    let mut second = wake_group(&line, &publisher, [&first, &third], &second_machine).await?;
    tell_events(&line, &watch).await?;
    drop(watch);

    switch_off(&line, &mut second).await?;
    let _second = power::switch_on(&line, &broker, &lan, &second_machine).await?;

    switch_off(&line, &mut third).await?;
    let _third = wake_across_kill(&line, &mut broker, &third_machine).await?;

    publisher.close().await;
    line.tell("", "every wake was handled; nothing was lost")
}

/// Enrols three agents by one token, and runs them.
async fn enrol(line: &Timeline, broker: &BrokerProcess) -> Result<[(Machine, AgentProcess); 3]> {
    let request = TokenRequest { group: GROUP.parse()?, uses: 3, expires_in: 3600 };
    let token = within("a token", broker.management()?.create_token(&request)).await??.token;
    line.tell("operator", format!("made an enrolment token for three agents of {GROUP}"))?;
    let mut agents = Vec::new();
    for (number, name) in (1..).zip(NAMES) {
        let began = Instant::now();
        let home = Home::enrol(broker, name, &token).await?;
        line.measured(name, "is enrolled, with a secret that it made itself", began.elapsed())?;
        let began = Instant::now();
        let machine = Machine::new(home, number);
        let agent = machine.run("demo-1", LONG_AGO_SECS)?;
        agent.connected().await?;
        line.measured(name, "started, connected over TLS and subscribed", began.elapsed())?;
        agents.push((machine, agent));
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

/// Wakes a group of three of which one is away, and comes back.
async fn wake_group(
    line: &Timeline,
    publisher: &Publisher,
    here: [&AgentProcess; 2],
    machine: &Machine,
) -> Result<AgentProcess> {
    let group: GroupPath = GROUP.parse()?;
    line.tell("operator", format!("wakes the whole of {group} with one command"))?;
    let began = Instant::now();
    let submission = Submission::new(Kind::Wake);
    let mut command = within("a submission", publisher.submit(&group, submission)).await??;
    line.measured("broker", "has the command for three agents on its disk (PUBACK)", began.elapsed())?;
    for agent in here {
        agent.wait_line(&command.id().to_string()).await?;
    }
    line.measured("", format!("{} and {} were woken", NAMES[0], NAMES[2]), began.elapsed())?;
    until_counts(&mut command, |counts| counts.done == 2 && counts.queued == 1).await?;
    line.tell("operator", "was told: 2 done, 1 queued")?;
    let began = Instant::now();
    let agent = machine.run("demo-1", LONG_AGO_SECS)?;
    agent.wait_line(&command.id().to_string()).await?;
    line.measured(NAMES[1], "is back and was woken, counted from its start", began.elapsed())?;
    until_counts(&mut command, |counts| counts.done == 3).await?;
    line.tell("operator", "was told: 3 done")?;
    Ok(agent)
}

/// Ends an agent in order, as a machine does that is shut down.
async fn switch_off(line: &Timeline, agent: &mut AgentProcess) -> Result<()> {
    agent.process().terminate()?;
    agent.process().wait_exit().await?;
    line.tell(agent.id().as_str(), "is off (SIGTERM)")
}

/// Runs `wakemq watch`.
async fn watch(broker: &BrokerProcess) -> Result<Process> {
    let mut command = Command::new(&Programs::get()?.wakemq);
    command.args(["watch", "--group", GROUP, "--kind", "presence", "--kind", "command"]);
    command.env("WAKEMQ_PROFILE", broker.profile_path());
    let watch = Process::start("wakemq watch", command)?;
    watch.wait_log("watching").await?;
    Ok(watch)
}

/// Tells what `wakemq watch` has shown until the agent that came back was done.
async fn tell_events(line: &Timeline, watch: &Process) -> Result<()> {
    let last = format!("{} done", NAMES[1]);
    watch.wait_line("the last event", |line| line.text.contains(&last).then_some(())).await?;
    line.tell("operator", "saw meanwhile:")?;
    line.show(watch)
}

async fn wake_across_kill(
    line: &Timeline,
    broker: &mut BrokerProcess,
    machine: &Machine,
) -> Result<AgentProcess> {
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
    let agent = machine.run("demo-1", LONG_AGO_SECS)?;
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

/// Follows a command for a group until its counts are as wanted.
async fn until_counts(command: &mut Submitted, wanted: impl Fn(Counts) -> bool) -> Result<()> {
    loop {
        match within("counts", command.next()).await?? {
            Some(News::Group(update)) if wanted(update.counts) => return Ok(()),
            Some(News::Group(_)) => {}
            other => anyhow::bail!("the command became {other:?}"),
        }
    }
}
