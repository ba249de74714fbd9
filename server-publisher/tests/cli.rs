//! What the program prints and how it exits, without a broker.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use wakemq_protocol::{Secret, SecretKind};

/// Makes a command that sees neither a terminal nor the caller's profile.
fn wakemq(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakemq"));
    command.args(words).env_remove("WAKEMQ_PROFILE").env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    wakemq(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares with the file; `UPDATE_SNAPSHOTS=1` writes it instead.
fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; UPDATE_SNAPSHOTS=1 takes it over");
}

/// Writes a profile for a broker at `endpoint`.
fn profile(dir: &Path, endpoint: &str, mode: u32) -> String {
    let secret = Secret::from_random(SecretKind::Operator, &[9; 32]);
    let path = dir.join("operator.toml");
    let text =
        format!("operator = \"console\"\nsecret = \"{}\"\nendpoints = [\"{endpoint}\"]\n", secret.expose());
    std::fs::write(&path, text).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_is_as_reviewed() {
    for (name, words) in [
        ("help.txt", &["--help"][..]),
        ("help-wake.txt", &["wake", "--help"]),
        ("help-wol.txt", &["wol", "--help"]),
        ("help-explain.txt", &["explain", "--help"]),
        ("help-cancel.txt", &["cancel", "--help"]),
        ("help-show.txt", &["show", "--help"]),
        ("help-watch.txt", &["watch", "--help"]),
        ("help-agents.txt", &["agents", "--help"]),
        ("help-agents-list.txt", &["agents", "list", "--help"]),
        ("help-agents-move.txt", &["agents", "move", "--help"]),
        ("help-agents-revoke.txt", &["agents", "revoke", "--help"]),
        ("help-agents-import.txt", &["agents", "import", "--help"]),
        ("help-groups.txt", &["groups", "--help"]),
        ("help-groups-list.txt", &["groups", "list", "--help"]),
        ("help-groups-create.txt", &["groups", "create", "--help"]),
        ("help-groups-rename.txt", &["groups", "rename", "--help"]),
        ("help-groups-remove.txt", &["groups", "remove", "--help"]),
        ("help-tokens.txt", &["tokens", "--help"]),
        ("help-tokens-create.txt", &["tokens", "create", "--help"]),
        ("help-tokens-list.txt", &["tokens", "list", "--help"]),
        ("help-tokens-revoke.txt", &["tokens", "revoke", "--help"]),
        ("help-operators.txt", &["operators", "--help"]),
        ("help-operators-create.txt", &["operators", "create", "--help"]),
        ("help-operators-list.txt", &["operators", "list", "--help"]),
        ("help-operators-set.txt", &["operators", "set", "--help"]),
        ("help-operators-revoke.txt", &["operators", "revoke", "--help"]),
        ("help-audit.txt", &["audit", "--help"]),
        ("help-completions.txt", &["completions", "--help"]),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(output.stderr.is_empty(), "{words:?}");
        snapshot(name, &text(&output.stdout));
    }
}

#[test]
fn usage_errors_are_as_reviewed_and_exit_with_2() {
    let mut all = String::new();
    for words in [
        &["wake"][..],
        &["wak", "pc-1"],
        &["wake", "pc-1", "--wait", "forever"],
        &["wake", "pc-1", "--ttl", "31d"],
        &["wake", "pc-1", "--ttl", "soon"],
        &["wake", "pc-1", "--slot", "Upper"],
        &["wake", "pc-1", "--slot", "a", "--no-slot"],
        &["wake", "pc-1", "--secret", "x"],
        &["show", "not-an-id"],
        &["tokens", "create"],
        &["tokens", "create", "--group", "Not/A/Group"],
        &["tokens", "create", "--group", "a", "--uses", "0"],
        &["wake", "pc-1", "--all"],
        &["wake", "--group", "Paris"],
        &["show", "0197c1b2-0000-7000-8000-000000000000", "--waiting", "--outcomes"],
        &["watch", "--kind", "weather"],
        &["agents", "list", "--state", "asleep"],
        &["agents", "move", "pc-1"],
        &["groups", "remove", "/"],
        &["operators", "create", "helpdesk", "--group", "paris"],
        &["operators", "set", "helpdesk"],
        &["audit", "--since", "2026-11-22"],
        &["wake", "pc-1", "--power", "always"],
        &["wol"],
        &["wol", "pc-1", "--mac", "00:16:3e:12:34:56", "--from-broker"],
        &["wol", "pc-1", "--via", "pc-2"],
        &["wol", "--mac", "00:16:3e:12:34:56"],
        &["wol", "--mac", "00:16:3e:12:34", "--from-broker"],
        &["wol", "--mac", "00:16:3e:12:34:56", "--via", "pc-2", "--from-broker"],
        &["wol", "--mac", "00:16:3e:12:34:56", "--via", "pc-2", "--wait", "up"],
        &["wake", "pc-1"],
        &["--profile", "/nonexistent/operator.toml", "agents", "list"],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
        let stderr = text(&output.stderr);
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: "), "{words:?} ends with {last:?}");
        all.push_str(&format!("$ wakemq {}\n{stderr}\n", words.join(" ")));
    }
    snapshot("usage-errors.txt", &all);
}

#[cfg(unix)]
#[test]
fn a_profile_that_others_can_read_is_refused_without_showing_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = profile(dir.path(), "127.0.0.1:1", 0o644);
    let output = wakemq(&["wake", "pc-1"]).env("WAKEMQ_PROFILE", &path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "error: the profile {path} can be read by others (mode 0644), and it holds a secret\n\
             hint: chmod 600 {path}\n"
        )
    );
}

#[test]
fn bad_agents_and_an_empty_list_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = profile(dir.path(), "127.0.0.1:1", 0o600);
    for words in [&["wake", "-"][..], &["wake", "a b"]] {
        let output = wakemq(words).env("WAKEMQ_PROFILE", &path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn an_unreachable_broker_is_3_for_every_command() {
    // A port that was free a moment ago, and on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let path = profile(dir.path(), &format!("127.0.0.1:{port}"), 0o600);
    let file = dir.path().join("agents.jsonl");
    std::fs::write(&file, "{\"agent\":\"a\",\"group\":\"\"}\n").unwrap();
    // Any certificate at all will do, since nobody shows one.
    let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let mut text_of_profile = std::fs::read_to_string(&path).unwrap();
    text_of_profile.push_str(&format!("ca = '''\n{ca}'''\n"));
    std::fs::write(&path, text_of_profile).unwrap();
    let id = "0197c1b2-0000-7000-8000-000000000000";
    let new = dir.path().join("new.toml");
    for words in [
        &["wake", "pc-1"][..],
        &["wake", "pc-1", "pc-2", "--json"],
        &["show", id],
        &["cancel", id],
        &["agents", "list"],
        &["agents", "show", "pc-1"],
        &["agents", "import", file.to_str().unwrap()],
        &["tokens", "create", "--group", "a"],
        &["wake", "--group", "a"],
        &["wake", "pc-1", "--power", "auto"],
        &["wol", "pc-1"],
        &["wol", "--group", "a", "--json"],
        &["wol", "--mac", "00:16:3e:12:34:56", "--from-broker"],
        &["explain", "pc-1"],
        &["wake", "--all", "--json"],
        &["watch"],
        &["show", id, "--waiting"],
        &["agents", "move", "pc-1", "--to", "a"],
        &["agents", "revoke", "pc-1", "--yes"],
        &["groups", "list"],
        &["groups", "create", "a"],
        &["tokens", "list"],
        &["operators", "list"],
        &["operators", "create", "b", "--role", "viewer", "--group", "a", "--out", new.to_str().unwrap()],
        &["operators", "set", "b", "--role", "viewer"],
        &["audit", "--since", "1h"],
    ] {
        let output = wakemq(words).env("WAKEMQ_PROFILE", &path).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{words:?}");
        assert!(stderr.contains("the broker cannot be reached") && stderr.contains("refused"), "{stderr}");
        assert!(stderr.lines().last().unwrap().starts_with("hint: "), "{stderr}");
        assert!(!stderr.contains("wmo_"), "{stderr}");
    }
    assert!(!new.exists(), "a profile without an operator is left");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for words in [&["completions", "bash"][..], &["--help"]] {
        let mut child = wakemq(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{words:?}: {}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(
            script.contains("import") && script.contains("no-slot") && script.contains("operators"),
            "{shell}"
        );
    }
}
