//! Switching endpoints on from the command line.

use crate::fake::{Came, Fake, Peer};
use crate::manage::{problem, request, run};
use crate::program::{lines, text, wakemq};
use serde_json::{Value, json};
use wakemq_protocol::{CommandState, Kind, PowerWhat, Submission};

const MAC: &str = "00:16:3e:12:34:56";
const ID: &str = "0197c1b2-0000-7000-8000-000000000000";

fn step(json: Value) -> PowerWhat {
    serde_json::from_value(json).unwrap()
}

/// Tells how an endpoint is switched on, up to the relay's acknowledgement.
async fn switch_on(peer: &mut Peer, came: &Came) {
    peer.accept(came).await;
    let asked = json!({"step": "relay_asked", "relay": "till-3", "command": ID, "round": 1});
    peer.tell_step(came, CommandState::Queued, step(asked)).await;
    let has = json!({"step": "relay_acknowledged", "relay": "till-3"});
    peer.tell_step(came, CommandState::Queued, step(has)).await;
    peer.tell(came, CommandState::Sent).await;
}

fn page(agents: &[(&str, bool)]) -> Value {
    let view = |(agent, connected): &(&str, bool)| {
        json!({"agent": agent, "group": "paris", "connected": connected, "created": "2026-01-01T00:00:00Z",
               "last_seen": null, "pending": 0})
    };
    json!({"agents": agents.iter().map(view).collect::<Vec<_>>(), "next": null})
}

#[tokio::test]
async fn the_chain_is_shown_and_up_is_0() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        switch_on(&mut peer, &came).await;
        let heard = json!({"step": "heard", "since_boot": 5, "after_ms": 31_000});
        peer.tell_step(&came, CommandState::Sent, step(heard)).await;
        let detail = "booted 26 s after the first packet";
        peer.tell_why(&came, CommandState::Done, Some(detail)).await;
        while peer.recv().await.is_some() {}
        came
    };
    let (output, came) = tokio::join!(wakemq(&fake, &["wol", "till-4"]).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
    let stdout = text(&output.stdout);
    let told: Vec<_> = stdout.lines().map(|line| line.split_once("till-4: ").unwrap().1).collect();
    let [steps @ .., last] = &told[..] else { panic!("{stdout}") };
    assert_eq!(
        steps,
        [
            "till-3 was asked to send (round 1)",
            "till-3 has it",
            "it connected 31.0 s after the first packet, booted 5 s ago"
        ]
    );
    let id = came.submission.id.unwrap();
    assert!(last.starts_with("done after "), "{last}");
    assert!(last.ends_with(&format!(", booted 26 s after the first packet ({id})")), "{last}");
    assert_eq!(Submission { id: None, ..came.submission }, Submission::new(Kind::Power));
}

#[tokio::test]
async fn one_that_does_not_come_up_is_1_and_each_step_a_line_of_json() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        switch_on(&mut peer, &came).await;
        let detail = "sent by till-3, did not come up within 120 s";
        peer.tell_why(&came, CommandState::Failed, Some(detail)).await;
        while peer.recv().await.is_some() {}
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wol", "till-4", "--json"]).run(), script);
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output);
    let steps: Vec<_> = found.iter().map(|line| line["evidence"]["step"].as_str()).collect();
    assert_eq!(steps, [Some("relay_asked"), Some("relay_acknowledged"), None]);
    assert_eq!((&found[0]["agent"], &found[0]["evidence"]["relay"]), (&json!("till-4"), &json!("till-3")));
    assert_eq!((&found[2]["state"], &found[2]["as_wanted"]), (&json!("failed"), &json!(false)));
    assert_eq!(found[2]["detail"], "sent by till-3, did not come up within 120 s");
    assert!(text(&output.stderr).lines().last().unwrap().starts_with("hint: `wakemq explain AGENT`"));
}

#[tokio::test]
async fn waiting_ends_with_sent_where_no_more_is_wanted() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        switch_on(&mut peer, &came).await;
        while peer.recv().await.is_some() {}
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wol", "till-4", "--wait", "sent"]).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).lines().last().unwrap().starts_with("till-4: sent after "));
}

#[tokio::test]
async fn of_a_group_each_agent_gets_a_command_of_its_own() {
    let fake = Fake::start().await;
    let script = async {
        let page = page(&[("till-4", false), ("till-5", true)]).to_string();
        let asked = fake.http(&[(200, page.as_str())]).await;
        let mut peer = fake.session(10).await;
        for _ in 0..2 {
            let came = peer.submission().await;
            assert_eq!(came.submission.kind, Kind::Power);
            peer.accept(&came).await;
            peer.tell(&came, CommandState::Done).await;
        }
        while peer.recv().await.is_some() {}
        asked
    };
    let (output, asked) = tokio::join!(wakemq(&fake, &["wol", "--group", "paris"]).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(request(&asked[0]).0, "GET /v1/agents?limit=1000&group=paris");
    assert_eq!(text(&output.stderr), "2 agents in paris\n2 agents: 2 done\n");
    let stdout = text(&output.stdout);
    let firsts: Vec<_> = stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(firsts, ["AGENT", "till-4", "till-5"]);

    let (code, stdout, stderr, _) = run(&fake, &["wol", "--group", "paris"], &[(200, page(&[]))]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(stderr, "no agents in paris: nothing to switch on\n");
}

#[tokio::test]
async fn a_wake_may_switch_on_what_is_not_connected() {
    let fake = Fake::start().await;
    let script = async {
        let view = |agent, connected| page(&[(agent, connected)])["agents"][0].to_string();
        let (away, there) = (view("till-4", false), view("till-5", true));
        fake.http(&[(200, away.as_str()), (200, there.as_str())]).await;
        let mut peer = fake.session(10).await;
        let came = [peer.submission().await, peer.submission().await, peer.submission().await];
        let mut asked = Vec::new();
        let (powers, wakes): (Vec<_>, Vec<_>) =
            came.iter().partition(|came| came.submission.kind == Kind::Power);
        switch_on(&mut peer, powers[0]).await;
        // Its acknowledgements say that the program has read it all.
        for _ in 0..3 {
            peer.recv().await.unwrap();
        }
        for came in wakes {
            peer.accept(came).await;
            peer.tell(came, CommandState::Acknowledged).await;
        }
        while peer.recv().await.is_some() {}
        for came in &came {
            asked.push((came.submission.kind.as_str().to_owned(), came.agent().to_string()));
        }
        asked.sort();
        asked
    };
    let words = ["wake", "till-4", "till-5", "--power", "auto"];
    let (output, asked) = tokio::join!(wakemq(&fake, &words).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pair = |kind: &str, agent: &str| (kind.to_owned(), agent.to_owned());
    assert_eq!(asked, [pair("power", "till-4"), pair("wake", "till-4"), pair("wake", "till-5")]);
    assert_eq!(text(&output.stdout).lines().count(), 3, "the steps are no data here");
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("till-4: till-3 was asked to send (round 1)\ntill-4: till-3 has it\n"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_machine_without_an_agent_is_sent_to_through_one() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "01-02-03-04-05-06\n").unwrap();
    let outcome = |state: &str, detail: Value| {
        json!({"id": ID, "kind": "relay", "agent": "till-3", "slot": null, "priority": "high", "reason": null,
               "issued": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z", "by": "op:console",
               "outcomes": [{"agent": "till-3", "state": state, "at": "2026-01-01T00:00:00Z", "detail": detail}]})
    };
    let answers = [
        (202, json!({"command": ID})),
        (200, outcome("acknowledged", Value::Null)),
        (200, outcome("done", json!("12 packets on eth0"))),
    ];
    let words = ["wol", "--mac", MAC, "--via", "till-3", "--secureon-file", file.to_str().unwrap()];
    let (code, stdout, stderr, asked) = run(&fake, &words, &answers).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("{MAC}: till-3 says that it has sent: 12 packets on eth0 ({ID})\n"));
    let (line, body) = request(&asked[0]);
    assert_eq!(line, "POST /v1/wol");
    let expected = json!({"mac": MAC, "via": "till-3", "secureon": "01:02:03:04:05:06"});
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    assert_eq!(request(&asked[2]).0, format!("GET /v1/commands/{ID}"));

    let answers = [(202, json!({"command": ID})), (200, outcome("expired", Value::Null))];
    let (code, stdout, stderr, _) = run(&fake, &["wol", "--mac", MAC, "--via", "till-3"], &answers).await;
    assert_eq!(code, Some(1));
    assert!(stdout.contains("was not asked, it is not connected"), "{stdout}");
    assert!(stderr.starts_with("hint: "), "{stderr}");

    let words = ["wol", "--mac", MAC, "--via", "till-3", "--wait", "none"];
    let (code, stdout, _, _) = run(&fake, &words, &[(202, json!({"command": ID}))]).await;
    assert_eq!((code, stdout), (Some(0), format!("{MAC}: till-3 is asked to send ({ID})\n")));
}

#[tokio::test]
async fn or_by_the_broker_itself() {
    let fake = Fake::start().await;
    let sent = json!({"destinations": ["192.168.1.255:9", "192.168.1.255:7"]});
    let words = ["wol", "--mac", MAC, "--from-broker"];
    let (code, stdout, stderr, asked) = run(&fake, &words, &[(200, sent)]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("{MAC}: the broker sent to 192.168.1.255:9, 192.168.1.255:7\n"));
    assert_eq!(request(&asked[0]).1, format!("{{\"mac\":\"{MAC}\"}}"));

    let failed = json!({"errors": ["192.168.1.255:9: no route"]});
    let (code, stdout, stderr, _) = run(&fake, &[&words[..], &["--json"]].concat(), &[(200, failed)]).await;
    assert_eq!(code, Some(1));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&found["as_wanted"], &found["mac"]), (&json!(false), &json!(MAC)));
    assert!(stderr.starts_with("error: 192.168.1.255:9: no route\nhint: "), "{stderr}");

    let refused = problem(422, "the broker has no addresses");
    let (code, _, stderr, _) = run(&fake, &words, &[(422, refused)]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: the broker has no addresses\nhint: "), "{stderr}");
}

#[tokio::test]
async fn a_password_that_is_none_is_not_shown() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    let words = ["wol", "--mac", MAC, "--from-broker", "--secureon-file", file.to_str().unwrap()];
    let output = wakemq(&fake, &words).run().await;
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(!stderr.contains("hunter2") && stderr.contains("SecureOn"), "{stderr}");
}

#[tokio::test]
async fn it_is_explained_in_sentences() {
    let fake = Fake::start().await;
    let view = json!({
        "agent": "till-4", "connected": false, "can_wake": false, "macs": [MAC], "subnets": ["192.168.1.0/24"],
        "relays": [], "findings": ["No awake agent may send for it.", "The broker \u{1b}[2J"],
        "advice": ["Keep an endpoint with an agent awake on 192.168.1.0/24."]
    });
    let (code, stdout, _, asked) = run(&fake, &["explain", "till-4"], &[(200, view.clone())]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "till-4 cannot be switched on now.\n  No awake agent may send for it.\n  The broker \\u{1b}[2J\n\
         What to do:\n  Keep an endpoint with an agent awake on 192.168.1.0/24.\n"
    );
    assert_eq!(request(&asked[0]).0, "GET /v1/agents/till-4/power");
    let (_, stdout, _, _) = run(&fake, &["explain", "till-4", "--json"], &[(200, view.clone())]).await;
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), view);
    let (code, _, stderr, _) = run(&fake, &["explain", "till-9"], &[(404, problem(404, "no agent"))]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("hint: see the spelling"), "{stderr}");
}
