//! A process that is measured, or makes the load.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::wait::within;

/// A running program; killed when dropped. What it says on standard error is shown.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    pid: u32,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a program.
    pub fn start(name: &'static str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        let out = child.stdout.take().context("no standard output")?;
        Ok(Self { name, pid, child, lines: BufReader::new(out).lines() })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for a line of standard output that begins with `prefix`, and returns what follows.
    pub async fn line(&mut self, prefix: &str) -> Result<String> {
        let what = format!("a line `{prefix}…` from {}", self.name);
        within(&what, self.long_line(prefix)).await?
    }

    /// Does the same, however long it takes.
    pub async fn long_line(&mut self, prefix: &str) -> Result<String> {
        while let Some(line) = self.lines.next_line().await? {
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.to_owned());
            }
        }
        bail!("{} ended before it said `{prefix}…`", self.name)
    }

    /// Fails if the program has ended.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{} ended while it was measured: {ended:?}", self.name);
        Ok(())
    }

    /// Kills the program, and waits until all that it held is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot end {}", self.name))
    }

    /// Does the same, for the last time.
    pub async fn end(mut self) -> Result<()> {
        self.kill().await
    }

    /// Ends the program in order, by SIGTERM, and waits until it has ended.
    pub async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("no process id")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot signal {}", self.name))?;
        let ended = within(&format!("the end of {}", self.name), self.child.wait()).await??;
        ensure!(ended.success(), "{} ended badly: {ended}", self.name);
        Ok(())
    }
}
