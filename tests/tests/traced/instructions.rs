//! Instructions of sessions, engine, codec and the store's logic, against a reference that is part of the repository.
//!
//! The program that is counted is built optimised, for unoptimised code would tell how often the compiler's helpers are
//! called; only our own crates that take part are built for it anew.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use wakemq_tests::programs;

/// What is counted, and how often it is done.
const COUNTED: [(&str, u32); 2] = [("admission", 300), ("wake", 300)];
/// How far a count may be away from the reference.
const TOLERANCE: f64 = 0.1;
/// Set to `renew`, it has the reference written anew.
const VARIABLE: &str = "WAKEMQ_INSTRUCTIONS";

/// The reference: see the words at its head.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    /// Who compiled what was counted: another version may compile otherwise.
    rustc: String,
    admission: u64,
    wake: u64,
}

#[test]
fn admission_and_wake_up_take_as_many_instructions_as_before() -> Result<()> {
    let program = programs::optimised("instructions", &["wakemq-protocol", "wakemq-core", "wakemq-broker"])?;
    let [admission, wake] = COUNTED.map(|(what, times)| count(&program, what, times));
    let found = Reference { rustc: rustc()?, admission: admission?, wake: wake? };
    println!("{found:?}");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traced/instructions.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "renew") {
        let head: String =
            text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        return Ok(std::fs::write(&path, head + &toml::to_string(&found)?)?);
    }
    let reference: Reference = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let compared =
        [("admission", found.admission, reference.admission), ("wake", found.wake, reference.wake)];
    for (what, count, before) in compared {
        let change = count as f64 / before as f64 - 1.0;
        println!("{what}: {count} instructions, {:+.1} % against the reference", change * 100.0);
        ensure!(
            change.abs() <= TOLERANCE,
            "{what}: {count} instructions, {before} in {} ({:+.1} %; compiled by {}, the reference by {}). If that is \
             meant to be, run the test again with {VARIABLE}=renew, and commit what it writes",
            path.display(),
            change * 100.0,
            found.rustc,
            reference.rustc,
        );
    }
    Ok(())
}

/// Counts the instructions of doing something once.
fn count(program: &Path, what: &str, times: u32) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_part*"])
        .arg(format!("--callgrind-out-file={}", dir.path().join("out").display()))
        .arg(program)
        .args([what, &times.to_string()]);
    let Output { status, stderr, .. } =
        valgrind.output().context("valgrind cannot be run; on Debian: apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{what} failed under valgrind: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) =
        collected.with_context(|| format!("valgrind did not tell what it collected: {said}"))?;
    let all: u64 = collected.trim().parse().with_context(|| said.clone().into_owned())?;
    ensure!(all > 0, "valgrind has seen no counted_part: {said}");
    Ok(all / u64::from(times))
}

/// Returns the version of the compiler.
fn rustc() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("--version").output().context("rustc cannot be run")?;
    let told = String::from_utf8(told.stdout)?;
    Ok(told.split_whitespace().nth(1).context("rustc has no version")?.to_owned())
}
