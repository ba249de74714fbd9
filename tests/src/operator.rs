//! The operator's command line as a real process.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::broker::BrokerProcess;
use crate::programs::Programs;
use crate::wait::within;

/// What a call of `wakemq` gave.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// Returns the lines of standard output, each one a JSON object.
    pub fn json(&self) -> Result<Vec<Value>> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line:?}")))
            .collect()
    }

    /// Returns the one JSON object.
    pub fn one(&self) -> Result<Value> {
        let mut all = self.json()?;
        ensure!(all.len() == 1, "{} objects in place of one:\n{}{}", all.len(), self.out, self.err);
        Ok(all.remove(0))
    }

    /// Returns a field of the one JSON object as a text.
    pub fn field(&self, name: &str) -> Result<String> {
        let object = self.one()?;
        object[name].as_str().map(str::to_owned).with_context(|| format!("no {name:?} in {object}"))
    }

    /// Checks the exit code.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "exit code {} in place of {code}:\n{}{}", self.code, self.out, self.err);
        Ok(self)
    }
}

/// `wakemq` with a profile.
#[derive(Debug, Clone)]
pub struct Wakemq {
    profile: PathBuf,
}

impl Wakemq {
    /// Uses a broker's administrator.
    pub fn admin(broker: &BrokerProcess) -> Self {
        Self::with_profile(&broker.profile_path())
    }

    /// Uses a profile.
    pub fn with_profile(path: &Path) -> Self {
        Self { profile: path.to_owned() }
    }

    /// Calls it and waits for its end.
    pub async fn call(&self, words: &[&str]) -> Result<Answer> {
        self.call_with(words, "").await
    }

    /// Does the same with a text on standard input.
    pub async fn call_with(&self, words: &[&str], input: &str) -> Result<Answer> {
        let mut command = Command::new(&Programs::get()?.wakemq);
        command.args(words).env("WAKEMQ_PROFILE", &self.profile);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start wakemq")?;
        let stdin = child.stdin.take();
        let feeding = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input has closed it.
                stdin.write_all(input.as_bytes()).await.ok();
            }
        };
        let what = format!("wakemq {}", words.join(" "));
        let (done, ()) = within(&what, async { tokio::join!(child.wait_with_output(), feeding) }).await?;
        let done = done?;
        Ok(Answer {
            code: done.status.code().with_context(|| format!("{what}: {}", done.status))?,
            out: String::from_utf8(done.stdout)?,
            err: String::from_utf8(done.stderr)?,
        })
    }
}
