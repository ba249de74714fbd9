//! Agents that come and go, and the book of their handlers' calls.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use wakemq_protocol::{AgentId, CommandId};

use crate::agents::{AgentProcess, Home};
use crate::broker::BrokerProcess;

/// Writes down a call, flushed to the disk, then works for a moment, so that a kill can come inside.
const HANDLER: &str = r#"
printf '%s %s\n' "$WAKEMQ_ID" "$WAKEMQ_TEST_LIFE" |
    dd of="$WAKEMQ_TEST_BOOK" oflag=append conv=notrunc,fsync status=none && sleep 0.01"#;

/// How a process of an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It still runs.
    Running,
    /// It was asked to end, and did.
    Ended,
    /// SIGKILL.
    Killed,
}

/// One call of an agent's handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// The number of the agent.
    pub(super) agent: usize,
    /// The number of the process of that agent.
    pub(super) life: usize,
    /// How that process ended.
    pub(super) ended: Life,
    /// Whether another call of the same process began after it.
    pub(super) last_of_life: bool,
}

/// All calls, by command.
pub(super) type Calls = HashMap<CommandId, Vec<Call>>;

struct Member {
    home: Home,
    book: PathBuf,
    lives: Vec<Life>,
    process: Option<AgentProcess>,
}

/// All agents.
pub(super) struct Fleet {
    members: Vec<Member>,
}

impl Fleet {
    pub(super) async fn new(broker: &BrokerProcess, dir: &Path, agents: usize) -> Result<Self> {
        let names: Vec<_> = (0..agents).map(|number| format!("agent-{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut members = Vec::new();
        for (id, secret) in broker.import(&names).await? {
            let home = Home::imported(broker, &id, &secret)?;
            let book = dir.join(format!("{id}.calls"));
            std::fs::write(&book, "")?;
            members.push(Member { home, book, lives: Vec::new(), process: None });
        }
        Ok(Self { members })
    }

    pub(super) fn ids(&self) -> Vec<AgentId> {
        self.members.iter().map(|member| member.home.id().clone()).collect()
    }

    /// Returns how many processes were killed.
    pub(super) fn killed(&self) -> usize {
        self.members.iter().flat_map(|member| &member.lives).filter(|life| **life == Life::Killed).count()
    }

    /// Starts about half of those that do not run.
    pub(super) fn start_some(&mut self, rng: &mut Rng) -> Result<()> {
        self.members.iter_mut().filter(|_| rng.bool()).try_for_each(Member::start)
    }

    /// Starts an agent, or ends it one way or the other.
    pub(super) async fn disturb(&mut self, number: usize, rng: &mut Rng) -> Result<()> {
        let member = &mut self.members[number];
        match (&member.process, rng.u8(0..4)) {
            (None, _) => member.start(),
            (Some(_), 0) => member.end().await,
            (Some(_), _) => member.kill().await,
        }
    }

    /// Makes all run and be connected; of those that run, some are killed first, because their wait before the
    /// next attempt has become long.
    pub(super) async fn start_all(&mut self, rng: &mut Rng) -> Result<()> {
        for member in &mut self.members {
            if member.process.is_some() && rng.bool() {
                member.kill().await?;
            }
            member.start()?;
        }
        for member in &self.members {
            if let Some(process) = &member.process {
                process.connected().await?;
            }
        }
        Ok(())
    }

    /// Ends all in order.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.end().await?;
        }
        Ok(())
    }

    /// Reads the books.
    pub(super) fn calls(&self) -> Result<Calls> {
        let mut calls = Calls::new();
        for (agent, member) in self.members.iter().enumerate() {
            let text = std::fs::read_to_string(&member.book)?;
            let lines = text.lines().map(parse).collect::<Result<Vec<_>>>()?;
            let last: HashMap<usize, CommandId> = lines.iter().map(|(id, life)| (*life, *id)).collect();
            for (id, life) in lines {
                let ended = *member.lives.get(life).context("a call of a process that never ran")?;
                let call = Call { agent, life, ended, last_of_life: last[&life] == id };
                calls.entry(id).or_default().push(call);
            }
        }
        Ok(calls)
    }

    /// Adds what the agents have said to an error.
    pub(super) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.members
            .iter_mut()
            .filter_map(|member| member.process.as_mut())
            .fold(error, |error, process| process.process().explain(error))
    }
}

impl Member {
    fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let variables = [
            ("WAKEMQ_TEST_BOOK", self.book.display().to_string()),
            ("WAKEMQ_TEST_LIFE", self.lives.len().to_string()),
        ];
        self.process =
            Some(AgentProcess::start(&self.home.state(), self.home.id(), Some(HANDLER), &variables)?);
        self.lives.push(Life::Running);
        Ok(())
    }

    async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.process().kill().await?;
            self.note(Life::Killed);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.process().terminate()?;
            let status = process.process().wait_exit().await?;
            // One that has not begun yet does not catch the signal, and has nothing to end.
            let not_begun = status.signal() == Some(15) && process.said() == 0;
            anyhow::ensure!(
                status.success() || not_begun,
                process.process().explain(anyhow::anyhow!("an agent did not end well: {status}"))
            );
            self.note(Life::Ended);
        }
        Ok(())
    }

    fn note(&mut self, life: Life) {
        if let Some(last) = self.lives.last_mut() {
            *last = life;
        }
    }
}

fn parse(line: &str) -> Result<(CommandId, usize)> {
    let (id, life) = line.split_once(' ').with_context(|| format!("no call: {line:?}"))?;
    Ok((id.parse()?, life.parse()?))
}
