//! The agent's daemon at rest.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::sleep;
use wakemq_publisher::Management;

use super::child::Running;
use super::report::{Goal, Report};
use super::server::{Data, Server};
use super::shipped::{AGENT, Shipped};
use super::{Setting, proc, progress};
use crate::agents::Home;
use crate::wait::{eventually, within};

const FIGURE: &str = "daemon";

/// Measures.
pub async fn measure(setting: &Setting, shipped: &Shipped) -> Result<Report> {
    let mut report = Report::new("daemon: wakemq-agent at rest");
    let program = shipped.program(AGENT)?;
    size(&mut report, &program).await?;

    let server = Server::start(shipped, Data::init(shipped, setting).await?).await?;
    let (id, secret) = server.import(1).await?.pop().context("no agent")?;
    let ca = std::fs::read_to_string(server.data.ca())?;
    let home = Home::of(&id, &secret, vec![server.address.to_string()], ca)?;
    let mut command = Command::new(program);
    command.args(["--log", "warn", "run", "--keep-alive", "1200", "--state"]).arg(home.state());
    let mut daemon = Running::start("wakemq-agent", command)?;
    let mut management = Management::new(&server.profile()?)?;
    eventually("the daemon to be connected and its facts to be there", async || {
        let agent = management.agent(&id).await?;
        Ok((agent.connected && agent.facts.is_some()).then_some(()))
    })
    .await?;
    let memory = proc::settled_memory(daemon.pid()).await?;
    let (threads, _) = at_rest(daemon.pid()).await?;
    report.add_with_goal("resident memory", memory.resident as f64 / 1e6, "MB", Goal::AtMost(6.0));
    report.add("of which its own", memory.own as f64 / 1e6, "MB");
    report.add("of which pages of the program and of libraries", memory.file as f64 / 1e6, "MB");
    report.add_with_goal("threads", threads as f64, "", Goal::AtMost(1.0));

    let quiet = setting.pick(Duration::from_secs(20), Duration::from_secs(5));
    progress(FIGURE, &format!("watching for {} s", quiet.as_secs()));
    let (_, before) = proc::threads_and_switches(daemon.pid())?;
    sleep(quiet).await;
    let (_, after) = proc::threads_and_switches(daemon.pid())?;
    let secs = quiet.as_secs();
    let what = format!("times that a thread of it ran in {secs} s");
    report.add_with_goal(what, (after - before) as f64, "", Goal::AtMost(0.0));
    match system_calls(daemon.pid(), quiet).await {
        Ok(calls) => {
            let what = format!("system calls in {secs} s, by strace");
            report.add_with_goal(what, calls as f64, "", Goal::AtMost(0.0));
        }
        Err(error) => report.note(format!("system calls were not counted by strace: {error:#}")),
    }
    daemon.check()?;
    report
        .note("keep-alive 1,200 s, so that no heartbeat falls into the time; no handler; glibc's allocator");
    Ok(report)
}

/// Waits until the threads that connecting needed have ended.
async fn at_rest(pid: u32) -> Result<(usize, u64)> {
    let quiet = Duration::from_secs(2);
    let mut last = proc::threads_and_switches(pid)?;
    for _ in 0..10 {
        sleep(quiet).await;
        let now = proc::threads_and_switches(pid)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

/// Tells the size of a program without its symbols.
async fn size(report: &mut Report, program: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stripped = dir.path().join("stripped");
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(program).output().await;
    let built = std::fs::metadata(program)?.len() as f64 / 1e6;
    report.add("program as built", built, "MB");
    match done {
        Ok(done) if done.status.success() => {
            let size = std::fs::metadata(&stripped)?.len() as f64 / 1e6;
            report.add_with_goal("program, stripped", size, "MB", Goal::AtMost(5.0));
        }
        Ok(done) => report.note(format!("not stripped: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) => report.note(format!("not stripped: strip: {error}")),
    }
    Ok(())
}

/// Counts the system calls of a process with strace(1).
async fn system_calls(pid: u32, time: Duration) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let summary = dir.path().join("summary");
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-p", &pid.to_string(), "-o"])
        .arg(&summary)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("strace")?;
    let mut said = BufReader::new(strace.stderr.take().context("no standard error")?).lines();
    let first = within("strace to attach", said.next_line()).await??.unwrap_or_default();
    ensure!(first.contains("attached"), "{first}");
    sleep(time).await;
    let own = strace.id().context("strace has ended")?;
    kill_process(Pid::from_raw(i32::try_from(own)?).context("no process id")?, Signal::INT)?;
    within("the end of strace", strace.wait()).await??;
    count(&std::fs::read_to_string(&summary)?)
}

/// Returns the sum of the calls; a summary without any call is empty.
fn count(summary: &str) -> Result<u64> {
    let Some(total) = summary.lines().find(|line| line.trim_end().ends_with(" total")) else {
        ensure!(summary.trim().is_empty(), "strace's summary is not understood:\n{summary}");
        return Ok(0);
    };
    // Share, seconds, microseconds a call, calls.
    let calls = total.split_whitespace().nth(3).context("strace's summary has no calls")?;
    calls.parse().context("strace's summary has no calls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_strace_is_understood() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.000003           1         2           epoll_wait
 25.00    0.000001           0         3         1 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.000004           0         5         1 total
";
        assert_eq!(count(summary).unwrap(), 5);
        assert_eq!(count("").unwrap(), 0);
        assert!(count("something else").is_err());
    }
}
