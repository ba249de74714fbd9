//! What operators are told of agents.

use wakemq_protocol::{Facts, Receipt, ReceiptState};

use super::*;

fn changes(told: &[Value]) -> Vec<String> {
    let presence = told.iter().filter(|event| event["event"] == "presence");
    presence
        .map(|event| format!("{} {}", event["agent"].as_str().unwrap(), event["change"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn presence_is_being_subscribed() {
    let it = Bench::with(&["one:a"]).await;
    let one = agent("one");
    let mailbox = it.engine.registry.open(address(2), Transport::Mqtt);
    it.engine.arrive(&one, &group("a"), &mailbox, None);
    assert!(it.told().is_empty(), "connected, and nothing would reach it");
    let epoch = it.engine.claim(&one, &mailbox).await.unwrap().unwrap();
    let told = it.told();
    assert_eq!(changes(&told), ["one connected"]);
    assert_eq!((&told[0]["group"], &told[0]["address"]), (&"a".into(), &"192.0.2.2:1000".into()));
    it.engine.release(&one, &mailbox, epoch).await.unwrap();
    assert_eq!(changes(&it.told()), ["one disconnected"]);
    it.engine.depart(&one, &mailbox, None, "gone").await.unwrap();
    assert!(it.told().is_empty(), "it is told once");
}

#[tokio::test]
async fn a_takeover_is_told_as_it_ends() {
    let it = Bench::with(&["one:a"]).await;
    let one = agent("one");
    let (old, old_epoch) = it.connect("one", "a", 2).await;
    let (new, new_epoch) = it.connect("one", "a", 3).await;
    it.engine.depart(&one, &old, Some(old_epoch), "taken over").await.unwrap();
    assert_eq!(changes(&it.told()), ["one connected", "one connected"], "it has been there all the time");
    // A newer connection that has not subscribed yet is no presence.
    let newest = it.engine.registry.open(address(4), Transport::WebSocket);
    it.engine.arrive(&one, &group("a"), &newest, None);
    it.engine.depart(&one, &new, Some(new_epoch), "taken over").await.unwrap();
    let told = it.told();
    assert_eq!(changes(&told), ["one disconnected"]);
    assert_eq!(told[0]["detail"], "taken over");
    assert_eq!(told[0]["transport"], "mqtt", "of the one that ended");
    it.engine.claim(&one, &newest).await.unwrap().unwrap();
    let told = it.told();
    assert_eq!(changes(&told), ["one connected"]);
    assert_eq!(told[0]["transport"], "websocket");
}

#[tokio::test]
async fn facts_and_reports_come_from_where_the_agent_is_now() {
    let it = Bench::with(&["one:a"]).await;
    let one = agent("one");
    let (mailbox, _) = it.connect("one", "a", 2).await;
    it.engine.move_agent(&caller("admin"), one.clone(), group("b")).await.unwrap();
    it.told();
    let facts = Facts { host_name: Some("till".into()), ..Facts::default() };
    it.engine.facts(&one, &mailbox, facts).await.unwrap();
    let report = serde_json::json!({"disk": 97});
    it.engine.report(&one, report.as_object().unwrap().clone()).await.unwrap();
    let told = it.told();
    assert_eq!((&told[0]["change"], &told[0]["facts"]["host_name"]), (&"facts".into(), &"till".into()));
    assert_eq!((&told[1]["event"], &told[1]["report"]), (&"report".into(), &report));
    assert!(told.iter().all(|event| event["group"] == "b"));
    // Its will comes when the registry has forgotten it.
    it.engine.registry.leave(&one, mailbox.id());
    it.engine.report(&one, report.as_object().unwrap().clone()).await.unwrap();
    assert_eq!(it.told()[0]["group"], "b");
}

#[tokio::test]
async fn clones_and_foreign_receipts_are_told_once_in_a_while() {
    let it = Bench::with(&["one:a", "two:a"]).await;
    let publisher = it.publisher("admin");
    let (mailbox, _) = it.connect("one", "a", 2).await;
    it.submit("admin", &publisher, wake(1, Target::Agent(agent("two")))).await.unwrap();
    it.told();
    let receipt = |number| Receipt { id: id(number), state: ReceiptState::Done, detail: None };
    it.engine.receipt(&agent("one"), &mailbox, receipt(1)).await.unwrap();
    it.engine.receipt(&agent("one"), &mailbox, receipt(1)).await.unwrap();
    it.engine.receipt(&agent("one"), &mailbox, receipt(2)).await.unwrap();
    let told = it.told();
    assert_eq!(told.len(), 1, "once, and not for what nobody knows: {told:?}");
    assert_eq!((&told[0]["what"], &told[0]["who"]), (&"foreign_receipt".into(), &"agent:one".into()));

    let arrive = |last| {
        let mailbox = it.engine.registry.open(address(last), Transport::Mqtt);
        it.engine.arrive(&agent("two"), &group("a"), &mailbox, Some(last.into()));
    };
    arrive(3);
    arrive(4);
    arrive(3);
    let told = it.told();
    assert_eq!((told.len(), &told[0]["what"]), (1, &"cloned_identity".into()));
    assert_eq!(told[0]["addresses"], serde_json::json!(["192.0.2.3:1000", "192.0.2.4"]));
}
