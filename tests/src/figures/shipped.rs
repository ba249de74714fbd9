//! The programs as they are shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::programs::Build;

/// The agent's daemon.
pub const AGENT: &str = "wakemq-agent";

/// Programs that were built as they are shipped: copies, since a build of the tests puts its own in their place.
#[derive(Debug)]
pub struct Shipped {
    /// The broker.
    pub wakemqd: PathBuf,
    dir: TempDir,
}

impl Shipped {
    /// Builds the broker and other programs of the workspace.
    pub async fn build(others: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let shipped = Self { wakemqd: dir.path().join("wakemqd"), dir };
        let beside: Vec<_> =
            std::iter::once("wakemqd").chain(others.iter().copied().filter(|name| *name != AGENT)).collect();
        shipped.add(Build::of(&beside)?, &beside).await?;
        if others.contains(&AGENT) {
            shipped.add(Build::of_agent()?, &[AGENT]).await?;
        }
        Ok(shipped)
    }

    async fn add(&self, build: Build, programs: &[&str]) -> Result<()> {
        let built =
            Command::from(build.cargo).kill_on_drop(true).status().await.context("cannot run cargo")?;
        ensure!(built.success(), "cargo cannot build {}: {built}", programs.join(", "));
        for name in programs {
            let program = build.place.join(name);
            std::fs::copy(&program, self.dir.path().join(name))
                .with_context(|| format!("cannot copy {}", program.display()))?;
        }
        Ok(())
    }

    /// Returns the path of one of the others.
    ///
    /// # Errors
    /// If it was not asked for.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path: &Path = &self.dir.path().join(name);
        ensure!(path.exists(), "{name} was not built");
        Ok(path.to_owned())
    }
}
