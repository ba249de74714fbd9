//! Commands for groups, and moves.

use std::time::Duration;

use wakemq_protocol::{CommandState, Submission};

use super::*;

#[tokio::test]
async fn a_wake_of_a_group_reaches_its_subtree_alone() {
    let it = Bench::with(&["one:a", "two:a/paris", "three:a-b", "away:a"]).await;
    let publisher = it.publisher("admin");
    let (one, one_epoch) = it.connect("one", "a", 2).await;
    let (two, two_epoch) = it.connect("two", "a/paris", 3).await;
    let (three, _) = it.connect("three", "a-b", 4).await;
    for mailbox in [&one, &two, &three] {
        mail(mailbox);
    }
    it.submit("admin", &publisher, wake(1, Target::Group(group("a")))).await.unwrap();
    assert!(mail(&one).inbox_changed && mail(&two).inbox_changed && !mail(&three).inbox_changed);
    for (name, epoch) in [("one", one_epoch), ("two", two_epoch)] {
        let commands = it.engine.fetch(&agent(name), epoch, 10).await.unwrap().commands;
        assert_eq!(commands.iter().map(|command| command.id).collect::<Vec<_>>(), [id(1)]);
    }
    it.engine.acknowledged(&agent("two"), id(1), two_epoch).await.unwrap();
    let view = it.engine.command(&caller("viewer"), id(1), None, 10).await.unwrap();
    let counts = view.counts.unwrap();
    assert_eq!((counts.queued, counts.sent, counts.acknowledged, counts.total()), (1, 1, 1, 3));
    let waiting = it.engine.waiting(&caller("viewer"), id(1), None, 10).await.unwrap();
    let mut names: Vec<_> = waiting.agents.iter().map(|waiting| waiting.agent.to_string()).collect();
    names.sort();
    assert_eq!(names, ["away", "one"]);
}

#[tokio::test]
async fn only_if_connected_is_for_those_who_are() {
    let it = Bench::with(&["one:a", "away:a"]).await;
    let publisher = it.publisher("admin");
    let (one, _) = it.connect("one", "a", 2).await;
    let mut request = wake(1, Target::Group(group("a")));
    request.submission = Ok(Submission { id: Some(id(1)), ttl: Some(0), ..Submission::new(Kind::Wake) });
    it.submit("admin", &publisher, request).await.unwrap();
    let letters = mail(&one).letters;
    assert!(matches!(&letters[..], [Letter::Live { command, .. }] if command.id == id(1)), "{letters:?}");
    let view = it.engine.command(&caller("admin"), id(1), None, 10).await.unwrap();
    let counts = view.counts.unwrap();
    assert_eq!((view.state, counts.sent, counts.expired), (Some(CommandState::Expired), 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_counts_of_a_group_are_told_at_once_and_then_once_a_second() {
    let it = Bench::with(&["one:a", "two:a"]).await;
    let publisher = it.publisher("admin");
    let (_, one) = it.connect("one", "a", 2).await;
    let (_, two) = it.connect("two", "a", 3).await;
    it.submit("admin", &publisher, followed(1, Target::Group(group("a")))).await.unwrap();
    let told = responses(&publisher);
    assert_eq!((told.len(), &told[0]["counts"]["queued"]), (1, &2.into()), "{told:?}");

    for (name, epoch) in [("one", one), ("two", two)] {
        it.engine.fetch(&agent(name), epoch, 10).await.unwrap();
        it.engine.acknowledged(&agent(name), id(1), epoch).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(responses(&publisher).is_empty(), "not within a second");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = responses(&publisher);
    assert_eq!((told.len(), &told[0]["counts"]["acknowledged"]), (1, &2.into()), "{told:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(responses(&publisher).is_empty(), "nothing has changed");

    // What is over is told a last time.
    let done = |number| wakemq_protocol::Receipt {
        id: id(number),
        state: wakemq_protocol::ReceiptState::Done,
        detail: None,
    };
    let mailbox = it.engine.registry.open(address(7), Transport::Mqtt);
    it.engine.receipt(&agent("one"), &mailbox, done(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(responses(&publisher).len(), 1, "the last one is long ago");
    it.engine.receipt(&agent("two"), &mailbox, done(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = responses(&publisher);
    assert_eq!((told.len(), &told[0]["counts"]["done"]), (1, &2.into()), "{told:?}");

    // Asked again, it is told where it stands.
    it.submit("admin", &publisher, followed(1, Target::Group(group("a")))).await.unwrap();
    assert_eq!(responses(&publisher).len(), 1);
}

#[tokio::test]
async fn a_move_ends_what_is_left_behind() {
    let it = Bench::with(&["one:a/paris", "two:a/paris"]).await;
    let publisher = it.publisher("paris");
    let (mailbox, epoch) = it.connect("one", "a/paris", 2).await;
    it.submit("paris", &publisher, wake(1, Target::Group(group("a/paris")))).await.unwrap();
    it.submit("paris", &publisher, wake(2, Target::Agent(agent("one")))).await.unwrap();
    mail(&mailbox);
    it.told();
    let view = it.engine.move_agent(&caller("admin"), agent("one"), group("b")).await.unwrap();
    assert_eq!((view.group, view.pending), (group("b"), 0));
    assert!(mail(&mailbox).inbox_changed);
    assert!(it.engine.fetch(&agent("one"), epoch, 10).await.unwrap().commands.is_empty());
    let told = it.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|event| event["update"]["state"] == "cancelled" && event["group"] == "a/paris"));
    assert_eq!(it.engine.registry.subscribed_in(&group("b")), 1);
    let groups = it.engine.groups(&caller("admin"), None, 10).await.unwrap().groups;
    let counts: Vec<_> = groups.iter().map(|row| (row.group.as_str(), row.agents, row.connected)).collect();
    assert_eq!(counts, [("", 2, 1), ("a", 1, 0), ("a/paris", 1, 0), ("b", 1, 1)]);
}
