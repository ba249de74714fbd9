//! Agents: as real processes, and within the test through the library.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_agent::{Agent, AgentOptions, CaSource, Connection, Identity, StateDir};
use wakemq_protocol::{AgentId, Secret};

use crate::broker::{BrokerProcess, write_private};
use crate::process::{Line, Process};
use crate::programs::Programs;
use crate::wait::within;

/// Where an agent keeps its identity and journal.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    id: AgentId,
}

impl Home {
    /// Enrols an agent by `wakemq-agent enrol`, which is given the token in a file.
    pub async fn enrol(broker: &BrokerProcess, id: &str, token: &Secret) -> Result<Self> {
        Self::enrol_with(broker, id, token, &[]).await
    }

    /// Does the same with further arguments.
    pub async fn enrol_with(broker: &BrokerProcess, id: &str, token: &Secret, args: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("token");
        write_private(&file, token.expose())?;
        let mut command = Command::new(&Programs::get()?.wakemq_agent);
        command
            .args(["enrol", "--server", &broker.address().to_string(), "--agent", id])
            .arg("--ca")
            .arg(broker.ca_path())
            .arg("--token-file")
            .arg(file)
            .arg("--state")
            .arg(dir.path().join("state"))
            .args(args)
            .kill_on_drop(true);
        let done = within("wakemq-agent enrol", command.output()).await??;
        ensure!(done.status.success(), "wakemq-agent enrol: {}", String::from_utf8_lossy(&done.stderr));
        let said = String::from_utf8(done.stdout)?;
        ensure!(said.trim() == id, "enrolled as {said:?}");
        Ok(Self { dir, id: id.parse()? })
    }

    /// Writes the identity of an agent that was imported.
    pub fn imported(broker: &BrokerProcess, id: &AgentId, secret: &Secret) -> Result<Self> {
        let ca = std::fs::read_to_string(broker.ca_path())?;
        Self::of(id, secret, vec![broker.address().to_string()], ca)
    }

    /// Writes an identity.
    pub fn of(id: &AgentId, secret: &Secret, endpoints: Vec<String>, ca: String) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let state = StateDir::open(&dir.path().join("state"))?;
        let identity =
            Identity::new(id.clone(), secret.clone(), "test".parse()?, endpoints, CaSource::Pem(ca));
        state.save_identity(&identity)?;
        Ok(Self { dir, id: id.clone() })
    }

    /// Tells the agent other endpoints.
    pub fn set_endpoints(&self, endpoints: Vec<String>) -> Result<()> {
        let state = StateDir::open(&self.state())?;
        let mut identity = state.identity()?;
        identity.endpoints = endpoints;
        Ok(state.save_identity(&identity)?)
    }

    /// Returns the agent's id.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Returns the state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Returns a path for something of a test's own beside the state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the daemon; without a handler it prints each command.
    pub fn run(&self, on_wake: Option<&str>) -> Result<AgentProcess> {
        AgentProcess::start(&self.state(), &self.id, on_wake, &[])
    }

    /// Starts the daemon with further arguments; it prints each command.
    pub fn run_with(&self, args: &[&str]) -> Result<AgentProcess> {
        AgentProcess::start_with(&self.state(), &self.id, args, &[])
    }

    /// Starts the agent within this program.
    pub fn connect(&self) -> Result<Agent> {
        self.connect_with(|options| options)
    }

    /// Does the same with other options.
    pub fn connect_with(&self, options: impl FnOnce(AgentOptions) -> AgentOptions) -> Result<Agent> {
        let state = StateDir::open(&self.state())?;
        let identity = state.identity()?;
        Ok(Agent::connect(identity, options(AgentOptions::new(state)))?)
    }

    /// Starts the agent within this program, and waits until it can be woken.
    pub async fn connected(&self) -> Result<Agent> {
        let agent = self.connect()?;
        connected(&agent).await?;
        Ok(agent)
    }
}

/// Waits until an agent can be woken.
pub async fn connected(agent: &Agent) -> Result<()> {
    status(agent, "the agent to be connected", |connection| {
        matches!(connection, Connection::Connected { .. })
    })
    .await
}

/// Waits for a state of an agent's connection.
pub async fn status(agent: &Agent, what: &str, wanted: impl Fn(&Connection) -> bool) -> Result<()> {
    let mut status = agent.status();
    let waited = within(what, status.wait_for(|status| wanted(&status.connection))).await;
    match waited {
        Ok(seen) => seen.map(drop).context("the agent's task has ended"),
        Err(error) => Err(error.context(format!("the agent is {:?}", agent.status().borrow().connection))),
    }
}

/// A daemon `wakemq-agent run`; killed when dropped.
#[derive(Debug)]
pub struct AgentProcess {
    id: AgentId,
    process: Process,
}

impl AgentProcess {
    /// Starts a daemon on a state directory, with further variables for its handler.
    pub fn start(
        state: &Path,
        id: &AgentId,
        on_wake: Option<&str>,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let args: Vec<&str> = on_wake.iter().flat_map(|script| ["--on-wake", script]).collect();
        Self::start_with(state, id, &args, variables)
    }

    fn start_with(state: &Path, id: &AgentId, args: &[&str], variables: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(&Programs::get()?.wakemq_agent);
        command.arg("run").arg("--state").arg(state).args(args);
        command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        Self::start_command(id, command)
    }

    /// Starts a command that ends as a daemon.
    pub fn start_command(id: &AgentId, command: Command) -> Result<Self> {
        Ok(Self { id: id.clone(), process: Process::start(format!("wakemq-agent {id}"), command)? })
    }

    /// Returns the agent's id.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it can be woken, for the first time.
    pub async fn connected(&self) -> Result<()> {
        self.process.wait_line("to be connected", is_connected).await
    }

    /// Waits until it can be woken again, after the first `after` lines of its log.
    pub async fn connected_after(&self, after: usize) -> Result<()> {
        self.process.wait_line_after(after, "to be connected again", is_connected).await
    }

    /// Returns all that it has said so far.
    pub fn lines(&self) -> Vec<Line> {
        self.process.lines()
    }

    /// Returns how many lines it has said so far.
    pub fn said(&self) -> usize {
        self.process.lines().len()
    }

    /// Waits for a line that contains a text.
    pub async fn wait_line(&self, text: &str) -> Result<String> {
        self.process.wait_line(text, |line| line.text.contains(text).then(|| line.text.clone())).await
    }
}

fn is_connected(line: &Line) -> Option<()> {
    (line.text.contains(" connected address=")).then_some(())
}
