//! Events: what the library makes of them, and what the program prints.

use crate::fake::Fake;
use crate::program::{lines, text, wakemq};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};
use serde_json::{Value, json};
use wakemq_protocol::{EventKind, GroupPath};
use wakemq_publisher::{Watched, Watcher};

fn event(seq: u64, agent: &str) -> Value {
    json!({"seq": seq, "at": "2026-11-22T01:00:00Z", "group": "paris", "event": "presence", "agent": agent,
           "change": "connected"})
}

/// Which agent an event is about, or what else there was.
fn told(watched: Watched) -> String {
    match watched {
        Watched::Event(event) => serde_json::to_value(event).unwrap()["agent"].as_str().unwrap().to_owned(),
        Watched::Gap(missing) => format!("gap {missing}"),
        Watched::Lost(_) => "lost".to_owned(),
        Watched::Back => "back".to_owned(),
    }
}

#[tokio::test]
async fn events_gaps_and_lost_connections_are_told_in_order() {
    let fake = Fake::start().await;
    let profile = fake.profile();
    let group: GroupPath = "paris".parse().unwrap();
    let filters = ["wake/v1/events/presence/paris/#", "wake/v1/events/security/paris/#"];
    let script = async {
        let mut peer = fake.watcher(&filters).await;
        peer.event(1, &event(1, "a")).await;
        peer.event(2, &event(2, "b")).await;
        peer.event(3, &event(5, "c")).await;
        // A later version's, which this one does not know: no gap, and no end.
        peer.event(4, &json!({"seq": 6, "event": "weather", "sun": true})).await;
        peer.event(5, &event(7, "d")).await;
        for pkid in 1..=5 {
            match peer.recv().await {
                Some(Packet::PubAck(ack)) => assert_eq!(ack.pkid, pkid),
                other => panic!("{other:?}"),
            }
        }
        drop(peer);
        let mut peer = fake.watcher(&filters).await;
        // The numbers begin anew with the connection.
        peer.event(1, &event(2, "e")).await;
        assert!(matches!(peer.recv().await, Some(Packet::PubAck(_))));
        assert!(matches!(peer.recv().await, Some(Packet::Disconnect(_))));
    };
    let user = async {
        let kinds = [EventKind::Presence, EventKind::Security];
        let mut watcher = Watcher::connect(&profile, &kinds, &group).await.unwrap();
        let mut all = Vec::new();
        while all.last().is_none_or(|last| last != "e") {
            all.push(told(watcher.next().await.unwrap()));
        }
        watcher.close().await;
        all
    };
    let (all, ()) = tokio::join!(user, script);
    assert_eq!(all, ["a", "b", "gap 2", "c", "d", "lost", "back", "gap 1", "e"]);
}

#[tokio::test]
async fn an_operator_who_is_revoked_is_told_so() {
    let fake = Fake::start().await;
    let profile = fake.profile();
    let script = async {
        drop(fake.watcher(&["wake/v1/events/+/#"]).await);
        let mut peer = fake.peer().await;
        peer.connack(ConnectReturnCode::BadUserNamePassword, None).await;
    };
    let user = async {
        let mut watcher = Watcher::connect(&profile, &[], &GroupPath::root()).await.unwrap();
        assert!(matches!(watcher.next().await, Ok(Watched::Lost(_))));
        watcher.next().await.unwrap_err()
    };
    let (error, ()) = tokio::join!(user, script);
    assert!(error.is_not_allowed(), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn watch_prints_a_line_an_event_until_ctrl_c() {
    let fake = Fake::start().await;
    for (json, words) in [(false, &["watch"][..]), (true, &["watch", "--json", "--group", "/"])] {
        let mut program = wakemq(&fake, words);
        let child = program.command.spawn().unwrap();
        let mut peer = fake.watcher(&["wake/v1/events/+/#"]).await;
        peer.event(1, &event(1, "a")).await;
        peer.event(2, &event(4, "b")).await;
        // Its acknowledgements say that the program has read both.
        peer.recv().await.unwrap();
        peer.recv().await.unwrap();
        let pid = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(matches!(peer.recv().await, Some(Packet::Disconnect(_))), "it says farewell");
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        if json {
            assert_eq!(lines(&output), [event(1, "a"), json!({"gap": 2}), event(4, "b")]);
        } else {
            assert_eq!(
                text(&output.stdout),
                "2026-11-22T01:00:00Z  presence  paris: a connected\n\
                 --                    --        up to 2 events were lost here\n\
                 2026-11-22T01:00:00Z  presence  paris: b connected\n"
            );
        }
        assert_eq!(text(&output.stderr), "watching /; Ctrl-C ends it\n");
    }
}
