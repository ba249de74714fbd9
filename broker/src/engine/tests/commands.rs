//! Submissions over MQTT.

use wakemq_core::packet::ReasonCode;
use wakemq_protocol::CommandState;

use super::*;

#[tokio::test]
async fn what_is_refused_is_recorded_where_the_publisher_cannot_be_told() {
    let it = Bench::new().await;
    let mailbox = it.publisher("admin");
    let nobody = || Target::Agent(agent("nobody"));
    let batch = vec![wake(1, nobody()), SubmitRequest { record_refusal: true, ..wake(2, nobody()) }];
    let replies = it.engine.submit(&it.operator("admin"), &mailbox, batch).await.unwrap();
    assert!(replies.iter().all(Result::is_err));
    let admin = caller("admin");
    assert!(it.engine.command(&admin, id(1), None, 0).await.is_err());
    let view = it.engine.command(&admin, id(2), None, 0).await.unwrap();
    assert_eq!(view.outcomes[0].state, CommandState::Refused);
    assert_eq!(view.outcomes[0].detail.as_deref(), Some("there is no agent nobody"));
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_its_answers_whatever_is_refused() {
    let it = Bench::with(&["one:a/paris", "two:b"]).await;
    let mailbox = it.publisher("paris");
    let batch = vec![
        wake(1, Target::Agent(agent("one"))),
        wake(2, Target::Agent(agent("two"))),
        wake(1, Target::Agent(agent("one"))),
        wake(1, Target::Agent(agent("ONE"))),
        SubmitRequest { record_refusal: true, ..wake(3, Target::Agent(agent("two"))) },
        wake(4, Target::Group(group("a"))),
    ];
    let replies = it.engine.submit(&it.operator("paris"), &mailbox, batch).await.unwrap();
    let reasons: Vec<_> = replies.iter().map(|reply| reply.as_ref().map_err(|no| no.reason)).collect();
    let foreign = Err(ReasonCode::NotAuthorized);
    assert_eq!(reasons, [Ok(&()), foreign, Ok(&()), Ok(&()), foreign, foreign]);
    // A foreign one leaves nothing behind, not even a record: it ends the connection.
    assert!(it.engine.command(&caller("admin"), id(3), None, 0).await.is_err());
}

#[tokio::test]
async fn a_command_for_who_is_away_is_told_where_that_one_belongs() {
    let it = Bench::with(&["away:a/paris"]).await;
    let publisher = it.publisher("admin");
    it.submit("admin", &publisher, wake(1, Target::Agent(agent("away")))).await.unwrap();
    assert_eq!(it.told()[0]["group"], "a/paris");
}

#[tokio::test]
async fn every_change_is_told_to_who_follows_and_to_who_listens() {
    let it = Bench::with(&["one:a/paris"]).await;
    let publisher = it.publisher("admin");
    let (mailbox, epoch) = it.connect("one", "a/paris", 2).await;
    it.told();
    it.submit("admin", &publisher, followed(1, Target::Agent(agent("one")))).await.unwrap();
    assert!(mail(&mailbox).inbox_changed);
    assert_eq!(it.engine.fetch(&agent("one"), epoch, 10).await.unwrap().len(), 1);
    it.engine.acknowledged(&agent("one"), id(1), epoch).await.unwrap();
    let states = |values: &[Value]| -> Vec<String> {
        values.iter().map(|value| value["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&responses(&publisher)), ["queued", "sent", "acknowledged"]);
    let told = it.told();
    assert!(told.iter().all(|event| event["event"] == "command" && event["group"] == "a/paris"), "{told:?}");
    assert!(told.iter().all(|event| event["by"] == "op:admin" && event["kind"] == "wake"));
    let updates: Vec<_> = told.iter().map(|event| event["update"].clone()).collect();
    assert_eq!(states(&updates), ["queued", "sent", "acknowledged"]);
}
