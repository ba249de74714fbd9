//! The programs under test, built once by the cargo that runs the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

/// Paths of the programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The broker.
    pub wakemqd: PathBuf,
    /// The agent's daemon.
    pub wakemq_agent: PathBuf,
    /// The operator's command line.
    pub wakemq: PathBuf,
}

/// Variables that cargo sets for what it runs. A build that inherits them takes them for changes of its own
/// surroundings and begins anew.
const SET_BY_CARGO: [&str; 6] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];

impl Programs {
    /// Builds the programs if that was not done yet, in the profile and target directory of the running program.
    pub fn get() -> Result<&'static Self> {
        static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
        let built = PROGRAMS.get_or_init(|| build().map_err(|error| format!("{error:#}")));
        built.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

fn build() -> Result<Programs> {
    let exe = std::env::current_exe().context("cannot find this program's own path")?;
    let beside = exe.parent().context("this program lies nowhere")?;
    // Tests lie in `deps`, programs beside it.
    let dir = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = dir.parent().context("the programs lie in no target directory")?;

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    // This package is named too, though none of its programs is wanted: dependencies get the features that the
    // named packages want together, and so the same ones as in the build that is running.
    let packages = ["wakemq-tests", "wakemq-broker", "wakemq-agent", "wakemq-publisher"];
    cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["build", "--quiet", "--offline", "--profile", profile, "--target-dir"])
        .arg(target)
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(["wakemqd", "wakemq-agent", "wakemq"].iter().flat_map(|program| ["--bin", program]));
    let built = cargo.output().context("cannot run cargo")?;
    ensure!(
        built.status.success(),
        "cargo cannot build the programs ({}):\n{}",
        built.status,
        String::from_utf8_lossy(&built.stderr)
    );
    let program = |name: &str| {
        let path = dir.join(name);
        ensure!(path.exists(), "cargo built no {}", path.display());
        Ok(path)
    };
    Ok(Programs {
        wakemqd: program("wakemqd")?,
        wakemq_agent: program("wakemq-agent")?,
        wakemq: program("wakemq")?,
    })
}
