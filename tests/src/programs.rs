//! The programs under test, built once by the cargo that runs the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// The packages of the programs, and this one, whatever is wanted of it: dependencies get the features that the named
/// packages want together, and so the same ones as in the build that is running.
const PACKAGES: [&str; 4] = ["wakemq-tests", "wakemq-broker", "wakemq-agent", "wakemq-publisher"];

/// Variables that cargo sets for what it runs. A build that inherits them takes them for changes of its own
/// surroundings and begins anew.
const SET_BY_CARGO: [&str; 6] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];

/// A build in the profile and target directory of the running program.
#[derive(Debug)]
pub struct Build {
    /// The call of cargo.
    pub cargo: Command,
    /// Where the programs will lie.
    pub place: PathBuf,
}

impl Build {
    /// Prepares that of programs of the workspace, with the features of dependencies that this program has: nothing
    /// is built twice.
    pub fn of(programs: &[&str]) -> Result<Self> {
        let mut build = Self::new(None)?;
        build
            .cargo
            .arg("--offline")
            .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
            .args(programs.iter().flat_map(|program| ["--bin", program]));
        if !cfg!(feature = "test-util") {
            build.cargo.arg("--no-default-features");
        }
        if cfg!(feature = "jemalloc") {
            build.cargo.args(["--features", "wakemq-tests/jemalloc"]);
        }
        Ok(build)
    }

    /// Prepares that of the agent's daemon as it is shipped: alone, and in a release in a profile of its own.
    pub fn of_agent() -> Result<Self> {
        let mut build = Self::new(Some("agent"))?;
        build.cargo.args(["--offline", "--package", "wakemq-agent", "--bin", "wakemq-agent"]);
        Ok(build)
    }

    /// Prepares that of a package of its own outside the workspace, which lies in a directory of this one. What of
    /// its dependencies is the same is shared all the same.
    pub fn of_package(dir: &str) -> Result<Self> {
        let mut build = Self::new(None)?;
        build.cargo.args(["--locked", "--manifest-path"]).arg(Path::new(dir).join("Cargo.toml"));
        Ok(build)
    }

    fn new(release: Option<&str>) -> Result<Self> {
        let exe = std::env::current_exe().context("cannot find this program's own path")?;
        let beside = exe.parent().context("this program lies nowhere")?;
        // Tests lie in `deps`, programs beside it.
        let place = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
        let target = place.parent().context("the programs lie in no target directory")?;
        let (profile, place) = match (place.file_name().and_then(|name| name.to_str()), release) {
            (Some("debug") | None, _) => ("dev", place.to_owned()),
            (Some(_), Some(profile)) => (profile, target.join(profile)),
            (Some(profile), None) => (profile, place.to_owned()),
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix))) {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--profile", profile, "--target-dir"])
            .arg(target)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(Self { cargo, place })
    }
}

impl Programs {
    /// Builds the programs if that was not done yet, in the profile and target directory of the running program.
    pub fn get() -> Result<&'static Self> {
        static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
        let built = PROGRAMS.get_or_init(|| build().map_err(|error| format!("{error:#}")));
        built.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

/// Builds a program of this package, and optimises some of the workspace's packages for it, whatever the profile says.
/// What others have written is optimised anyway, so that little is built anew.
pub fn optimised(program: &str, packages: &[&str]) -> Result<PathBuf> {
    let Build { mut cargo, place } = Build::of(&[program])?;
    for package in packages {
        cargo.args(["--config", &format!("profile.dev.package.{package}.opt-level=2")]);
    }
    run(cargo)?;
    built(&place, program)
}

fn build() -> Result<Programs> {
    let Build { cargo, place } = Build::of(&["wakemqd", "wakemq-agent", "wakemq"])?;
    run(cargo)?;
    let program = |name: &str| built(&place, name);
    Ok(Programs {
        wakemqd: program("wakemqd")?,
        wakemq_agent: program("wakemq-agent")?,
        wakemq: program("wakemq")?,
    })
}

fn run(mut cargo: Command) -> Result<()> {
    let built = cargo.arg("--quiet").output().context("cannot run cargo")?;
    ensure!(
        built.status.success(),
        "cargo cannot build the programs ({}):\n{}",
        built.status,
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(())
}

fn built(place: &Path, program: &str) -> Result<PathBuf> {
    let path = place.join(program);
    ensure!(path.exists(), "cargo built no {}", path.display());
    Ok(path)
}
