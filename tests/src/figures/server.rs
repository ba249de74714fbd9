//! The broker that is measured: as shipped, a process of its own, on a data directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_broker::init::{CA, CERTIFICATE, CONFIG, KEY, OPERATOR, set_profile_endpoints};
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, Secret};
use wakemq_publisher::{IMPORT_LINES_MAX, Management, load_profile};

use super::Setting;
use super::child::Running;
use super::client::{Dialer, Lean};
use super::shipped::Shipped;
use crate::broker::import;
use crate::raw::{Login, Version};
use crate::wait::within;

/// All defaults, but for a warning, since so many connections may well be more than there are descriptors, and for a rate
/// that holds nobody back.
const CONFIGURATION: &str =
    "[limits]\nmax_connections = 15000\nadmissions_per_sec = 1000000\nadmission_burst = 1000000\n";

/// A data directory that `wakemqd init` has made.
#[derive(Debug)]
pub struct Data(TempDir);

impl Data {
    /// Makes one.
    pub async fn init(shipped: &Shipped, setting: &Setting) -> Result<Self> {
        let data = Self(setting.tempdir()?);
        let mut command = Command::new(&shipped.wakemqd);
        command.args(["init", "--host", "127.0.0.1", "--data"]).arg(data.path()).kill_on_drop(true);
        let done = within("wakemqd init", command.output()).await??;
        ensure!(done.status.success(), "wakemqd init: {}", String::from_utf8_lossy(&done.stderr));
        std::fs::write(data.path().join(CONFIG), CONFIGURATION)?;
        Ok(data)
    }

    /// Returns the directory itself.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of the CA.
    pub fn ca(&self) -> PathBuf {
        self.path().join(CA)
    }

    /// Returns the paths of the server's certificate and key.
    pub fn certificate(&self) -> [PathBuf; 2] {
        [CERTIFICATE, KEY].map(|name| self.path().join(name))
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Server {
    /// Its data.
    pub data: Data,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Running,
}

impl Server {
    /// Starts a broker on a data directory.
    pub async fn start(shipped: &Shipped, data: Data) -> Result<Self> {
        let mut command = Command::new(&shipped.wakemqd);
        command
            .args(["run", "--log", "warn", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(data.path());
        let mut process = Running::start("wakemqd", command)?;
        let address: SocketAddr = process.line("listening ").await?.parse().context("no address")?;
        set_profile_endpoints(data.path(), &[address.to_string()])?;
        Ok(Self { data, address, process })
    }

    /// Returns the administrator's profile.
    pub fn profile(&self) -> Result<Profile> {
        Ok(load_profile(&self.data.path().join(OPERATOR))?)
    }

    /// Connects the administrator over MQTT.
    pub async fn operator(&self) -> Result<Lean> {
        let profile = self.profile()?;
        let mut lean = Dialer::new(self.address, &self.data.ca())?.dial(None).await?;
        let name = format!("op:{}", profile.operator);
        lean.enter(&Login::new(Version::V5, &name, profile.secret.expose())).await?;
        Ok(lean)
    }

    /// Creates agents `a0`, `a1` and so on, and returns their secrets.
    pub async fn import(&self, count: usize) -> Result<Vec<(AgentId, Secret)>> {
        import_numbered(&mut Management::new(&self.profile()?)?, count).await
    }
}

/// Creates agents `a0`, `a1` and so on, and returns their secrets.
pub async fn import_numbered(management: &mut Management, count: usize) -> Result<Vec<(AgentId, Secret)>> {
    let names: Vec<_> = (0..count).map(|number| format!("a{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut made = Vec::with_capacity(count);
    for some in names.chunks(IMPORT_LINES_MAX) {
        made.extend(import(management, some).await?);
    }
    Ok(made)
}
