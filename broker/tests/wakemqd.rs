//! The program itself: what it prints, how it ends, what it refuses.

#![expect(clippy::unwrap_used, reason = "a failure anywhere in a test, its helpers too, is a failed test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn wakemqd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakemqd"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = wakemqd(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running broker; killed when dropped.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = wakemqd(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn address(&mut self) -> String {
        self.said("listening ")
    }

    fn admin(&mut self) -> String {
        self.said("admin ")
    }

    fn said(&mut self, word: &str) -> String {
        let line = self.line();
        line.strip_prefix(word).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn init_then_run_then_an_orderly_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = text(&data);

    let (code, _, told) = output(&["run", "--data", data]);
    assert_eq!(code, Some(3));
    assert!(
        told.contains("holds no broker's data") && told.contains("hint: make it with `wakemqd init"),
        "{told}"
    );

    assert_eq!(output(&["init", "--data", data, "--host", "127.0.0.1"]).0, Some(0));
    let (code, _, told) = output(&["init", "--data", data]);
    assert_eq!(code, Some(3));
    assert!(told.contains("initialised already") && told.contains("hint: "), "{told}");

    let run =
        ["run", "--data", data, "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--admin", "127.0.0.1:0"];
    let mut running = Running::start(&run);
    let addresses = [running.address(), running.address(), running.admin()];
    for address in &addresses {
        std::net::TcpStream::connect(address).expect("it listens once it says so");
    }

    // The store has one user at a time.
    let (code, _, told) = output(&run);
    assert_eq!(code, Some(3));
    assert!(told.contains("in use"), "{told}");

    let (code, log) = running.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("shutting down") && log.contains("stopped"), "{log}");
    assert!(
        log.contains(&format!("endpoints=[\"{}\"", addresses[0])),
        "agents are told the port that was bound: {log}"
    );

    // An address that is taken is told as that.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, _, told) =
        output(&["run", "--data", data, "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code, Some(1));
    assert!(told.contains("hint: another program listens there"), "{told}");
    let taken = taken.local_addr().unwrap().to_string();
    let (code, _, told) = output(&["run", "--data", data, "--listen", "127.0.0.1:0", "--admin", &taken]);
    assert_eq!(code, Some(1));
    assert!(told.contains(&taken), "{told}");
}

#[test]
fn a_first_start_makes_the_directory_and_the_next_one_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let listen = [free(), free()];
    let both = ["--listen", &listen[0], "--listen", &listen[1]];
    let run: Vec<&str> =
        ["run", "--data", text(&data), "--init-if-missing", "--host", "localhost", "--admin", "127.0.0.1:0"]
            .into_iter()
            .chain(both)
            .collect();
    let health: Vec<&str> = ["health", "--data", text(&data)].into_iter().chain(both).collect();

    let (code, _, told) = output(&health);
    assert!(code == Some(1) && told.contains("holds no broker's data"), "{told}");
    let mut made = None;
    for first in [true, false] {
        let mut running = Running::start(&run);
        assert_eq!([running.address(), running.address()], listen);
        running.admin();
        assert_eq!(
            output(&health),
            (Some(0), format!("serves at {}, {}\n", listen[0], listen[1]), String::new())
        );
        let (code, log) = running.terminate();
        assert_eq!((code, log.starts_with("initialised ")), (Some(0), first), "{log}");
        let files = ["ca.pem", "server.pem", "operator.toml", "wakemqd.toml"]
            .map(|name| std::fs::read_to_string(data.join(name)).unwrap());
        let port = listen[0].rsplit(':').next().unwrap();
        assert!(files[2].contains(&format!("\"localhost:{port}\"")), "the profile says where it listens");
        assert_eq!(made.get_or_insert(files.clone()), &files);
    }
    let (code, _, told) = output(&health);
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("does not serve at {}: Connection refused", listen[0])), "{told}");
    assert!(told.contains("hint: its log says more"), "{told}");

    std::fs::remove_file(data.join("store.redb")).unwrap();
    let (code, _, told) = output(&run);
    assert_eq!(code, Some(3));
    assert!(told.contains("ca.key is there, store.redb is not") && told.contains("hint: restore"), "{told}");
}

#[test]
fn health_is_what_agents_would_find() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    for path in [&data, &other] {
        assert_eq!(output(&["init", "--data", text(path), "--host", "localhost"]).0, Some(0));
    }
    let mut running =
        Running::start(&["run", "--data", text(&data), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let address = running.address();
    let health = |data: &Path| output(&["health", "--data", text(data), "--listen", &address]);
    assert_eq!(health(&data).0, Some(0));

    // Another CA than that of the broker, and a name that its certificate does not hold.
    let (code, _, told) = health(&other);
    assert!(code == Some(1) && told.contains("invalid peer certificate"), "{told}");
    std::fs::write(data.join("wakemqd.toml"), "[advertise]\nendpoints = [\"wake.example\"]\n").unwrap();
    let (code, _, told) = health(&data);
    assert!(code == Some(1) && told.contains("wake.example"), "{told}");
    // Agents that trust their system's roots would know it; this machine cannot tell.
    std::fs::write(data.join("wakemqd.toml"), "[advertise]\nuse_system_roots = true\n").unwrap();
    assert_eq!(health(&data).0, Some(0));

    // Somebody else listens there.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = stranger.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        stranger.accept().unwrap().0.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    });
    let (code, _, told) = output(&["health", "--data", text(&data), "--listen", &there]);
    assert!(code == Some(1) && told.contains("TLS: received corrupt message"), "{told}");
    answering.join().unwrap();
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("w.toml"));
    assert_eq!(output(&["init", "--data", text(&data)]).0, Some(0));
    std::fs::write(&file, "[limits]\nconnections = 5\n").unwrap();
    for args in
        [vec!["check-config", text(&file)], vec!["run", "--data", text(&data), "--config", text(&file)]]
    {
        let (code, out, told) = output(&args);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(told.contains("w.toml:2:1: ") && told.contains("`max_connections`"), "{told}");
    }
    std::fs::write(&file, "[limits]\nmax_connections = 5\n").unwrap();
    assert_eq!(
        output(&["check-config", text(&file)]),
        (Some(0), format!("{}: ok\n", text(&file)), String::new())
    );
    std::fs::write(&file, "[listen]\nadmin = [\"0.0.0.0:9883\"]\n").unwrap();
    let (code, out, told) = output(&["check-config", text(&file)]);
    assert_eq!((code, out), (Some(0), format!("{}: ok\n", text(&file))));
    assert!(told.starts_with("warning: the admin address 0.0.0.0:9883 can be reached"), "{told}");
    let (code, _, told) = output(&["run", "--data", text(&data), "--config", text(&dir.path().join("none"))]);
    assert_eq!(code, Some(2));
    assert!(told.contains("none: cannot be read"), "{told}");
}

#[test]
fn a_certificate_authority_that_would_give_its_key_away_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("w.toml"));
    assert_eq!(output(&["init", "--data", text(&data)]).0, Some(0));
    std::fs::write(&file, "[advertise]\nca = \"ca.key\"\n").unwrap();
    let (code, _, told) =
        output(&["run", "--data", text(&data), "--config", text(&file), "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("`ca` in [advertise]"), "{told}");
}

#[test]
fn dev_says_three_lines_to_copy_and_starts_again_on_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("dev");
    for _ in 0..2 {
        let mut running = Running::start(&["dev", "--data", text(&data), "--listen", "127.0.0.1:0"]);
        let address = running.address();
        running.admin();
        assert!(running.line().starts_with('#'));
        let lines = [running.line(), running.line(), running.line()];
        assert!(lines[0].contains(" enrol ") && lines[0].contains(&address), "{lines:?}");
        assert!(lines[1].contains(" run ") && lines[2].contains(" wake agent-1"), "{lines:?}");
        let profile = std::fs::read_to_string(data.join("operator.toml")).unwrap();
        assert!(profile.contains(&format!("endpoints = [\"{address}\"]")), "the profile follows the port");
        let token = std::fs::read_to_string(data.join("enrol.token")).unwrap();
        assert!(
            token.starts_with("wme_") && !lines.concat().contains(token.trim()),
            "no secret on a command line"
        );
        let (code, log) = running.terminate();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains(token.trim()), "no secret in the log");
    }
}

#[test]
fn help_documents_the_exit_codes_and_completions_are_written() {
    let (code, help, _) = output(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("Exit codes:") && help.contains("  3  the data directory"), "{help}");
    let (code, script, _) = output(&["completions", "bash"]);
    assert!(code == Some(0) && script.contains("check-config"));
}
