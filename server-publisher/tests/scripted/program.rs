//! The program against a scripted broker.

use std::process::{Output, Stdio};

use crate::fake::Fake;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, PubAckReason};
use serde_json::{Value, json};
use tokio::process::Command;
use wakemq_protocol::CommandState;

/// A command with the fake's profile.
pub(crate) struct Program {
    pub(crate) command: Command,
    _dir: tempfile::TempDir,
}

pub(crate) fn wakemq(fake: &Fake, words: &[&str]) -> Program {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakemq"));
    command.args(words).env("WAKEMQ_PROFILE", fake.write_profile(dir.path())).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Program { command, _dir: dir }
}

impl Program {
    pub(crate) async fn run(mut self) -> Output {
        self.command.output().await.unwrap()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn one_agent_is_one_line_and_0() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        peer.accept(&came).await;
        peer.tell(&came, CommandState::Acknowledged).await;
        while peer.recv().await.is_some() {}
        came
    };
    let words = ["wake", "pc-1", "--ttl", "1h", "--slot", "s", "--reason", "why", "--priority", "high"];
    let (output, came) = tokio::join!(wakemq(&fake, &words).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
    let line = text(&output.stdout);
    assert!(line.starts_with("pc-1: acknowledged after ") && line.lines().count() == 1, "{line}");
    let mut sent = serde_json::to_value(&came.submission).unwrap();
    sent.as_object_mut().unwrap().remove("id");
    let expected = json!({"kind": "wake", "slot": "s", "ttl": 3600, "priority": "high", "reason": "why"});
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn many_are_told_one_by_one_and_some_not_is_1() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        for _ in 0..3 {
            let came = peer.submission().await;
            match came.agent().as_str() {
                "good" => {
                    peer.accept(&came).await;
                    peer.tell(&came, CommandState::Done).await;
                }
                "late" => {
                    peer.accept(&came).await;
                    peer.tell(&came, CommandState::Expired).await;
                }
                _ => peer.refuse(&came, PubAckReason::NotAuthorized, "not yours").await,
            }
        }
        while peer.recv().await.is_some() {}
    };
    let (output, ()) =
        tokio::join!(wakemq(&fake, &["wake", "good", "late", "foreign", "--json"]).run(), script);
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output);
    let of = |name: &str| found.iter().find(|line| line["agent"] == name).unwrap();
    assert_eq!((&of("good")["state"], &of("good")["as_wanted"]), (&json!("done"), &json!(true)));
    assert_eq!((&of("late")["state"], &of("late")["as_wanted"]), (&json!("expired"), &json!(false)));
    assert_eq!(of("foreign")["state"], "refused");
    assert_eq!(of("foreign")["error"], "not allowed: not yours");
    assert!(text(&output.stderr).lines().last().unwrap().starts_with("hint: "));
}

#[tokio::test]
async fn a_table_for_many_goes_to_stdout_in_the_order_given() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = [peer.submission().await, peer.submission().await];
        for one in came.iter().rev() {
            peer.accept(one).await;
        }
        while peer.recv().await.is_some() {}
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wake", "b", "a", "--wait", "none"]).run(), script);
    assert_eq!(output.status.code(), Some(0));
    let stdout = text(&output.stdout);
    let firsts: Vec<_> = stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(firsts, ["AGENT", "b", "a"]);
    assert_eq!(text(&output.stderr), "2 agents: 2 accepted\n");
}

#[tokio::test]
async fn not_allowed_is_4_whether_the_operator_or_the_command() {
    let fake = Fake::start().await;
    let script = async {
        fake.peer().await.connack(ConnectReturnCode::BadUserNamePassword, None).await;
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wake", "pc-1"]).run(), script);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("\nhint: give a profile as"));

    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        peer.refuse(&came, PubAckReason::NotAuthorized, "not yours").await;
        while peer.recv().await.is_some() {}
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wake", "pc-1"]).run(), script);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_prints_what_is_known_and_is_130() {
    let fake = Fake::start().await;
    let mut program = wakemq(&fake, &["wake", "pc-1", "pc-2", "--json", "--timeout", "1h"]);
    let child = program.command.spawn().unwrap();
    let mut peer = fake.session(10).await;
    let came = [peer.submission().await, peer.submission().await];
    peer.accept(&came[0]).await;
    peer.tell(&came[0], CommandState::Acknowledged).await;
    peer.accept(&came[1]).await;
    peer.tell(&came[1], CommandState::Queued).await;
    // Its acknowledgements say that the program has read it all.
    peer.recv().await.unwrap();
    peer.recv().await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let found = lines(&output);
    assert_eq!(found.len(), 2);
    assert_eq!(found[1]["error"], "interrupted");
    assert!(text(&output.stderr).contains("error: interrupted"));
}

#[tokio::test]
async fn agents_are_listed_page_by_page() {
    let fake = Fake::start().await;
    let agent = |name: &str| {
        json!({"agent": name, "group": "", "connected": true, "created": "2026-01-01T00:00:00Z",
               "last_seen": null, "pending": 3})
    };
    let pages = [
        (200, json!({"agents": [agent("a"), agent("b")], "next": "b"}).to_string()),
        (200, json!({"agents": [agent("c")], "next": null}).to_string()),
    ];
    let answers: Vec<_> = pages.iter().map(|(status, body)| (*status, body.as_str())).collect();
    let (output, asked) = tokio::join!(wakemq(&fake, &["agents", "list"]).run(), fake.http(&answers));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert_eq!(
        stdout,
        "AGENT  GROUP  STATE      TRANSPORT  PENDING  LAST SEEN\n\
         a      /      connected  -          3        never\n\
         b      /      connected  -          3        never\n\
         c      /      connected  -          3        never\n"
    );
    assert!(asked[0].starts_with("GET /v1/agents?limit=1000 "), "{}", asked[0]);
    assert!(asked[1].starts_with("GET /v1/agents?after=b&limit=1000 "), "{}", asked[1]);
    assert!(asked[1].contains("authorization: Bearer wmo_"), "{}", asked[1]);
}

#[tokio::test]
async fn an_import_prints_secrets_and_tells_failures_by_their_own_lines() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agents.jsonl");
    std::fs::write(
        &file,
        "{\"agent\":\"a\",\"group\":\"\"}\n{\"agent\":\"-\",\"group\":\"\"}\n{\"agent\":\"b\",\"group\":\"x\"}\n",
    )
    .unwrap();
    let secret = format!("wma_{}", "A".repeat(43));
    let body = format!("{{\"agent\":\"a\",\"secret\":\"{secret}\"}}\n{{\"line\":2,\"error\":\"exists\"}}\n");
    let words = ["agents", "import", file.to_str().unwrap()];
    let answers = [(200, body.as_str())];
    let (output, asked) = tokio::join!(wakemq(&fake, &words).run(), fake.http(&answers));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(lines(&output), [json!({"agent": "a", "secret": secret})]);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: line 2: expected ") && stderr.contains("error: line 3: exists"),
        "{stderr}"
    );
    assert!(asked[0].contains("content-type: application/jsonl"), "{}", asked[0]);
}

#[tokio::test]
async fn an_import_that_breaks_off_keeps_its_secrets_and_says_from_where() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agents.jsonl");
    std::fs::write(&file, "{\"agent\":\"a\",\"group\":\"\"}\n\n{\"agent\":\"b\",\"group\":\"\"}\n").unwrap();
    let body = format!("{{\"agent\":\"a\",\"secret\":\"wma_{}\"}}\n", "A".repeat(43));
    let words = ["agents", "import", file.to_str().unwrap()];
    let answers = [(200, body.as_str())];
    let (output, _) = tokio::join!(wakemq(&fake, &words).run(), fake.http(&answers));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output).len(), 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("line 3 and those after it may be in doubt"), "{stderr}");
    assert!(stderr.lines().last().unwrap().starts_with("hint: "), "{stderr}");
}

#[tokio::test]
async fn a_token_stands_alone_on_stdout() {
    let fake = Fake::start().await;
    let token = format!("wme_{}", "A".repeat(43));
    let body =
        json!({"id": "5f3a9c0e12b47d68", "token": token, "group": "paris", "uses": 3, "expires": "2026-01-01T00:00:00Z"}).to_string();
    let words = ["tokens", "create", "--group", "paris", "--uses", "3", "--expires", "7d"];
    let answers = [(201, body.as_str())];
    let (output, asked) = tokio::join!(wakemq(&fake, &words).run(), fake.http(&answers));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{token}\n"));
    assert!(asked[0].ends_with("{\"group\":\"paris\",\"uses\":3,\"expires_in\":604800}"), "{}", asked[0]);
}

#[tokio::test]
async fn problems_are_told_with_their_codes() {
    let fake = Fake::start().await;
    let id = "0197c1b2-0000-7000-8000-000000000000";
    for (status, code, words) in [
        (401, 4, ["show", id]),
        (403, 4, ["cancel", id]),
        (404, 1, ["show", id]),
        (503, 3, ["show", id]),
        (500, 1, ["show", id]),
    ] {
        let body =
            json!({"type": "urn:wakemq:problem:x", "title": "T", "status": status, "detail": "\u{1b}[2JD"});
        let body = body.to_string();
        let answers = [(status, body.as_str())];
        let (output, _) = tokio::join!(wakemq(&fake, &words).run(), fake.http(&answers));
        assert_eq!(output.status.code(), Some(code), "{status}");
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("error: \\u{1b}[2JD\nhint: "), "{stderr}");
    }
}
