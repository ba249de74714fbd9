//! `cargo demo` does what it shows, and leaves nothing behind.

use std::path::Path;

use anyhow::Result;
use tokio::process::Command;
use wakemq_tests::process::{Process, Stream};
use wakemq_tests::wait::eventually;

/// Starts the demo, its temporary files in a directory of the test's own.
fn demo(files: &Path) -> Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.env("TMPDIR", files);
    Process::start("demo", command)
}

#[tokio::test]
async fn it_wakes_three_agents_switches_one_on_and_cleans_up() -> Result<()> {
    let files = tempfile::tempdir()?;
    let mut demo = demo(files.path())?;
    let status = demo.wait_exit().await?;
    assert!(status.success(), "{}", demo.explain(anyhow::anyhow!("{status}")));
    let said: Vec<_> = demo.lines().into_iter().filter(|line| line.stream == Stream::Out).collect();
    for what in [
        "office-1   was woken",
        "was told: 2 done, 1 queued",
        "office-2   is back and was woken",
        "was told: 3 done",
        "presence  paris/office: office-2 went away",
        "command   paris/office: wake of office-2 done",
        "2 awake agents may send for it: laptop-3 (wired) and office-1 (wired).",
        "office-2   is asleep; its adapter got a packet of 102 bytes",
        "office-2: done: booted ",
        "laptop-3   was woken",
        "nothing was lost",
    ] {
        assert!(said.iter().any(|line| line.text.contains(what)), "{what:?} is not told");
    }
    assert_eq!(std::fs::read_dir(files.path())?.count(), 0, "files are left");
    Ok(())
}

#[tokio::test]
async fn interrupted_it_ends_its_programs_and_removes_its_files() -> Result<()> {
    let files = tempfile::tempdir()?;
    let mut demo = demo(files.path())?;
    demo.wait_line("the broker to run", |line| line.text.contains("listens on").then_some(())).await?;
    demo.interrupt()?;
    assert_eq!(demo.wait_exit().await?.code(), Some(130));
    assert_eq!(std::fs::read_dir(files.path())?.count(), 0, "files are left");
    let marker = files.path().display().to_string();
    eventually("all its programs to end", async || {
        let running = std::fs::read_dir("/proc")?
            .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
            .any(|words| String::from_utf8_lossy(&words).contains(&marker));
        Ok((!running).then_some(()))
    })
    .await
}
