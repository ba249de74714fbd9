//! What the demo tells, and when.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use wakemq_tests::process::{Process, Stream};

/// Room for the longest name.
const WHO: usize = 10;
/// Room for what is told, before the measured time.
const WHAT: usize = 62;

/// Tells what happens, and when.
pub(crate) struct Timeline {
    began: Instant,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Tells a step.
    pub(crate) fn tell(&self, who: &str, what: impl Display) -> Result<()> {
        self.line(who, &what.to_string(), None)
    }

    /// Tells a step and how long it took.
    pub(crate) fn measured(&self, who: &str, what: impl Display, took: Duration) -> Result<()> {
        self.line(who, &what.to_string(), Some(took))
    }

    /// Shows what a program has printed so far.
    pub(crate) fn show(&self, program: &Process) -> Result<()> {
        for line in program.lines().iter().filter(|line| line.stream == Stream::Out) {
            writeln!(std::io::stdout(), "    {}", line.text).context("standard output")?;
        }
        Ok(())
    }

    fn line(&self, who: &str, what: &str, took: Option<Duration>) -> Result<()> {
        let at = self.began.elapsed().as_secs_f64();
        let took = took.map(|took| format!("{:>9.1} ms", took.as_secs_f64() * 1000.0)).unwrap_or_default();
        let line = format!("{at:7.3} s  {who:<WHO$} {what:<WHAT$}{took}");
        writeln!(std::io::stdout(), "{}", line.trim_end()).context("standard output")
    }
}
