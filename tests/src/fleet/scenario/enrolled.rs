//! Very many enrolled agents, few of them connected.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::time::timeout;

use super::million::PROGRAM;
use crate::figures::child::Running;
use crate::figures::proc;
use crate::figures::report::Goal;
use crate::fleet::found::Found;
use crate::fleet::ground::Ground;
use crate::fleet::million::enrolled::FIGURES;
use crate::fleet::progress;

/// How long the next figure may take.
const LIMIT: Duration = Duration::from_secs(600);

/// How many are enrolled, and how many of them connected.
fn enrolled_and_connected(quick: bool) -> [usize; 2] {
    if quick { [20_000, 1_000] } else { [1_000_000, 50_000] }
}

fn goal(word: &str) -> Option<Goal> {
    match word {
        "durable" | "durable-away" => Some(Goal::AtMost(1_000.0)),
        "outstanding" | "away" => Some(Goal::AtMost(64.0)),
        // What a person takes for at once.
        "few" | "first" | "middle" | "last" | "deep" | "connected" | "not-connected" | "one" => {
            Some(Goal::AtMost(100.0))
        }
        _ => None,
    }
}

pub(super) async fn round(ground: &Ground) -> Result<Found> {
    let mut found = Found::new("enrolled: very many agents, few of them connected");
    let [enrolled, connected] = enrolled_and_connected(ground.setting.quick);
    let report = &mut found.report;
    report.add("agents that are enrolled", enrolled as f64, "");
    report.add("agents that are connected", connected as f64, "");
    let dir = ground.setting.tempdir()?;
    let data = dir.path().join("data");
    let mut command = Command::new(ground.shipped.program(PROGRAM)?);
    command.arg("enrolled").arg(&data).args([enrolled, connected].map(|number| number.to_string()));
    let mut process = Running::start(PROGRAM, command)?;
    for (word, what, unit) in FIGURES {
        progress("enrolled", what);
        let line = timeout(LIMIT, process.long_line(&format!("figure {word} "))).await;
        let value = line.with_context(|| format!("{what}: more than {} s", LIMIT.as_secs()))??.parse()?;
        match goal(word) {
            Some(goal) => report.add_with_goal(what, value, unit, goal),
            None => report.add(what, value, unit),
        }
    }
    process.end().await?;
    progress("enrolled", "wakemqd is started on what was left of it");
    let (took, resident) = restart(&ground.shipped.wakemqd, &data).await?;
    let what = "wakemqd after a kill: from start to ready";
    report.add_with_goal(what, took.as_secs_f64(), "s", Goal::AtMost(10.0));
    report.add("… resident memory then", resident as f64 / 1e6, "MB");
    report.note(
        "all but the last in one process, whose heap is counted: real handshakes and logins over streams in memory, \
         door, engine, registry and store as in wakemqd, with the default cache; the clients vanish when they are \
         subscribed, and so acknowledge nothing. Of pages, 400 agents each, and look-ups the median of 20",
    );
    report.note("the kernel has the store's file in its cache when wakemqd is started");
    Ok(found)
}

/// Starts the broker as shipped, and returns how long it took until it listened, and its resident memory.
async fn restart(wakemqd: &Path, data: &Path) -> Result<(Duration, u64)> {
    let mut command = Command::new(wakemqd);
    command.args(["run", "--log", "warn", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]);
    command.arg(data);
    let began = Instant::now();
    let mut process = Running::start("wakemqd", command)?;
    timeout(LIMIT, process.long_line("listening ")).await.context("wakemqd does not become ready")??;
    let took = began.elapsed();
    let resident = proc::settled_memory(process.pid()).await?.resident;
    process.end().await?;
    Ok((took, resident))
}
