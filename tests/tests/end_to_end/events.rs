//! Events over the bus to operators: reports of agents, a bus that dies, an operator that does not read.

use anyhow::{Context as _, Result, bail};
use wakemq_broker::engine::Events as _;
use wakemq_protocol::http::{OperatorChange, Profile};
use wakemq_protocol::{Event, EventBody, EventNews, Kind, Report, Role, SecurityWhat, Submission, Timestamp};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version, frame, text};
use wakemq_tests::wait::{LIMIT, eventually, within};

use crate::rights;

/// An operator that may see everything, connected.
async fn operator(broker: &InProcessBroker, version: Version) -> Result<Client> {
    let mut client = broker.dial_in_memory().await?;
    let secret = broker.profile()?.secret;
    client.enter(&Login::new(version, "op:admin", secret.expose())).await?;
    Ok(client)
}

/// The next event, acknowledged if it came at QoS 1.
async fn event(client: &mut Client) -> Result<(String, Event)> {
    match client.next().await? {
        Some(Packet::Publish { topic, payload, packet_id, .. }) => {
            if let Some(packet_id) = packet_id {
                client.acknowledge(packet_id).await?;
            }
            Ok((topic, serde_json::from_slice(&payload)?))
        }
        other => bail!("no event: {other:?}"),
    }
}

fn news(detail: &str) -> EventNews {
    news_in("bus", detail)
}

fn news_in(group: &str, detail: &str) -> EventNews {
    EventNews {
        at: Timestamp::from_unix_ms(0),
        group: group.parse().expect("a good group"),
        body: EventBody::Security {
            what: SecurityWhat::WrongSecrets,
            who: None,
            addresses: Vec::new(),
            detail: detail.to_owned(),
        },
    }
}

/// Follows only what these tests publish.
const FILTER: &str = "wake/v1/events/security/bus/#";

#[tokio::test]
async fn reports_of_agents_come_to_operators_who_follow() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut followers = Vec::new();
    for (version, qos) in [(Version::V4, 0), (Version::V5, 0), (Version::V4, 1), (Version::V5, 1)] {
        let mut follower = operator(&broker, version).await?;
        assert_eq!(follower.subscribe("wake/v1/events/report/#", qos).await?, qos);
        followers.push((follower, qos));
    }
    let mut agent = broker.dial().await?;
    agent.enter(&Login::new(Version::V5, "pc-1", made[0].1.expose())).await?;
    const REPORTS: &str = "wake/v1/agents/pc-1/reports";
    for bad in [&b"[]"[..], b"hunter2", b"{}{}"] {
        assert_eq!(agent.published(REPORTS, bad).await?.0, 0x99);
    }
    for n in 1..=3_u64 {
        assert_eq!(agent.published(REPORTS, format!(r#"{{"n":{n}}}"#).as_bytes()).await?, (0, None));
        for (follower, _) in &mut followers {
            let (topic, event) = event(follower).await?;
            assert!(topic.starts_with("wake/v1/events/report"), "{topic}");
            assert_eq!(event.seq, n);
            let report = Report::from_json(format!(r#"{{"n":{n}}}"#).as_bytes())?.0;
            assert_eq!(event.news.body, EventBody::Report { agent: "pc-1".parse()?, report });
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_events_and_own_responses_are_subscribed_to() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    for (version, refused) in [(Version::V4, 0x80), (Version::V5, 0x87)] {
        let mut client = operator(&broker, version).await?;
        for foreign in ["#", "wake/v1/#", "wake/v1/events", "wake/v1/+/command", "wake/v1/agents/+/commands"]
        {
            assert_eq!(client.subscribe(foreign, 1).await?, refused, "{foreign}");
        }
        for own in ["wake/v1/events/#", "wake/v1/events/+/a/#", "wake/v1/events/command"] {
            assert_eq!(client.subscribe(own, 1).await?, 1, "{own}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_an_operator_sees_is_what_it_may_see_at_that_moment() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let bus = broker.broker.bus();
    let profile = rights::operator(&broker, "part", Role::Operator, "a/x").await?;
    let mut part = broker.dial().await?;
    part.enter(&Login::new(Version::V5, "op:part", profile.secret.expose())).await?;
    assert_eq!(part.subscribe("wake/v1/events/security/#", 0).await?, 0);
    let all = ["a", "a/x", "b/y", "b", ""];
    let publish_all = || all.into_iter().for_each(|group| bus.publish(news_in(group, group)));
    publish_all();
    assert_eq!(event(&mut part).await?.1.news, news_in("a/x", "a/x"));

    let change =
        |role, group: &str| -> Result<_> { Ok(OperatorChange { role, group: Some(group.parse()?) }) };
    let name = "part".parse()?;
    broker.management()?.change_operator(&name, &change(None, "b")?).await?;
    publish_all();
    assert_eq!(event(&mut part).await?.1.news, news_in("b/y", "b/y"));
    assert_eq!(event(&mut part).await?.1.news, news_in("b", "b"));
    broker.management()?.change_operator(&name, &change(Some(Role::Viewer), "")?).await?;
    assert_eq!(part.published("wake/v1/groups/commands", br#"{"kind":"wake"}"#).await?.0, 0x87);
    publish_all();
    for group in all {
        assert_eq!(event(&mut part).await?.1.news, news_in(group, group));
    }
    broker.management()?.revoke_operator(&name).await?;
    assert_eq!(part.closed().await?, Some(0x87));
    Ok(())
}

#[tokio::test]
async fn an_operators_will_is_authorised_when_it_connects() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    // It is in the group `test`.
    broker.import(&["pc-1"]).await?;
    let inside = rights::operator(&broker, "inside", Role::Operator, "test").await?;
    let outside = rights::operator(&broker, "outside", Role::Operator, "elsewhere").await?;
    let viewer = rights::operator(&broker, "viewer", Role::Viewer, "").await?;
    let (agent, group) = ("wake/v1/agents/pc-1/commands", "wake/v1/groups/test/commands");
    for (profile, topic, admitted) in [
        (&inside, agent, true),
        (&inside, group, true),
        (&inside, "wake/v1/groups/commands", false),
        (&outside, agent, false),
        (&outside, group, false),
        (&viewer, agent, false),
        (&viewer, group, false),
    ] {
        for (version, refused) in [(Version::V4, 5), (Version::V5, 0x87)] {
            let mut client = broker.dial().await?;
            client.speak(version);
            client.send(&connect_with_will(version, profile, topic)).await?;
            let answer = client.next().await?;
            let Some(Packet::ConnAck { code, .. }) = answer else { bail!("no CONNACK: {answer:?}") };
            assert_eq!(code, if admitted { 0 } else { refused }, "{} {topic}", profile.operator);
        }
    }
    Ok(())
}

/// A CONNECT with a will of QoS 1 (MQTT 3.1.1 and 5 §3.1).
fn connect_with_will(version: Version, profile: &Profile, topic: &str) -> Vec<u8> {
    let (level, no_properties) = match version {
        Version::V4 => (4, &[][..]),
        Version::V5 => (5, &[0][..]),
    };
    let user = format!("op:{}", profile.operator);
    let body = [
        &text(b"MQTT"),
        &[level, 0b1100_1110, 0, 60][..],
        no_properties,
        &text(b""),
        no_properties,
        &text(topic.as_bytes()),
        &text(br#"{"kind":"wake"}"#),
        &text(user.as_bytes()),
        &text(profile.secret.expose().as_bytes()),
    ];
    frame(0x10, &body.concat())
}

#[tokio::test]
async fn a_bus_that_dies_is_built_anew_and_wakes_do_not_notice() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let bus = broker.broker.bus();
    let (_home, mut agent) = broker.agent("pc-1").await?;
    let publisher = broker.publisher().await?;
    let mut follower = operator(&broker, Version::V5).await?;
    assert_eq!(follower.subscribe(FILTER, 1).await?, 1);
    bus.publish(news("before"));
    assert_eq!(event(&mut follower).await?.1.seq, 1);

    bus.kill_router();
    let rebuilt = async || Ok((broker.scrape()?.of("wakemq_bus_rebuilds_total")? >= 1.0).then_some(()));
    // Meanwhile a command takes its way.
    let submission = Submission::new(Kind::Wake);
    let mut submitted = publisher.submit(agent.id().clone(), submission).await?;
    within("the command", agent.next_command()).await?.context("the agent runs")?.done(None);
    assert_eq!(submitted.wait(Wanted::Done, LIMIT).await?, Verdict::Reached);
    eventually("the bus to be built anew", rebuilt).await?;

    // Its SUBACK tells that the operator has a link to the new one.
    assert_eq!(follower.subscribe("wake/v1/events/power/bus", 0).await?, 0);
    bus.publish(news("after"));
    let (_, after) = event(&mut follower).await?;
    assert_eq!(after.news, news("after"));
    assert_eq!(after.seq, 3, "the gap tells that something may be missing");
    bus.publish(news("on"));
    assert_eq!(event(&mut follower).await?.1.seq, 4);
    Ok(())
}

#[tokio::test]
async fn an_operator_that_does_not_read_loses_events_with_a_count_and_nobody_else_does() -> Result<()> {
    const EVENTS: u64 = 500;
    let broker = InProcessBroker::start(Injected::default()).await?;
    let bus = broker.broker.bus();
    for qos in [0, 1] {
        let mut slow = operator(&broker, Version::V5).await?;
        let mut quick = operator(&broker, Version::V5).await?;
        for client in [&mut slow, &mut quick] {
            assert_eq!(client.subscribe(FILTER, qos).await?, qos);
        }
        let long = "x".repeat(20_000);
        for n in 1..=EVENTS {
            bus.publish(news(&long));
            assert_eq!(event(&mut quick).await?.1.seq, n);
        }
        // Whatever came before the answer was sent before it was asked for.
        slow.send(&frame(0xC0, &[])).await?;
        let mut got = 0;
        let mut ping = false;
        let last = loop {
            match slow.next().await? {
                Some(Packet::Publish { payload, packet_id, .. }) => {
                    let event: Event = serde_json::from_slice(&payload)?;
                    if let Some(packet_id) = packet_id {
                        slow.acknowledge(packet_id).await?;
                    }
                    if event.news == news("after") {
                        break event.seq;
                    }
                    got += 1;
                }
                Some(Packet::PingResp) if !ping => {
                    ping = true;
                    bus.publish(news("after"));
                }
                other => bail!("the slow one is to stay: {other:?}"),
            }
        };
        assert_eq!(event(&mut quick).await?.1.seq, EVENTS + 1);
        assert!(got < EVENTS, "all {got} found room");
        assert_eq!(last, EVENTS + 1, "every one that was lost has its number");
    }
    Ok(())
}
