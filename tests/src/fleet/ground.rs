//! What all targets of a run share: certificates, agents with their secrets, and the programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use wakemq_protocol::{AgentId, Secret};

use super::progress;
use crate::broker::write_private;
use crate::figures::Setting;
use crate::figures::server::{Data, Server};
use crate::figures::shipped::Shipped;

/// What a run stands on.
#[derive(Debug)]
pub struct Ground {
    /// The programs as shipped.
    pub shipped: Shipped,
    /// Whether it is to be quick, and where data lies.
    pub setting: Setting,
    /// The target rumqttd, if it could be built; otherwise why not.
    pub rumqttd: Result<PathBuf, String>,
    /// What `wakemqd init` made, with all agents imported. Brokers run on copies of it.
    template: Data,
    agents: Vec<AgentId>,
    agents_file: PathBuf,
    _dir: TempDir,
}

impl Ground {
    /// Makes certificates and `count` agents.
    pub async fn new(
        shipped: Shipped,
        setting: Setting,
        rumqttd: Result<PathBuf, String>,
        count: usize,
    ) -> Result<Self> {
        progress("ground", &format!("importing {count} agents"));
        let server = Server::start(&shipped, Data::init(&shipped, &setting).await?).await?;
        let imported = server.import(count).await?;
        let Server { data, process, .. } = server;
        process.stop().await?;
        let dir = setting.tempdir()?;
        let agents_file = dir.path().join("agents");
        write(&agents_file, &imported)?;
        let agents = imported.into_iter().map(|(agent, _)| agent).collect();
        Ok(Self { shipped, setting, rumqttd, template: data, agents, agents_file, _dir: dir })
    }

    /// Returns the agents.
    pub fn agents(&self) -> &[AgentId] {
        &self.agents
    }

    /// Returns the file of agents and secrets.
    pub fn agents_file(&self) -> &Path {
        &self.agents_file
    }

    /// Returns the path of the CA.
    pub fn ca(&self) -> PathBuf {
        self.template.ca()
    }

    /// Returns the paths of the server's certificate and key.
    pub fn certificate(&self) -> [PathBuf; 2] {
        self.template.certificate()
    }

    /// Copies the broker's data directory.
    pub fn copy_data(&self) -> Result<TempDir> {
        let copy = self.setting.tempdir()?;
        for entry in std::fs::read_dir(self.template.path())? {
            let entry = entry?;
            let to = copy.path().join(entry.file_name());
            std::fs::copy(entry.path(), &to).with_context(|| format!("cannot copy to {}", to.display()))?;
        }
        Ok(copy)
    }
}

/// Writes agents as a load process reads them.
fn write(path: &Path, agents: &[(AgentId, Secret)]) -> Result<()> {
    let lines: String =
        agents.iter().map(|(agent, secret)| format!("{agent} {}\n", secret.expose())).collect();
    write_private(path, &lines)
}
