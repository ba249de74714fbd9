//! A running program whose output is kept line by line.

use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::wait::within;

/// How many of the last lines an error shows.
const TAIL: usize = 40;

/// Where a line was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A line that a program has said.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// What.
    pub text: String,
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<Line>>,
}

impl Process {
    /// Starts a program; standard input is closed.
    pub fn start(name: impl Into<String>, mut command: Command) -> Result<Self> {
        let name = name.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (sender, lines) = watch::channel(Vec::new());
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep(out, Stream::Out, sender.clone()));
            tokio::spawn(keep(err, Stream::Err, sender));
        }
        Ok(Self { name, child, lines })
    }

    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// Waits for a line in which something is found, those that were said already included.
    ///
    /// # Errors
    /// If the program ends without it, or it does not come in time.
    pub async fn wait_line<T>(&self, what: &str, find: impl FnMut(&Line) -> Option<T>) -> Result<T> {
        self.wait_line_after(0, what, find).await
    }

    /// Does the same with the lines after the first `after`.
    pub async fn wait_line_after<T>(
        &self,
        after: usize,
        what: &str,
        mut find: impl FnMut(&Line) -> Option<T>,
    ) -> Result<T> {
        let mut lines = self.lines.clone();
        let mut seen = after;
        let search = async {
            loop {
                {
                    let lines = lines.borrow_and_update();
                    while let Some(line) = lines.get(seen) {
                        seen += 1;
                        if let Some(found) = find(line) {
                            return Ok(found);
                        }
                    }
                }
                if lines.changed().await.is_err() {
                    return Err(anyhow!("{} ended before: {what}", self.name));
                }
            }
        };
        let found = within(&format!("{what} from {}", self.name), search).await;
        found.and_then(|found| found).map_err(|error| self.explain(error))
    }

    /// Waits for a line on standard error that contains a text.
    pub async fn wait_log(&self, text: &str) -> Result<String> {
        self.wait_line(&format!("{text:?} in the log"), |line| {
            (line.stream == Stream::Err && line.text.contains(text)).then(|| line.text.clone())
        })
        .await
    }

    /// Sends SIGKILL and waits until the program is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.start_kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.wait_exit().await.map(drop)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Returns its process id.
    pub fn id(&self) -> Result<i32> {
        let id = self.child.id().with_context(|| format!("{} has ended already", self.name))?;
        Ok(i32::try_from(id)?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.id()?).context("no process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until the program has ended.
    pub async fn wait_exit(&mut self) -> Result<ExitStatus> {
        let ended = within(&format!("the end of {}", self.name), self.child.wait()).await;
        match ended {
            Ok(status) => Ok(status?),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Returns whether the program has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Adds what the program has said to an error.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("{} had said:\n{}", self.name, self.tail()))
    }

    fn tail(&self) -> String {
        let lines = self.lines.borrow();
        let from = lines.len().saturating_sub(TAIL);
        lines[from..].iter().map(|line| format!("    {}\n", line.text)).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} had said:\n{}", self.name, self.tail());
        }
    }
}

async fn keep(from: impl AsyncRead + Unpin, stream: Stream, to: watch::Sender<Vec<Line>>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        to.send_modify(|lines| lines.push(Line { stream, text }));
    }
}
