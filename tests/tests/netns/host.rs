//! An endpoint: its place in the network, its clock since boot, and its agent.

use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use wakemq_protocol::AgentId;
use wakemq_tests::agents::{AgentProcess, Home};
use wakemq_tests::programs::Programs;

use crate::network::Segment;

/// When an endpoint was booted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Booted {
    /// With the machine that runs the tests.
    LongAgo,
    /// So many seconds before its agent starts, with a boot id of its own.
    Before(u64),
    /// So many seconds after it was started, which its firmware takes; with a boot id of its own.
    After(u64),
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) namespace: String,
    pub(crate) segment: Segment,
    pub(crate) number: u8,
    pub(crate) home: Home,
}

impl Host {
    /// Returns the agent's id.
    pub(crate) fn id(&self) -> &AgentId {
        self.home.id()
    }

    /// Starts its agent, and does not wait for anything.
    pub(crate) fn start(&self, booted: Booted, args: &[&str]) -> Result<Running> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        match booted {
            Booted::LongAgo => {}
            Booted::Before(secs) => self.boot(&mut command, secs, 0)?,
            Booted::After(secs) => self.boot(&mut command, 0, secs)?,
        }
        command.arg(&Programs::get()?.wakemq_agent).args(["--log", "debug", "run", "--interface", "eth0"]);
        command.arg("--state").arg(self.home.state()).args(args);
        let agent = AgentProcess::start_command(self.id(), command)?;
        Ok(Running { agent, pid_file: (!matches!(booted, Booted::LongAgo)).then(|| self.pid_file()) })
    }

    /// Starts its agent, and waits until it can be woken.
    pub(crate) async fn connected(&self, booted: Booted, args: &[&str]) -> Result<Running> {
        let running = self.start(booted, args)?;
        running.agent.connected().await?;
        Ok(running)
    }

    /// Puts what makes a machine that was booted a moment ago in front of a program.
    fn boot(&self, command: &mut Command, secs_ago: u64, firmware_secs: u64) -> Result<()> {
        let boot_id = self.home.path("boot_id");
        let (high, low) = (fastrand::u64(..), fastrand::u64(..));
        std::fs::write(&boot_id, format!("{:08x}-0000-4000-8000-{:012x}\n", high >> 32, low >> 16))?;
        // Its clock begins when its firmware has ended. The time namespace is that of a child, whose id tells whom to
        // signal.
        let script = r#"
            sleep "$1"
            read uptime rest < /proc/uptime
            offset=$(($2 - ${uptime%.*}))
            shift 2
            exec unshare --time --boottime "$offset" --mount --fork --kill-child sh -ec '
                mount --bind "$1" /proc/sys/kernel/random/boot_id
                echo $$ > "$2"
                shift 2
                exec "$@"
            ' sh "$@"
        "#;
        command.args(["sh", "-ec", script, "sh", &firmware_secs.to_string(), &secs_ago.to_string()]);
        command.arg(boot_id).arg(self.pid_file());
        Ok(())
    }

    fn pid_file(&self) -> PathBuf {
        self.home.path("pid")
    }
}

/// An agent that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) agent: AgentProcess,
    /// Where the agent's process id is, if it is a child of what was started.
    pid_file: Option<PathBuf>,
}

impl Running {
    /// Ends it in order, as a machine that goes to sleep does at best.
    pub(crate) async fn end(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.agent.process().wait_exit().await
    }

    /// Sends a signal to the agent.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let id = match &self.pid_file {
            Some(file) => std::fs::read_to_string(file)?.trim().parse()?,
            None => self.agent.process().id()?,
        };
        let pid = Pid::from_raw(id).context("no process id")?;
        kill_process(pid, signal).context("cannot signal the agent")
    }
}
