//! rumqttd with its own TLS listener: a program of the package `tests/rumqttd-target`, which lies outside the
//! workspace so that its features do not leak into the broker's event bus.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::fleet::ground::Ground;
use crate::fleet::progress;
use crate::programs::Build;

const PACKAGE: &str = "rumqttd-target";

/// Builds it.
///
/// # Errors
/// In words: why it is left out.
pub async fn build() -> Result<PathBuf, String> {
    progress("programs", "building tests/rumqttd-target, a package of its own");
    cargo().await.map_err(|error| format!("{error:#}"))
}

async fn cargo() -> Result<PathBuf> {
    let Build { cargo, place } = Build::of_package(PACKAGE)?;
    let built = Command::from(cargo).kill_on_drop(true).status().await.context("cannot run cargo")?;
    ensure!(built.success(), "cargo cannot build tests/{PACKAGE}: {built}");
    Ok(place.join(PACKAGE))
}

pub(super) fn command(ground: &Ground, address: SocketAddr, _dir: &Path) -> Result<Command> {
    let program = ground.rumqttd.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
    let [certificate, key] = ground.certificate();
    let mut command = Command::new(program);
    command.arg(address.to_string()).arg(certificate).arg(key);
    Ok(command)
}
