//! rumqttd with its own TLS listener: a program of the package `tests/rumqttd-target`, which lies outside the
//! workspace so that its features do not leak into the broker's event bus.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use crate::fleet::ground::Ground;
use crate::fleet::progress;

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rumqttd-target");

/// Builds it below this program's own target directory, in the same profile.
///
/// # Errors
/// In words: why it is left out.
pub async fn build() -> Result<PathBuf, String> {
    progress("programs", "building tests/rumqttd-target, a package of its own");
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = exe.ancestors().nth(2).ok_or("this program lies in no target directory")?;
    let target = target.join("rumqttd-target");
    let (profile, place) = if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--profile", profile, "--manifest-path"])
        .arg(Path::new(PACKAGE).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !built.success() {
        return Err(format!("cargo cannot build {PACKAGE}: {built}"));
    }
    Ok(target.join(place).join("rumqttd-target"))
}

pub(super) fn command(ground: &Ground, address: SocketAddr, _dir: &Path) -> Result<Command> {
    let program = ground.rumqttd.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
    let [certificate, key] = ground.certificate();
    let mut command = Command::new(program);
    command.arg(address.to_string()).arg(certificate).arg(key);
    Ok(command)
}
