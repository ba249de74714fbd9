//! Commands for groups: the library, and `wakemq wake --group`, `show` and `cancel`.

use std::time::Duration;

use crate::fake::Fake;
use crate::program::{lines, text, wakemq};
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use serde_json::{Value, json};
use wakemq_protocol::{Counts, GroupPath, Kind, News, Submission, Target};
use wakemq_publisher::{Publisher, Verdict, Wanted};

const ID: &str = "0197c1b2-6d00-7c3a-9f01-0123456789ab";

fn counts(queued: u64, acknowledged: u64, done: u64) -> Counts {
    Counts { queued, acknowledged, done, ..Counts::default() }
}

fn view(counts: Counts, outcomes: &Value) -> Value {
    json!({"id": ID, "kind": "wake", "group": "paris", "slot": "wake", "priority": "normal", "reason": null,
           "issued": "2026-11-22T01:00:00Z", "expires": "2026-11-23T01:00:00Z", "by": "op:console",
           "state": "queued", "counts": counts, "outcomes": outcomes, "next": null})
}

#[tokio::test]
async fn a_group_is_followed_by_counts_and_across_a_lost_connection() {
    let fake = Fake::start().await;
    let profile = fake.profile();
    let group: GroupPath = "paris".parse().unwrap();
    let script = async {
        let mut peer = fake.session(10).await;
        let first = peer.submission().await;
        assert_eq!(first.target, Target::Group("paris".parse().unwrap()));
        peer.tell_counts(&first, counts(3, 0, 0)).await;
        peer.accept(&first).await;
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))));
        drop(peer);
        let mut peer = fake.session(10).await;
        let again = peer.submission().await;
        assert_eq!((&first.target, &first.submission), (&again.target, &again.submission));
        peer.tell_counts(&again, counts(1, 2, 0)).await;
        peer.accept(&again).await;
        peer.tell_counts(&again, counts(0, 1, 2)).await;
        peer.tell_counts(&again, counts(0, 0, 3)).await;
        peer
    };
    let user = async {
        let publisher = Publisher::connect(&profile).await.unwrap();
        let mut command = publisher.submit(&group, Submission::new(Kind::Wake)).await.unwrap();
        assert_eq!(*command.target(), Target::Group(group.clone()));
        let limit = Duration::from_secs(60);
        assert_eq!(command.wait(Wanted::Acknowledged, limit).await, Ok(Verdict::Reached));
        assert_eq!(command.wait(Wanted::Done, limit).await, Ok(Verdict::Reached));
        assert!(matches!(command.news(), Some(News::Group(update)) if update.counts == counts(0, 0, 3)));
        assert_eq!(command.outcome(), None);
    };
    tokio::join!(script, user);
}

#[tokio::test]
async fn a_group_that_is_awake_is_one_line_of_sum_and_one_of_counts() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        peer.tell_counts(&came, counts(2, 0, 0)).await;
        peer.accept(&came).await;
        peer.tell_counts(&came, counts(0, 1, 1)).await;
        while peer.recv().await.is_some() {}
        came
    };
    let words = ["wake", "--group", "paris", "--ttl", "1h"];
    let (output, came) = tokio::join!(wakemq(&fake, &words).run(), script);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
    let stdout = text(&output.stdout);
    let said: Vec<_> = stdout.lines().collect();
    let id = came.submission.id.unwrap().to_string();
    assert!(
        said[0].starts_with("paris: 2 of 2 agents acknowledged after ") && said[0].contains(&id),
        "{stdout}"
    );
    assert_eq!(said[1..], ["agents: 1 acknowledged, 1 done"]);
    assert_eq!(came.submission.ttl, Some(3_600));
}

#[tokio::test]
async fn who_is_missing_is_named_and_it_is_1() {
    let fake = Fake::start().await;
    let waiting =
        json!({"agents": [{"agent": "pc-2", "group": "paris/x"}, {"agent": "pc-1", "group": "paris"}],
                         "next": null})
        .to_string();
    let outcome =
        |agent: &str, state: &str| json!({"agent": agent, "state": state, "at": "2026-11-22T01:00:02Z"});
    let outcomes = json!([outcome("a", "done"), outcome("b", "failed")]);
    let view = view(Counts { failed: 1, ..counts(3, 0, 1) }, &outcomes).to_string();
    let answers = [(200, view.as_str()), (200, waiting.as_str())];
    for json in [false, true] {
        let script = async {
            let mut peer = fake.session(10).await;
            let came = peer.submission().await;
            assert_eq!(came.target, Target::Group(GroupPath::root()));
            // News come at most once a second: at the end it is asked how it stands.
            peer.tell_counts(&came, counts(5, 0, 0)).await;
            peer.accept(&came).await;
            while peer.recv().await.is_some() {}
            (came, fake.http(&answers).await)
        };
        let words = ["wake", "--all", "--wait", "done", "--timeout", "1s", "--json"];
        let words = if json { &words[..] } else { &words[..6] };
        let (output, (came, asked)) = tokio::join!(wakemq(&fake, words).run(), script);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let id = came.submission.id.unwrap().to_string();
        assert!(asked[1].starts_with(&format!("GET /v1/commands/{id}/waiting?limit=")), "{}", asked[1]);
        if json {
            let [line] = &lines(&output)[..] else { panic!("one object") };
            assert_eq!((&line["id"], &line["as_wanted"]), (&json!(id), &json!(false)));
            assert_eq!(line["error"], "4 not done within 1 s");
            assert_eq!(line["not_as_wanted"].as_array().unwrap().len(), 3);
        } else {
            let stdout = text(&output.stdout);
            let rest: Vec<_> = stdout.lines().skip(1).collect();
            assert_eq!(
                rest,
                [
                    "agents: 3 queued, 1 done, 1 failed",
                    "AGENT  STATE   NOTE",
                    "pc-1   queued  in paris",
                    "pc-2   queued  in paris/x",
                    "b      failed",
                    "… and 1 more",
                ]
            );
        }
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("error: 4 not done within 1 s\nhint: "), "{stderr}");
        assert!(stderr.contains(&format!("`wakemq show {id} --waiting`")), "{stderr}");
    }
}

#[tokio::test]
async fn a_group_that_is_refused_is_told_with_its_code() {
    let fake = Fake::start().await;
    let script = async {
        let mut peer = fake.session(10).await;
        let came = peer.submission().await;
        peer.refuse(&came, PubAckReason::NotAuthorized, "paris is not yours").await;
        while peer.recv().await.is_some() {}
    };
    let (output, ()) = tokio::join!(wakemq(&fake, &["wake", "--group", "paris"]).run(), script);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).starts_with("error: not allowed: paris is not yours\nhint: "));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_leaves_the_command_running_and_says_how_to_look() {
    let fake = Fake::start().await;
    let mut program = wakemq(&fake, &["wake", "--group", "paris", "--timeout", "1h"]);
    let child = program.command.spawn().unwrap();
    let mut peer = fake.session(10).await;
    let came = peer.submission().await;
    peer.tell_counts(&came, counts(1, 0, 1)).await;
    peer.accept(&came).await;
    // Its acknowledgement, and a second answer's, say that the program is past the acceptance.
    peer.recv().await.unwrap();
    peer.tell_counts(&came, counts(1, 1, 0)).await;
    peer.recv().await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    while peer.recv().await.is_some() {}
    let waiting = json!({"agents": [{"agent": "pc-2", "group": "paris"}], "next": null}).to_string();
    let view = view(counts(1, 1, 0), &json!([])).to_string();
    fake.http(&[(200, &view), (200, &waiting)]).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(stdout.contains("paris: 1 of 2 agents acknowledged") && stdout.contains("pc-2"), "{stdout}");
    let id = came.submission.id.unwrap();
    assert!(stderr.contains("error: interrupted; the command remains valid\nhint: "), "{stderr}");
    assert!(stderr.contains(&format!("`wakemq show {id}`")), "{stderr}");
    assert!(stderr.contains(&format!("`wakemq cancel {id}`")), "{stderr}");
}

#[tokio::test]
async fn a_group_command_is_shown_by_counts_and_its_lists_page_by_page() {
    let fake = Fake::start().await;
    let outcome = |agent: &str| json!({"agent": agent, "state": "done", "at": "2026-11-22T01:00:02Z"});
    let mut first = view(counts(1, 0, 2), &json!([outcome("a")]));
    let last = view(counts(1, 0, 2), &json!([outcome("b")])).to_string();
    let body = first.to_string();
    let answers = [(200, body.as_str())];
    let (output, _) = tokio::join!(wakemq(&fake, &["show", ID]).run(), fake.http(&answers));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(stdout.contains("\ngroup:     paris\n"), "{stdout}");
    assert!(stdout.contains("\nagents:    3 (1 queued, 2 done)\n"), "{stdout}");

    first["next"] = "a".into();
    let first = first.to_string();
    let answers = [(200, first.as_str()), (200, last.as_str())];
    let (output, asked) = tokio::join!(wakemq(&fake, &["show", ID, "--outcomes"]).run(), fake.http(&answers));
    assert_eq!(
        text(&output.stdout),
        "AGENT  STATE  SINCE                 NOTE\n\
         a      done   2026-11-22T01:00:02Z\n\
         b      done   2026-11-22T01:00:02Z\n"
    );
    assert!(asked[1].starts_with(&format!("GET /v1/commands/{ID}?after=a&limit=1000 ")), "{}", asked[1]);

    let one = json!({"agents": [{"agent": "c", "group": "paris/x"}], "next": "paris/x:c"}).to_string();
    let two = json!({"agents": [], "next": null}).to_string();
    let answers = [(200, one.as_str()), (200, two.as_str())];
    let (output, asked) =
        tokio::join!(wakemq(&fake, &["show", ID, "--waiting", "--json"]).run(), fake.http(&answers));
    assert_eq!(lines(&output), [json!({"agent": "c", "group": "paris/x"})]);
    let path = format!("GET /v1/commands/{ID}/waiting?after=paris/x:c&limit=1000 ");
    assert!(asked[1].starts_with(&path), "{}", asked[1]);
}

#[tokio::test]
async fn a_group_is_taken_back_as_far_as_it_can_be() {
    let fake = Fake::start().await;
    for (counts, code, said) in [
        (Counts { cancelled: 3, ..Counts::default() }, 0, "paris: 3 cancelled\n"),
        (Counts { cancelled: 2, done: 1, ..Counts::default() }, 1, "paris: 1 done, 2 cancelled\n"),
        (Counts { cancelled: 2, sent: 1, ..Counts::default() }, 1, "paris: 1 sent, 2 cancelled\n"),
    ] {
        let view = view(counts, &json!([])).to_string();
        let answers = [(200, view.as_str())];
        let (output, asked) = tokio::join!(wakemq(&fake, &["cancel", ID]).run(), fake.http(&answers));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), said);
        assert!(asked[0].starts_with(&format!("POST /v1/commands/{ID}/cancel ")), "{}", asked[0]);
        assert_eq!(text(&output.stderr).starts_with("hint: "), code == 1);
    }
}
