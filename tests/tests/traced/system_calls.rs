//! System calls of the real broker for one wake-up.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::process::Process;
use wakemq_tests::raw::{Client, Login, Version, publish};

/// Most system calls that do something for one wake-up, from the publisher's PUBLISH to the record of the agent's PUBACK:
/// half of them write the database's pages, and some the log.
const CALLS_MAX: f64 = 46.0;
/// The same with those by which threads wait for something and wake each other; how many these are is left to chance.
const WITH_WAITING_MAX: f64 = 90.0;
/// How threads wait.
const WAITING: [&str; 4] = ["futex", "epoll_wait", "sched_yield", "restart_syscall"];
/// Wake-ups before the count.
const WARM_UP: usize = 20;
/// Wake-ups that are counted.
const WAKES: usize = 200;

#[tokio::test]
async fn a_wake_up_takes_a_bounded_number_of_system_calls() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let (agent, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let topic = format!("wake/v1/agents/{agent}/commands");
    let mut woken = Client::dial(broker.address(), &broker.ca_path()).await?;
    woken.enter(&Login::new(Version::V5, agent.as_str(), secret.expose())).await?;
    woken.subscribe(&topic, 1).await?;
    let profile = broker.profile()?;
    let mut publisher = Client::dial(broker.address(), &broker.ca_path()).await?;
    let login = Login::new(Version::V5, &format!("op:{}", profile.operator), profile.secret.expose());
    publisher.enter(&login).await?;

    let mut wake = async |times: usize| {
        for _ in 0..times {
            publisher.send(&publish(Version::V5, 1, &topic, br#"{"kind":"wake"}"#, &[])).await?;
            publisher.next().await?.context("the publisher's connection has ended")?;
            let (packet_id, _) = woken.command().await?;
            woken.acknowledge(packet_id).await?;
            // Packets are taken in order: its answer comes when the acknowledgement is on disk.
            woken.ping().await?;
        }
        anyhow::Ok(())
    };
    wake(WARM_UP).await?;
    let dir = tempfile::tempdir()?;
    let table = dir.path().join("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,errors,name", "-o"]).arg(&table);
    strace.args(["-p", &broker.process().id()?.to_string()]);
    let mut strace = Process::start("strace", strace)
        .context("strace cannot be run; on Debian: apt-get install strace")?;
    strace.wait_log("attached").await.context(
        "strace cannot trace the broker: this needs the right to (CAP_SYS_PTRACE, kernel.yama.ptrace_scope)",
    )?;
    wake(WAKES).await?;
    strace.interrupt()?;
    strace.wait_exit().await?;

    let table = std::fs::read_to_string(&table)?;
    println!("system calls of {WAKES} wake-ups:\n{table}");
    let (mut doing, mut waiting) = (0, 0);
    for line in table.lines() {
        // Calls, how many of them failed if any did, and the name.
        let words: Vec<_> = line.split_whitespace().collect();
        let [calls, .., name] = words[..] else { continue };
        let Ok(calls) = calls.parse::<usize>() else { continue };
        match name {
            "total" => {}
            name if WAITING.contains(&name) => waiting += calls,
            _ => doing += calls,
        }
    }
    let each = doing as f64 / WAKES as f64;
    let with_waiting = (doing + waiting) as f64 / WAKES as f64;
    println!("a wake-up: {each:.1} system calls, {with_waiting:.1} with those of waiting");
    ensure!(each >= 5.0, "no wake-up takes so few: strace has not seen the broker:\n{table}");
    ensure!(each <= CALLS_MAX, "{each:.1} system calls for a wake-up, at most {CALLS_MAX}:\n{table}");
    ensure!(
        with_waiting <= WITH_WAITING_MAX,
        "{with_waiting:.1} system calls for a wake-up, with waiting, at most {WITH_WAITING_MAX}:\n{table}"
    );
    Ok(())
}
