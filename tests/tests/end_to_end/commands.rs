//! The life of commands: ids, slots, priorities, times to live, cancelling, responses.

use anyhow::Result;
use wakemq_protocol::{AgentId, CommandId, CommandState, Kind, Outcome, Priority, SlotChoice, Submission};
use wakemq_publisher::{Publisher, Submitted, Verdict, Wanted, new_command_id};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Packet, Property, Version};
use wakemq_tests::wait::{LIMIT, eventually, within};

fn wake() -> Submission {
    Submission::new(Kind::Wake)
}

fn no_slot() -> Submission {
    Submission { slot: SlotChoice::Never, ..wake() }
}

async fn submit(publisher: &Publisher, agent: &str, submission: Submission) -> Result<Submitted> {
    Ok(within("a submission", publisher.submit(&agent.parse::<AgentId>()?, submission)).await??)
}

async fn shown(broker: &InProcessBroker, id: CommandId) -> Result<Outcome> {
    Ok(broker.management()?.command(id).await?.outcomes.remove(0))
}

#[tokio::test]
async fn the_same_id_again_is_the_same_command_and_anything_else_under_it_is_refused() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    broker.import(&["pc-2"]).await?;
    let id = new_command_id().expect("random numbers");
    let publisher = broker.publisher().await?;
    let submission = Submission { id: Some(id), reason: Some("once".into()), ..no_slot() };
    let mut first = submit(&publisher, "pc-1", submission.clone()).await?;
    within("the command", agent.next_command()).await?.expect("the agent runs").done(None);
    assert_eq!(first.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);

    // From another connection, after the end: answered as the first time, and told the present state at once.
    let other = broker.publisher().await?;
    let mut again = submit(&other, "pc-1", submission.clone()).await?;
    assert_eq!(again.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    for (agent, changed) in [
        ("pc-2", submission.clone()),
        ("pc-1", Submission { reason: Some("twice".into()), ..submission.clone() }),
        ("pc-1", Submission { ttl: Some(60), ..submission }),
    ] {
        let refused = within("a refusal", other.submit(&agent.parse::<AgentId>()?, changed)).await?;
        let error = refused.expect_err("a conflict").to_string();
        assert!(error.contains("id_conflict"), "{error}");
    }
    let next = submit(&publisher, "pc-1", no_slot()).await?;
    let incoming = within("the next command", agent.next_command()).await?.expect("the agent runs");
    assert_eq!(incoming.command().id, next.id(), "the first was handled once");
    Ok(())
}

#[tokio::test]
async fn a_slot_holds_one_command_and_the_newer_inherits() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let publisher = broker.publisher().await?;
    let older = Submission { ttl: Some(7200), priority: Priority::High, ..wake() };
    let mut older = submit(&publisher, "pc-1", older).await?;
    let newer = submit(&publisher, "pc-1", Submission { ttl: Some(60), ..wake() }).await?;
    let other =
        submit(&publisher, "pc-1", Submission { slot: SlotChoice::Named("other".parse()?), ..wake() })
            .await?;
    assert_eq!(older.wait(Wanted::Done, LIMIT).await?, Verdict::Missed);
    let outcome = older.outcome().expect("told");
    assert_eq!((outcome.state, outcome.superseded_by), (CommandState::Superseded, Some(newer.id())));

    let mut client = broker.dial().await?;
    client.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    assert_eq!(client.subscribe("wake/v1/agents/pc-1/commands", 1).await?, 1);
    let (_, first) = client.command().await?;
    assert_eq!(first["id"], newer.id().to_string());
    assert_eq!(first["priority"], "high", "inherited");
    assert!(first["ttl"].as_u64().is_some_and(|ttl| ttl > 7000), "inherited: {first}");
    let (_, second) = client.command().await?;
    assert_eq!(second["id"], other.id().to_string());
    Ok(())
}

#[tokio::test]
async fn priority_goes_before_acceptance_and_room_in_flight_is_kept() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let publisher = broker.publisher().await?;
    let mut ids = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Normal, Priority::High] {
        ids.push(submit(&publisher, "pc-1", Submission { priority, ..no_slot() }).await?.id().to_string());
    }
    let mut client = broker.dial().await?;
    let receive_maximum = vec![Property::Two(0x21, 2)];
    let login = Login { properties: receive_maximum, ..Login::new(Version::V5, "pc-1", made[0].1.expose()) };
    client.enter(&login).await?;
    assert_eq!(client.subscribe("wake/v1/agents/pc-1/commands", 1).await?, 1);
    let mut unacknowledged = std::collections::VecDeque::new();
    let mut order = Vec::new();
    for _ in 0..2 {
        let (packet_id, command) = client.command().await?;
        unacknowledged.push_back(packet_id);
        order.push(command["id"].as_str().unwrap_or_default().to_owned());
    }
    // With two in flight nothing more comes: the answer to a ping would be behind it.
    client.ping().await?;
    while let Some(packet_id) = unacknowledged.pop_front() {
        client.acknowledge(packet_id).await?;
        if order.len() < ids.len() {
            let (packet_id, command) = client.command().await?;
            unacknowledged.push_back(packet_id);
            order.push(command["id"].as_str().unwrap_or_default().to_owned());
        }
    }
    let expected: Vec<_> = [2, 4, 1, 3, 0].map(|n: usize| ids[n].clone()).to_vec();
    assert_eq!(order, expected);
    Ok(())
}

#[tokio::test]
async fn a_command_expires_while_its_agent_is_away_and_not_before() -> Result<()> {
    let clock = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: clock.clock(), ..Injected::default() }).await?;
    broker.import(&["pc-1"]).await?;
    let publisher = broker.publisher().await?;
    let mut short = submit(&publisher, "pc-1", Submission { ttl: Some(60), ..no_slot() }).await?;
    let long = submit(&publisher, "pc-1", Submission { ttl: Some(6000), ..no_slot() }).await?;
    clock.pass(30_000);
    assert_eq!(shown(&broker, short.id()).await?.state, CommandState::Queued);
    clock.pass(31_000);
    assert_eq!(short.wait(Wanted::Done, LIMIT).await?, Verdict::Missed);
    assert_eq!(short.outcome().map(|outcome| outcome.state), Some(CommandState::Expired));
    assert_eq!(shown(&broker, long.id()).await?.state, CommandState::Queued);
    Ok(())
}

#[tokio::test]
async fn the_wall_clock_set_back_by_an_hour_changes_no_time_to_live() -> Result<()> {
    let clock = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: clock.clock(), ..Injected::default() }).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    broker.import(&["away"]).await?;
    let publisher = broker.publisher().await?;
    let mut away = submit(&publisher, "away", Submission { ttl: Some(60), ..no_slot() }).await?;
    let before = broker.broker.engine().clock().now();
    clock.set_wall(-3_600_000);
    let after = broker.broker.engine().clock().now();
    assert!(after >= before && after.unix_ms() - before.unix_ms() < 60_000);

    // New commands work as before, and the one that waits ends after its minute, not after an hour and one.
    let mut woken = submit(&publisher, "pc-1", Submission { ttl: Some(60), ..no_slot() }).await?;
    let incoming = within("the command", agent.next_command()).await?.expect("the agent runs");
    assert!((1..=60).contains(&incoming.command().ttl), "{}", incoming.command().ttl);
    incoming.done(None);
    assert_eq!(woken.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    assert_eq!(shown(&broker, away.id()).await?.state, CommandState::Queued);
    clock.pass(61_000);
    assert_eq!(away.wait(Wanted::Done, LIMIT).await?, Verdict::Missed);
    assert_eq!(away.outcome().map(|outcome| outcome.state), Some(CommandState::Expired));
    Ok(())
}

#[tokio::test]
async fn time_to_live_0_is_for_a_connected_agent_alone() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let publisher = broker.publisher().await?;
    broker.import(&["away"]).await?;
    let now = || Submission { ttl: Some(0), ..wake() };
    let mut missed = submit(&publisher, "away", now()).await?;
    assert_eq!(missed.wait(Wanted::Sent, LIMIT).await?, Verdict::Missed);
    assert_eq!(missed.outcome().map(|outcome| outcome.state), Some(CommandState::Expired));

    let made = broker.import(&["pc-1"]).await?;
    let mut client = broker.dial().await?;
    client.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    client.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    // It takes no slot and supersedes nothing.
    let usual = submit(&publisher, "pc-1", wake()).await?;
    let first = submit(&publisher, "pc-1", now()).await?;
    let mut second = submit(&publisher, "pc-1", now()).await?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (packet_id, command) = client.command().await?;
        let id = command["id"].as_str().unwrap_or_default().to_owned();
        if id == first.id().to_string() {
            assert_eq!(command["ttl"], 0);
            client.acknowledge(packet_id).await?;
        }
        ids.push(id);
    }
    assert_eq!(ids, [usual.id(), first.id(), second.id()].map(|id| id.to_string()));
    eventually("the acknowledgement to be recorded", async || {
        Ok((shown(&broker, first.id()).await?.state == CommandState::Acknowledged).then_some(()))
    })
    .await?;
    // The connection ends before the acknowledgement: the one is over, the other waits again.
    drop(client);
    assert_eq!(second.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);
    assert_eq!(second.outcome().map(|outcome| outcome.state), Some(CommandState::Expired));
    assert_eq!(shown(&broker, usual.id()).await?.state, CommandState::Queued);
    Ok(())
}

#[tokio::test]
async fn a_command_is_taken_back_unless_the_agent_has_it() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let publisher = broker.publisher().await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut management = broker.management()?;
    let mut queued = submit(&publisher, "pc-1", no_slot()).await?;
    assert_eq!(management.cancel(queued.id()).await?.outcomes[0].state, CommandState::Cancelled);
    assert_eq!(queued.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);

    let mut client = broker.dial().await?;
    client.enter(&Login::new(Version::V4, "pc-1", made[0].1.expose())).await?;
    client.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let mut sent = submit(&publisher, "pc-1", no_slot()).await?;
    let (_, command) = client.command().await?;
    assert_eq!(command["id"], sent.id().to_string(), "the one that was taken back is not sent");
    // On its way: asked for, and decided when the connection ends.
    let outcome = management.cancel(sent.id()).await?.outcomes.remove(0);
    assert_eq!((outcome.state, outcome.cancel_requested), (CommandState::Sent, true));
    drop(client);
    assert_eq!(sent.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);
    assert_eq!(sent.outcome().map(|outcome| outcome.state), Some(CommandState::Cancelled));

    let mut client = broker.dial().await?;
    client.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    client.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let mut had = submit(&publisher, "pc-1", no_slot()).await?;
    let (packet_id, _) = client.command().await?;
    client.acknowledge(packet_id).await?;
    assert_eq!(had.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    assert_eq!(management.cancel(had.id()).await?.outcomes[0].state, CommandState::Acknowledged);
    Ok(())
}

#[tokio::test]
async fn every_change_of_state_goes_to_the_response_topic_with_its_correlation() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let profile = broker.profile()?;
    let mut operator = broker.dial().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", profile.secret.expose())).await?;
    assert_eq!(operator.subscribe("wake/v1/operators/admin/responses/#", 1).await?, 1);

    let topic = "wake/v1/operators/admin/responses/me/1";
    let with = [Property::response_topic(topic), Property::correlation(b"c-1")];
    let id = new_command_id().expect("random numbers");
    let payload = format!(r#"{{"id":"{id}","kind":"wake"}}"#);
    let packet_id = operator.publish("wake/v1/agents/pc-1/commands", payload.as_bytes(), &with).await?;
    let mut states = Vec::new();
    let mut accepted = false;
    while states.last().map(String::as_str) != Some("done") {
        match operator.next().await? {
            Some(Packet::PubAck { packet_id: of, code: 0, .. }) if of == packet_id => accepted = true,
            Some(Packet::Publish { topic: to, payload, packet_id, properties, .. }) => {
                assert_eq!(to, topic);
                assert_eq!(properties.data(0x09), Some(&b"c-1"[..]));
                let update: serde_json::Value = serde_json::from_slice(&payload)?;
                assert_eq!(
                    (update["id"].as_str(), update["agent"].as_str()),
                    (Some(&*id.to_string()), Some("pc-1"))
                );
                states.push(update["state"].as_str().unwrap_or_default().to_owned());
                operator.acknowledge(packet_id.expect("QoS 1 was asked for")).await?;
                if update["state"] == "acknowledged" {
                    within("the command", agent.next_command()).await?.expect("the agent runs").done(None);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(accepted, "done before it was accepted");
    assert_eq!(states, ["queued", "sent", "acknowledged", "done"]);

    // A Response Topic that is not the operator's own.
    let foreign = [Property::response_topic("wake/v1/operators/other/responses/1")];
    let packet_id = operator.publish("wake/v1/agents/pc-1/commands", br#"{"kind":"wake"}"#, &foreign).await?;
    let refused = operator.next().await?;
    assert!(
        matches!(refused, Some(Packet::PubAck { packet_id: of, code: 0x87, .. }) if of == packet_id),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_this_version_does_not_bring_is_refused() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let secret = broker.profile()?.secret;
    let mut operator = broker.dial().await?;
    operator.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    for (topic, payload, code) in [
        ("wake/v1/groups/nowhere/commands", &br#"{"kind":"wake"}"#[..], 0x83),
        ("wake/v1/agents/pc-1/commands", br#"{"kind":"defragment"}"#, 0x83),
        ("wake/v1/agents/pc-1/commands", br#"{"kind":"power","ttl":0}"#, 0x83),
        ("wake/v1/groups/commands", br#"{"kind":"power"}"#, 0x83),
        ("wake/v1/agents/nobody/commands", br#"{"kind":"wake"}"#, 0x83),
        ("wake/v1/agents/pc-1/commands", br#"{"kind":"#, 0x99),
        ("wake/v1/agents/pc-1/commands", br#"{"kind":"wake","ttl":2592001}"#, 0x99),
    ] {
        let (told, reason) = operator.published(topic, payload).await?;
        assert_eq!(told, code, "{topic} {reason:?}");
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{topic}");
    }

    let mut operator = broker.dial().await?;
    operator.enter(&Login::new(Version::V4, "op:admin", secret.expose())).await?;
    // 3.1.1 cannot say no in a PUBACK: it is recorded as refused, and acknowledged.
    let id = new_command_id().expect("random numbers");
    let payload = format!(r#"{{"id":"{id}","kind":"defragment"}}"#);
    assert_eq!(operator.published("wake/v1/agents/pc-1/commands", payload.as_bytes()).await?, (0, None));
    assert_eq!(shown(&broker, id).await?.state, CommandState::Refused);

    let mut agent = broker.dial().await?;
    agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    assert_eq!(agent.subscribe("wake/v1/agents/pc-1/commands", 0).await?, 0x83, "QoS 0 acknowledges nothing");
    Ok(())
}
