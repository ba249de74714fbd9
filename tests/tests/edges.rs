//! Who may import whom (design §5): the edges between the crates, and those within the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The crates, and which of the others each may depend on. Tests may depend on everything.
const EDGES: [(&str, &[&str]); 6] = [
    ("wakemq-protocol", &[]),
    ("wakemq-core", &["wakemq-protocol"]),
    ("wakemq-link", &["wakemq-protocol"]),
    ("wakemq-broker", &["wakemq-core", "wakemq-protocol"]),
    ("wakemq-agent", &["wakemq-link", "wakemq-protocol"]),
    ("wakemq-publisher", &["wakemq-link", "wakemq-protocol"]),
];

/// What pure crates may use, directly. A clock, a random source, a runtime, TLS or a store is not among it.
const PURE: [(&str, &[&str]); 2] = [
    ("wakemq-protocol", &["base64", "ipnet", "serde", "serde_json", "thiserror", "time", "uuid"]),
    ("wakemq-core", &["ipnet", "thiserror", "wakemq-protocol"]),
];

/// What pure crates must not have, not even through others.
const NEVER_BELOW_PURE: [&str; 12] = [
    "fastrand",
    "getrandom",
    "mio",
    "parking_lot",
    "rand",
    "redb",
    "ring",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tracing",
];

/// Features of pure crates' dependencies that would bring a clock or a random source.
const NEVER_SWITCHED_ON: [(&str, &[&str]); 2] =
    [("time", &["local-offset", "wasm-bindgen"]), ("uuid", &["v1", "v4", "v6", "v7", "rng", "fast-rng"])];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the system that this is compiled on; packages for others need not be here.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let said = String::from_utf8(output.stdout)?;
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc tells no host")
}

/// Returns the packages that a crate brings with it by itself. Together with others of the workspace, which switch on
/// features of the same packages, it would reach more.
fn below(package: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(root())
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout)?;
    let names: BTreeSet<_> =
        told.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    ensure!(names.contains(package) && names.contains("serde"), "cargo tree tells something else:\n{told}");
    Ok(names)
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &host()?])
        .current_dir(root())
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Returns the names of the packages that a package depends on, those of its own tests and build scripts excepted.
fn direct(package: &Value) -> BTreeSet<&str> {
    list(package, "dependencies").filter(|one| one["kind"].is_null()).map(|one| text(one, "name")).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_design_says() -> Result<()> {
    let metadata = metadata()?;
    let packages: BTreeMap<_, _> = list(&metadata, "packages").map(|one| (text(one, "name"), one)).collect();
    let ours: BTreeSet<_> = packages.keys().filter(|name| name.starts_with("wakemq-")).copied().collect();
    let named: BTreeSet<_> = EDGES.iter().map(|(name, _)| *name).chain(["wakemq-tests"]).collect();
    assert_eq!(ours, named, "a crate without a rule, or a rule without a crate");
    for (name, allowed) in EDGES {
        let package = packages.get(name).with_context(|| format!("no package {name}"))?;
        // Tests of a crate are held to the same edges: all kinds of dependencies count here.
        let found: BTreeSet<_> = list(package, "dependencies")
            .map(|one| text(one, "name"))
            .filter(|dependency| dependency.starts_with("wakemq-"))
            .collect();
        let foreign: Vec<_> = found.iter().filter(|dependency| !allowed.contains(dependency)).collect();
        assert!(foreign.is_empty(), "{name} must not depend on {foreign:?}");
    }
    for (name, allowed) in PURE {
        let foreign: Vec<_> =
            direct(packages[name]).into_iter().filter(|dependency| !allowed.contains(dependency)).collect();
        assert!(foreign.is_empty(), "{name} is pure, and must not depend on {foreign:?}");
    }
    Ok(())
}

#[test]
fn nothing_below_the_pure_crates_does_io_or_tells_time() -> Result<()> {
    let metadata = metadata()?;
    for (pure, _) in PURE {
        let below = below(pure)?;
        for never in NEVER_BELOW_PURE {
            assert!(!below.contains(never), "{pure} reaches {never}");
        }
        for (name, features) in NEVER_SWITCHED_ON {
            let manifest = list(&metadata, "packages").find(|one| text(one, "name") == pure);
            let asked = manifest.into_iter().flat_map(|one| list(one, "dependencies"));
            for dependency in asked.filter(|one| text(one, "name") == name) {
                for feature in list(dependency, "features") {
                    let feature = feature.as_str().unwrap_or_default();
                    assert!(!features.contains(&feature), "{pure} switches {feature} of {name} on");
                }
            }
        }
    }
    Ok(())
}

/// Names of files and directories that hold a module's tests.
const TESTS: [&str; 3] = ["tests", "tests.rs", "suite"];

/// Returns every source file below a directory, with its text up to its tests.
fn sources(dir: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| TESTS.iter().any(|tests| name == *tests)) {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            found.push((path, code));
        }
    }
    Ok(found)
}

/// Returns the words that stand behind `path::` in a text, groups in braces resolved.
fn imported(code: &str, path: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, _) in code.match_indices(path) {
        let rest = &code[at + path.len()..];
        let end = if rest.starts_with('{') {
            rest.find('}')
        } else {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
        };
        for word in rest[..end.unwrap_or(rest.len())].trim_start_matches('{').split(',') {
            words.insert(word.trim().to_owned());
        }
    }
    words.remove("");
    words
}

#[test]
fn within_the_broker_only_the_engine_sees_both_store_and_registry() -> Result<()> {
    let broker = root().join("broker/src");
    // Plain values, with which the engine's questions and answers are put. Nobody can reach a store by them.
    let words = ["Epoch", "Principal", "Role", "StoreError"];
    for part in ["door", "http", "polls", "transport", "mqtt"] {
        for (path, code) in sources(&broker.join(part))? {
            let foreign: Vec<_> = imported(&code, "store::")
                .into_iter()
                .filter(|word| !words.contains(&word.as_str()))
                .collect();
            assert!(foreign.is_empty(), "{}: a door knows no store: {foreign:?}", path.display());
            assert!(!code.contains("dyn Store") && !code.contains(".store"), "{}", path.display());
        }
    }
    for (path, code) in sources(&broker.join("store"))? {
        for foreign in ["crate::door", "crate::registry", "crate::engine", "crate::http", "wakemq_core"] {
            assert!(!code.contains(foreign), "{}: the store knows no {foreign}", path.display());
        }
    }
    for (path, code) in sources(&broker.join("registry"))? {
        let foreign: Vec<_> = imported(&code, "store::").into_iter().filter(|word| word != "Epoch").collect();
        assert!(foreign.is_empty(), "{}: the registry knows no store: {foreign:?}", path.display());
    }
    // No other module names a backend.
    for (path, code) in sources(&broker)? {
        if !path.starts_with(broker.join("store")) {
            assert!(!code.contains("redb::"), "{} names a backend", path.display());
        }
    }
    Ok(())
}

#[test]
fn only_the_protocol_knows_the_text_of_topics() -> Result<()> {
    for part in ["broker/core/src", "broker/src", "link/src", "agent-client/src", "server-publisher/src"] {
        for (path, code) in sources(&root().join(part))? {
            for (number, line) in code.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                assert!(!code.contains("\"wake/"), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
    Ok(())
}

#[test]
fn words_behind_a_path_are_found() {
    let code = "use crate::store::{Epoch, self as s,\n    Role};\nlet x = crate::store::memory();";
    let words: BTreeSet<_> = ["Epoch", "self as s", "Role", "memory"].map(str::to_owned).into();
    assert_eq!(imported(code, "store::"), words);
}
