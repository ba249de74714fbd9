//! The programs as they are shipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Paths of the programs.
#[derive(Debug)]
pub struct Shipped {
    /// The broker.
    pub wakemqd: PathBuf,
    agent: Option<PathBuf>,
    /// Copies, since a build of the tests puts its own programs in their place.
    _dir: TempDir,
}

/// Variables that cargo sets for what it runs and that a build would take for changes of its surroundings.
const SET_BY_CARGO: [&str; 6] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];

impl Shipped {
    /// Builds each program by itself, in the profile and target directory of the running program.
    pub fn build() -> Result<Self> {
        let broker = Self::build_broker()?;
        let agent = build_and_copy("wakemq-agent", "wakemq-agent", broker._dir.path())?;
        Ok(Self { agent: Some(agent), ..broker })
    }

    /// Builds the broker alone.
    pub fn build_broker() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let wakemqd = build_and_copy("wakemq-broker", "wakemqd", dir.path())?;
        Ok(Self { wakemqd, agent: None, _dir: dir })
    }

    /// Returns the agent's daemon.
    ///
    /// # Errors
    /// If the broker alone was built.
    pub fn wakemq_agent(&self) -> Result<&Path> {
        self.agent.as_deref().context("the agent's daemon was not built")
    }
}

/// Builds a program of the workspace beside the running one, and returns where it lies.
pub fn build_beside(package: &str, program: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot find this program's own path")?;
    let place = exe.parent().context("this program lies nowhere")?;
    build(package, program, place)?;
    Ok(place.join(program))
}

fn build_and_copy(package: &str, program: &str, dir: &Path) -> Result<PathBuf> {
    let (built, copy) = (build_beside(package, program)?, dir.join(program));
    std::fs::copy(&built, &copy).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(copy)
}

fn build(package: &str, program: &str, place: &Path) -> Result<()> {
    let target = place.parent().context("the programs lie in no target directory")?;
    let profile = match place.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--offline", "--profile", profile, "--package", package, "--bin", program])
        .arg("--target-dir")
        .arg(target)
        .stdout(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "cargo cannot build {program}: {built}");
    Ok(())
}
