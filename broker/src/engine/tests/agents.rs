//! Lists of agents.

use super::*;

/// Reads all pages of a filter, and returns their lengths and the names.
async fn pages(it: &Bench, who: &str, filter: AgentFilter) -> (Vec<usize>, String) {
    let (mut after, mut lengths, mut names) = (filter.after.clone(), Vec::new(), Vec::new());
    loop {
        let page = it.engine.agents(&caller(who), AgentFilter { after, ..filter.clone() }).await.unwrap();
        lengths.push(page.agents.len());
        names.extend(page.agents.iter().map(|view| view.agent.to_string()));
        match page.next {
            Some(next) => after = Some(read_place(&next).unwrap()),
            None => return (lengths, names.join(" ")),
        }
    }
}

fn filter(path: &str, connected: Option<bool>, limit: usize) -> AgentFilter {
    AgentFilter { group: Some(group(path)), connected, transport: None, after: None, limit }
}

#[tokio::test]
async fn who_is_connected_and_who_is_not_is_listed_by_group_and_id() {
    let it = Bench::with(&["A1:a", "a2:a", "a3:a", "p1:a/paris", "p2:a/paris", "x:a-b", "y:"]).await;
    for (name, path) in [("a1", "a"), ("a3", "a"), ("p2", "a/paris"), ("x", "a-b")] {
        it.connect(name, path, 2).await;
    }
    // Not subscribed is offline.
    let mailbox = it.engine.registry.open(address(3), Transport::WebSocket);
    it.engine.arrive(&agent("y"), &group(""), &mailbox, None);
    for (path, connected, all) in [
        ("", None, "y A1 a2 a3 p1 p2 x"),
        ("", Some(true), "A1 a3 p2 x"),
        ("", Some(false), "y a2 p1"),
        ("a", Some(true), "A1 a3 p2"),
        ("a", Some(false), "a2 p1"),
        ("a/paris", Some(true), "p2"),
        ("a/paris", Some(false), "p1"),
        ("nowhere", Some(true), ""),
        ("nowhere", Some(false), ""),
    ] {
        for limit in [1, 2, 100] {
            let (lengths, names) = pages(&it, "viewer", filter(path, connected, limit)).await;
            assert_eq!(names, all, "{path} {connected:?} {limit}");
            let full = lengths.split_last().is_none_or(|(_, all)| all.iter().all(|length| *length == limit));
            assert!(full, "{path} {connected:?} {limit}: {lengths:?}");
        }
    }
    let (_, names) = pages(&it, "paris", filter("a/paris", Some(true), 9)).await;
    assert_eq!(names, "p2");
    let refused = it.engine.agents(&caller("paris"), filter("", Some(true), 9)).await;
    assert!(matches!(refused, Err(EngineError::NotAllowed(_))), "{refused:?}");
}

#[tokio::test]
async fn who_is_connected_by_a_transport_is_listed_and_nobody_else() {
    let it = Bench::with(&["a1:a", "a2:a", "a3:a", "p1:a/paris", "p2:a/paris", "x:a-b", "y:"]).await;
    for name in ["a1", "a3", "p2"] {
        let path = if name == "p2" { "a/paris" } else { "a" };
        let mailbox = it.engine.registry.open(address(2), Transport::Poll);
        it.engine.arrive(&agent(name), &group(path), &mailbox, None);
        it.engine.claim(&agent(name), &mailbox).await.unwrap().unwrap();
    }
    it.connect("a2", "a", 2).await;
    // Not subscribed is offline.
    let mailbox = it.engine.registry.open(address(3), Transport::Poll);
    it.engine.arrive(&agent("y"), &group(""), &mailbox, None);
    for (path, transport, all) in [
        ("", Transport::Poll, "a1 a3 p2"),
        ("", Transport::Mqtt, "a2"),
        ("", Transport::WebSocket, ""),
        ("a/paris", Transport::Poll, "p2"),
        ("nowhere", Transport::Poll, ""),
    ] {
        for (connected, limit) in [(None, 1), (None, 2), (Some(true), 100)] {
            let wanted = AgentFilter { transport: Some(transport), ..filter(path, connected, limit) };
            assert_eq!(pages(&it, "viewer", wanted).await.1, all, "{path} {transport} {limit}");
        }
    }
    let wanted = AgentFilter { transport: Some(Transport::Poll), ..filter("", Some(false), 9) };
    let refused = it.engine.agents(&caller("viewer"), wanted).await;
    assert!(matches!(refused, Err(EngineError::Invalid(_))), "{refused:?}");
    let wanted = AgentFilter { transport: Some(Transport::Poll), ..filter("", None, 9) };
    let refused = it.engine.agents(&caller("paris"), wanted).await;
    assert!(matches!(refused, Err(EngineError::NotAllowed(_))), "{refused:?}");
}

#[test]
fn few_that_speak_by_a_transport_are_found_in_steps() {
    let registry = crate::registry::Registry::default();
    let mut found = 0;
    let mut mailboxes = Vec::new();
    for n in 0..100 {
        let transport = if n % 50 == 7 { Transport::Poll } else { Transport::Mqtt };
        let mailbox = registry.open(address(1), transport);
        let name = agent(&format!("a{n:02}"));
        registry.arrive(&name, &group("a"), &mailbox, None, 0);
        registry.set_epoch(&name, mailbox.id(), Some(Epoch(n)));
        mailboxes.push(mailbox);
    }
    let (mut after, mut looks) = (None, 0);
    loop {
        let (page, next) =
            registry.subscribed_by(Transport::Poll, &GroupPath::root(), after.as_ref(), (10, 30));
        found += page.len();
        looks += 1;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((found, looks), (2, 4));
}

#[tokio::test]
async fn an_agent_that_was_revoked_while_connected_is_not_listed() {
    let it = Bench::with(&["a1:a", "a2:a"]).await;
    for name in ["a1", "a2"] {
        it.connect(name, "a", 2).await;
    }
    it.engine.revoke_agent(&caller("admin"), agent("a1")).await.unwrap();
    let (lengths, names) = pages(&it, "viewer", filter("", Some(true), 1)).await;
    assert_eq!((lengths, names), (vec![0, 1], "a2".to_owned()), "its connection has not ended yet");
}
