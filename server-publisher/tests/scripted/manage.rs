//! Agents, groups, tokens, operators and the audit trail from the command line.

use crate::fake::Fake;
use crate::program::{lines, text, wakemq};
use serde_json::{Value, json};
use wakemq_publisher::load_profile;

/// Runs a command against answers in turn; returns its exit code, output and errors, and what was asked.
pub(crate) async fn run(
    fake: &Fake,
    words: &[&str],
    answers: &[(u16, Value)],
) -> (Option<i32>, String, String, Vec<String>) {
    let bodies: Vec<_> = answers
        .iter()
        .map(|(status, body)| (*status, if body.is_null() { String::new() } else { body.to_string() }))
        .collect();
    let answers: Vec<_> = bodies.iter().map(|(status, body)| (*status, body.as_str())).collect();
    let (output, asked) = tokio::join!(wakemq(fake, words).run(), fake.http(&answers));
    (output.status.code(), text(&output.stdout), text(&output.stderr), asked)
}

pub(crate) fn problem(status: u16, detail: &str) -> Value {
    json!({"type": "urn:wakemq:problem:x", "title": "T", "status": status, "detail": detail})
}

/// The first line of a request, and its body.
pub(crate) fn request(asked: &str) -> (&str, &str) {
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap(), body)
}

#[tokio::test]
async fn agents_are_listed_by_group_and_state() {
    let fake = Fake::start().await;
    let agent = json!({"agent": "a", "group": "paris", "connected": true, "created": "2026-01-01T00:00:00Z",
                       "transport": "poll", "last_seen": "2026-01-02T00:00:00Z", "pending": 1});
    // A page may be short, or empty, and not the last.
    let pages =
        [(200, json!({"agents": [], "next": "paris:0"})), (200, json!({"agents": [agent], "next": null}))];
    let words = ["agents", "list", "--group", "paris", "--transport", "poll"];
    let (code, stdout, stderr, asked) = run(&fake, &words, &pages).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        stdout,
        "AGENT  GROUP  STATE  TRANSPORT  PENDING  LAST SEEN\n\
         a      paris  connected  poll       1        2026-01-02T00:00:00Z\n"
    );
    assert_eq!(request(&asked[0]).0, "GET /v1/agents?limit=1000&group=paris&transport=poll");
    assert_eq!(request(&asked[1]).0, "GET /v1/agents?after=paris:0&limit=1000&group=paris&transport=poll");
}

#[tokio::test]
async fn agents_are_moved_one_by_one_and_errors_are_told() {
    let fake = Fake::start().await;
    let answers = [(200, json!({})), (404, problem(404, "no agent b")), (200, json!({}))];
    let words = ["agents", "move", "a", "b", "c", "--to", "paris/floor-2"];
    let (code, stdout, stderr, asked) = run(&fake, &words, &answers).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        "error: b: no agent b\n2 agents moved to paris/floor-2\n\
         hint: see the spelling; `wakemq agents list` shows all agents\n"
    );
    assert_eq!(request(&asked[2]), ("POST /v1/agents/c/move", "{\"group\":\"paris/floor-2\"}"));
}

#[tokio::test]
async fn what_ends_all_stops_at_once() {
    let fake = Fake::start().await;
    let answers = [(204, Value::Null), (503, problem(503, "draining"))];
    let words = ["agents", "revoke", "a", "b", "c", "--yes"];
    let (code, _, stderr, asked) = run(&fake, &words, &answers).await;
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("error: stopped at b; 1 done before it: draining\nhint: "), "{stderr}");
    assert_eq!(request(&asked[0]).0, "DELETE /v1/agents/a");
}

#[tokio::test]
async fn without_a_terminal_revoking_wants_a_yes() {
    let fake = Fake::start().await;
    for words in [&["agents", "revoke", "a"][..], &["operators", "revoke", "helpdesk"]] {
        let output = wakemq(&fake, words).run().await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).ends_with("\nhint: give --yes if it is meant\n"));
    }
    let (code, _, stderr, asked) =
        run(&fake, &["operators", "revoke", "helpdesk", "--yes"], &[(204, Value::Null)]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), "helpdesk is revoked\n"));
    assert_eq!(request(&asked[0]).0, "DELETE /v1/operators/helpdesk");
}

#[tokio::test]
async fn groups_are_listed_and_changed() {
    let fake = Fake::start().await;
    let group = |path: &str, agents: u64| json!({"group": path, "agents": agents, "connected": 1});
    let pages = [
        (200, json!({"groups": [group("", 7), group("paris", 3)], "next": "paris"})),
        (200, json!({"groups": [group("paris/floor-2", 2)], "next": null})),
    ];
    let (code, stdout, _, asked) = run(&fake, &["groups", "list"], &pages).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "GROUP  AGENTS  CONNECTED\n/      7       1\nparis  3       1\nparis/floor-2  2       1\n"
    );
    assert_eq!(request(&asked[1]).0, "GET /v1/groups?after=paris&limit=1000");
    for (words, path, body, said) in [
        (&["groups", "create", "a/b"][..], "/v1/groups", "{\"group\":\"a/b\"}", "a/b is there\n"),
        (
            &["groups", "rename", "a", "b"],
            "/v1/groups/rename",
            "{\"group\":\"a\",\"to\":\"b\"}",
            "a is b now\n",
        ),
        (&["groups", "remove", "a"], "/v1/groups/remove", "{\"group\":\"a\"}", "a is removed\n"),
    ] {
        let (code, _, stderr, asked) = run(&fake, words, &[(200, json!({"group": "a"}))]).await;
        assert_eq!((code, stderr.as_str()), (Some(0), said));
        assert_eq!(request(&asked[0]), (&*format!("POST {path}"), body));
    }
    let answers = [(409, problem(409, "3 agents are in paris"))];
    let (code, _, stderr, _) = run(&fake, &["groups", "remove", "paris"], &answers).await;
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: 3 agents are in paris\nhint: `wakemq groups list`"), "{stderr}");
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_by_their_ids() {
    let fake = Fake::start().await;
    let token = json!({"id": "5f3a9c0e12b47d68", "group": "", "uses": 50, "uses_left": 13,
                       "expires": "2026-11-29T01:00:00Z", "by": "op:console"});
    let (code, stdout, _, _) =
        run(&fake, &["tokens", "list"], &[(200, json!({"tokens": [token], "next": null}))]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "ID                GROUP  USES LEFT  EXPIRES               BY\n\
         5f3a9c0e12b47d68  /      13 of 50   2026-11-29T01:00:00Z  op:console\n"
    );
    let words = ["tokens", "revoke", "5f3a9c0e12b47d68", "what/is?this"];
    let (code, _, stderr, asked) =
        run(&fake, &words, &[(204, Value::Null), (404, problem(404, "no such token"))]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "5f3a9c0e12b47d68 is revoked\nerror: \"what/is?this\": no such token\n\
         hint: `wakemq tokens list` shows the ids of all tokens\n"
    );
    assert_eq!(request(&asked[1]).0, "DELETE /v1/tokens/what%2Fis%3Fthis");
}

#[tokio::test]
async fn a_new_operator_has_its_secret_in_its_profile_and_nowhere_else() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("helpdesk.toml");
    let secret = format!("wmo_{}", "A".repeat(43));
    let answer = json!({"operator": "helpdesk", "role": "operator", "group": "paris", "secret": secret,
                        "endpoints": ["broker.example:8883"], "ca": null});
    let path = file.to_str().unwrap();
    let words = ["operators", "create", "helpdesk", "--role", "operator", "--group", "paris", "--out", path];
    let (code, stdout, stderr, asked) = run(&fake, &words, &[(201, answer)]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("{path}\n"));
    assert!(!stderr.contains("wmo_"), "{stderr}");
    assert_eq!(
        request(&asked[0]),
        ("POST /v1/operators", "{\"operator\":\"helpdesk\",\"role\":\"operator\",\"group\":\"paris\"}")
    );
    // Reading refuses what others can read.
    let profile = load_profile(&file).unwrap();
    assert_eq!((profile.operator.as_str(), profile.secret.expose()), ("helpdesk", secret.as_str()));
    assert_eq!(profile.endpoints, ["broker.example:8883"]);
    // A file that is there is not written over, and nothing is asked for.
    let output = wakemq(&fake, &words).run().await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("exists already\nhint: "), "{}", text(&output.stderr));
}

#[tokio::test]
async fn an_operator_that_is_not_created_leaves_no_file() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("helpdesk.toml");
    let path = file.to_str().unwrap();
    let words = ["operators", "create", "helpdesk", "--role", "admin", "--group", "/", "--out", path];
    let (code, stdout, stderr, _) = run(&fake, &words, &[(409, problem(409, "it exists"))]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.ends_with("\nhint: `wakemq operators list` shows all operators\n"), "{stderr}");
    assert!(!file.exists());
}

#[tokio::test]
async fn operators_are_listed_and_changed() {
    let fake = Fake::start().await;
    let operator = json!({"operator": "helpdesk", "role": "viewer", "group": "paris",
                          "created": "2026-01-01T00:00:00Z", "connections": 2});
    let (code, stdout, _, _) =
        run(&fake, &["operators", "list"], &[(200, json!({"operators": [operator], "next": null}))]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "OPERATOR  ROLE    GROUP  CONNECTIONS  CREATED\n\
         helpdesk  viewer  paris  2            2026-01-01T00:00:00Z\n"
    );
    let words = ["operators", "set", "helpdesk", "--role", "operator", "--group", "/"];
    let (code, _, stderr, asked) = run(&fake, &words, &[(200, json!({}))]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), "helpdesk has role operator and group / from now on\n"));
    assert_eq!(
        request(&asked[0]),
        ("PATCH /v1/operators/helpdesk", "{\"role\":\"operator\",\"group\":\"\"}")
    );
}

#[tokio::test]
async fn the_audit_trail_says_what_changed() {
    let fake = Fake::start().await;
    let entry = |seq: u64, action: &str, before: Value, after: Value| {
        json!({"seq": seq, "at": "2026-11-22T01:00:00Z", "by": "op:console", "address": "192.0.2.1:5",
               "action": action, "target": "pc-1", "group": "b", "before": before, "after": after})
    };
    let moved = entry(1, "agent.move", json!({"group": "a"}), json!({"group": "b"}));
    let revoked = entry(2, "agent.revoke", json!({"group": "b"}), Value::Null);
    let pages = [
        (200, json!({"entries": [moved.clone()], "next": 1})),
        (200, json!({"entries": [revoked], "next": null})),
    ];
    let words = ["audit", "--since", "2026-11-22T00:00:00Z"];
    let (code, stdout, _, asked) = run(&fake, &words, &pages).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "TIME                  BY          FROM         ACTION      TARGET  CHANGE\n\
         2026-11-22T01:00:00Z  op:console  192.0.2.1:5  agent.move  pc-1    group: a → b\n\
         2026-11-22T01:00:00Z  op:console  192.0.2.1:5  agent.revoke  pc-1    group: b →\n"
    );
    assert_eq!(request(&asked[0]).0, "GET /v1/audit?limit=1000&since=2026-11-22T00:00:00Z");
    assert_eq!(request(&asked[1]).0, "GET /v1/audit?after=1&limit=1000&since=2026-11-22T00:00:00Z");

    let bodies = json!({"entries": [moved.clone()], "next": null}).to_string();
    let answers = [(200, bodies.as_str())];
    let (output, asked) =
        tokio::join!(wakemq(&fake, &["audit", "--since", "2h", "--json"]).run(), fake.http(&answers));
    assert_eq!(lines(&output), [moved]);
    assert!(request(&asked[0]).0.contains("&since=20"), "{}", asked[0]);
}
