//! Submissions over MQTT.

use wakemq_core::packet::ReasonCode;
use wakemq_protocol::{CommandState, SlotChoice};

use super::*;
use crate::metrics::GroupChange;

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
async fn what_is_recorded_as_refused_is_told_and_counted_as_that() {
    let it = Bench::with(&["one:a/paris"]).await;
    let mailbox = it.publisher("admin");
    let old = |request: SubmitRequest| SubmitRequest { record_refusal: true, ..request };
    let submit = async |batch| it.engine.submit(&it.operator("admin"), &mailbox, batch).await.unwrap();
    let one = || Target::Agent(agent("one"));
    let never = |number| {
        let submission = Submission { slot: SlotChoice::Never, ..Submission::new(Kind::Wake) };
        SubmitRequest {
            submission: Ok(Submission { id: Some(id(number)), ..submission }),
            ..wake(number, one())
        }
    };
    let replies = submit((1..=100).map(never).collect()).await;
    assert!(replies.iter().all(Result::is_ok));
    it.told();
    let refused = &it.engine.metrics.command_changes.of(CommandState::Refused);
    let told = || -> Vec<_> {
        let told = it.told().into_iter();
        let of = |event: &Value| {
            assert_eq!(event["event"], "command");
            let update = &event["update"];
            (update["id"].as_str().unwrap().to_owned(), update["state"].as_str().unwrap().to_owned())
        };
        told.map(|event| of(&event)).collect()
    };
    let said = |number: u64| (id(number).to_string(), "refused".to_owned());

    // One too many, twice; and another one under its id.
    let another = old(wake(101, Target::Agent(agent("nobody"))));
    assert!(submit(vec![old(never(101)), old(never(101)), another]).await.iter().all(Result::is_err));
    let heard = told();
    assert_eq!((&heard[0], heard.len(), refused.get()), (&said(101), 2, 2), "{heard:?}");
    assert_ne!(heard[1].0, said(101).0, "the id was taken by then");
    // It comes again, because its publisher did not see the PUBACK.
    assert!(submit(vec![old(never(101))]).await[0].is_ok());
    assert_eq!((told().len(), refused.get()), (0, 2));
    // An id that was taken all along.
    assert!(submit(vec![old(wake(1, one()))]).await[0].is_err());
    let heard = told();
    assert_eq!((heard.len(), &*heard[0].1, refused.get()), (1, "refused", 3));
    assert_ne!(heard[0].0, id(1).to_string());
    // A group that does not exist: nobody has done anything.
    let lines = it.engine.metrics.audit_lines.get();
    assert!(submit(vec![old(wake(102, Target::Group(group("nowhere"))))]).await[0].is_err());
    assert_eq!(told(), [said(102)]);
    assert_eq!(it.engine.metrics.group_command_changes.of(GroupChange::Refused).get(), 1);
    assert_eq!(it.engine.metrics.audit_lines.get(), lines);
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
    assert_eq!(it.engine.fetch(&agent("one"), epoch, 10).await.unwrap().commands.len(), 1);
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
