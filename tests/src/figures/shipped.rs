//! The programs as they are shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::programs::Build;

/// Programs that were built as they are shipped: copies, since a build of the tests puts its own in their place.
#[derive(Debug)]
pub struct Shipped {
    /// The broker.
    pub wakemqd: PathBuf,
    dir: TempDir,
}

impl Shipped {
    /// Builds the broker and other programs of the workspace, in the profile and target directory of the running
    /// program, and with its features of dependencies: nothing is built twice.
    pub async fn build(others: &[&str]) -> Result<Self> {
        let programs: Vec<_> = std::iter::once("wakemqd").chain(others.iter().copied()).collect();
        let build = Build::of(&programs)?;
        let built =
            Command::from(build.cargo).kill_on_drop(true).status().await.context("cannot run cargo")?;
        ensure!(built.success(), "cargo cannot build {}: {built}", programs.join(", "));
        let dir = tempfile::tempdir()?;
        for name in programs {
            let program = build.place.join(name);
            std::fs::copy(&program, dir.path().join(name))
                .with_context(|| format!("cannot copy {}", program.display()))?;
        }
        Ok(Self { wakemqd: dir.path().join("wakemqd"), dir })
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
