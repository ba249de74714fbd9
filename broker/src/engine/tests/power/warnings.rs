//! What is told when awake relays go, and whether an endpoint can be switched on.

use super::*;

fn warnings(it: &Site) -> Vec<String> {
    let told = it.bench.told().into_iter().filter(|event| event["what"].is_string());
    let text = |event: Value| {
        assert_eq!((&event["event"], &event["group"]), (&"power".into(), &"a".into()));
        format!(
            "{} {} {}",
            event["what"].as_str().unwrap(),
            event["agent"].as_str().unwrap(),
            event["subnet"].as_str().unwrap()
        )
    };
    told.map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_awake_relay_is_told_of_and_once_in_ten_minutes() {
    let it = Site::with(&["r1:a", "r2:a", "r3:a"]).await;
    let r1 = it.comes("r1", "a", &wired(8)).await;
    let r2 = it.comes("r2", "a", &wired(9)).await;
    let r3 = it.comes("r3", "a", &wired(10)).await;
    it.goes(r1).await;
    assert_eq!(warnings(&it), [""; 0]);
    it.goes(r2).await;
    assert_eq!(warnings(&it), ["last_relay r3 192.0.2.0/24"]);
    let r2 = it.comes("r2", "a", &wired(9)).await;
    it.goes(r2).await;
    assert_eq!(warnings(&it), [""; 0], "said a moment ago");
    // It takes itself over, which is no leaving.
    let newer = it.comes("r3", "a", &wired(10)).await;
    it.goes(r3).await;
    assert_eq!(warnings(&it), [""; 0]);
    // It unsubscribes: nothing reaches it any more.
    it.bench.engine.release(&newer.name, &newer.mailbox, newer.epoch).await.unwrap();
    assert_eq!(warnings(&it), ["no_relay_left r3 192.0.2.0/24"]);

    pass(600_000).await;
    let _r1 = it.comes("r1", "a", &wired(8)).await;
    let r2 = it.comes("r2", "a", &wired(9)).await;
    it.goes(r2).await;
    assert_eq!(warnings(&it), ["last_relay r1 192.0.2.0/24"]);
}

#[tokio::test(start_paused = true)]
async fn that_all_leave_a_broker_that_stops_is_told_to_nobody() {
    let it = Site::with(&["r1:a", "r2:a"]).await;
    let (r1, r2) = (it.comes("r1", "a", &wired(8)).await, it.comes("r2", "a", &wired(9)).await);
    it.bench.engine.stops();
    it.goes(r1).await;
    it.goes(r2).await;
    assert_eq!(warnings(&it), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whether_an_endpoint_can_be_switched_on_is_said_to_who_may_see_it() {
    let it = Site::with(&["pc:a/paris", "relay:a/paris", "lyon:a/lyon"]).await;
    let explain = async |who: &str| it.bench.engine.explain_power(&caller(who), agent("pc")).await;
    let view = explain("viewer").await.unwrap();
    assert!(!view.can_wake && !view.connected && view.macs.is_empty(), "{view:#?}");

    it.knows("pc", "a/paris", &wired(7)).await;
    let shy = it.comes("relay", "a/paris", &Facts { relay: false, ..wired(8) }).await;
    let view = explain("paris").await.unwrap();
    assert!(!view.can_wake && view.relays.is_empty(), "{view:#?}");
    assert!(
        view.findings.iter().any(|text| text.starts_with("relay is awake, but it does not relay")),
        "{view:#?}"
    );
    it.goes(shy).await;

    let _lyon = it.comes("lyon", "a/lyon", &wired(9)).await;
    let view = explain("admin").await.unwrap();
    assert_eq!((view.can_wake, view.relays), (true, vec![agent("lyon")]));
    // What is not theirs neither helps them nor is named to them.
    let view = explain("paris").await.unwrap();
    assert!(!view.can_wake && !format!("{view:?}").contains("lyon"), "{view:#?}");
    let other = it.bench.engine.explain_power(&caller("paris"), agent("lyon")).await;
    assert!(matches!(other, Err(EngineError::UnknownAgent(_))));
}
