//! The benchmark of many agents: its command line, and its smallest run. What else it measures takes too long for
//! here, and no time that it measures here says anything.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wakemq_tests::process::Process;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::eventually;

#[test]
fn what_cannot_be_measured_is_a_usage_error_that_says_what_can() -> Result<()> {
    for line in [
        &["parkk"][..],
        &["park", "--targets", "nginx"],
        &["park", "--ways", "pigeon"],
        &["park", "--rounds", "0"],
        &[],
    ] {
        assert_eq!(fleet().args(line).output()?.status.code(), Some(2), "{line:?}");
    }
    let told = fleet().arg("parkk").output()?.stderr;
    assert!(String::from_utf8_lossy(&told).contains("all, park, admit"));
    Ok(())
}

#[test]
fn the_smallest_run_tells_what_it_found_in_every_form_and_leaves_nothing_behind() -> Result<()> {
    let (scratch, results) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let [json, markdown, plots] = ["json", "markdown", "plots"].map(|name| results.path().join(name));
    let mut command = smallest(&scratch);
    command.arg("--json").arg(&json).arg("--markdown").arg(&markdown).arg("--plots").arg(&plots);
    let done = command.output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{said}");
    let table = String::from_utf8(done.stdout)?;
    assert!(table.contains("bare: resident memory an agent"), "{table}");
    assert!(table.contains("bare: long poll, HTTP/2: resident memory an agent"), "{table}");
    assert!(std::fs::read_to_string(markdown)?.contains("| | bare | goal |"));
    assert!(plots.join("memory.svg").exists());
    let found: Value = serde_json::from_slice(&std::fs::read(json)?)?;
    let rows = found["scenarios"]["park"]["rows"].as_array().context("no rows")?;
    let row = rows.iter().find(|row| row["what"] == "bare: resident memory an agent").context("no memory")?;
    // What TLS alone needs, and what is out of the question: that something was measured, and not what.
    let bytes = row["median"].as_f64().context("no number")?;
    assert!((1_000.0..100_000.0).contains(&bytes), "{bytes}");
    assert!(is_empty(&scratch)?);
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_ended_takes_its_children_along_and_leaves_nothing_behind() -> Result<()> {
    // A build in the run itself could take longer than is waited for.
    Programs::get()?;
    let scratch = tempfile::tempdir()?;
    let mut run = Process::start("fleet", smallest(&scratch).into())?;
    // By then the first ones are there, and so target and load.
    run.wait_line("the first agents", |line| line.text.contains("bare: 1000 agents").then_some(())).await?;
    let children = children_of(run.id()?)?;
    assert!(children.len() >= 2, "{children:?}");
    run.terminate()?;
    assert_eq!(run.wait_exit().await?.code(), Some(143));
    eventually("the ends of its children", async || {
        Ok(children.iter().all(|child| has_ended(child)).then_some(()))
    })
    .await?;
    assert!(is_empty(&scratch)?);
    Ok(())
}

fn fleet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fleet"))
}

/// One target that needs no broker, and few agents.
fn smallest(scratch: &TempDir) -> Command {
    let mut command = fleet();
    command
        .args(["park", "--quick", "--targets", "bare", "--ways", "mqtt,poll-h2"])
        .env("TMPDIR", scratch.path());
    command
}

fn is_empty(dir: &TempDir) -> Result<bool> {
    Ok(std::fs::read_dir(dir.path())?.next().is_none())
}

fn children_of(pid: i32) -> Result<Vec<String>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("children"))?;
        children.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(children)
}

/// Tells whether a process is gone, or only waits for somebody to take note of its end.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.map_or(true, |stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}
