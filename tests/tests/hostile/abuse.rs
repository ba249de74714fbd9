//! Well-formed, and still not right: what agents and operators may not do, or not so often.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wakemq_protocol::http::OperatorRequest;
use wakemq_protocol::{
    AgentId, CommandState, Event, EventBody, Kind, Role, Secret, SecurityWhat, Submission,
};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::{eventually, within};

use crate::case::{Peer, Role as Side};
use crate::packet::{Connect, Will};

/// How many commands may be pending for an agent (design §2).
const PENDING_MAX: u64 = 100;
/// How many publishes of an agent are read in a second (design §4).
const PER_SECOND: u32 = 10;

fn id(number: u64) -> String {
    format!("0197c1b2-0000-7000-8000-{number:012x}")
}

fn wake(number: u64, more: &str) -> String {
    format!(r#"{{"id":"{}","kind":"wake"{more}}}"#, id(number))
}

fn receipt(number: u64) -> String {
    format!(r#"{{"id":"{}","state":"done"}}"#, id(number))
}

fn commands(agent: &str) -> String {
    format!("wake/v1/agents/{agent}/commands")
}

async fn agent(broker: &InProcessBroker, version: Version, name: &str, secret: &Secret) -> Result<Client> {
    let mut client = broker.dial_in_memory().await?;
    client.enter(&Login::new(version, name, secret.expose())).await?;
    Ok(client)
}

async fn admin(broker: &InProcessBroker, version: Version) -> Result<Client> {
    let mut client = broker.dial_in_memory().await?;
    client.enter(&Login::new(version, "op:admin", broker.profile()?.secret.expose())).await?;
    Ok(client)
}

async fn state(broker: &InProcessBroker, number: u64, agent: &str) -> Result<CommandState> {
    let command = broker.management()?.command(id(number).parse()?).await?;
    let outcomes = serde_json::to_value(&command)?["outcomes"].clone();
    let of = |outcome: &serde_json::Value| outcome["agent"] == agent;
    let found = outcomes.as_array().and_then(|all| all.iter().find(|outcome| of(outcome)));
    let outcome = found.with_context(|| format!("{agent} has no outcome in {outcomes}"))?;
    Ok(serde_json::from_value(outcome["state"].clone())?)
}

/// The next `security` event of that kind.
async fn security(client: &mut Client, wanted: SecurityWhat) -> Result<(Option<String>, Vec<String>)> {
    loop {
        match client.next().await? {
            Some(Packet::Publish { payload, .. }) => {
                let event: Event = serde_json::from_slice(&payload)?;
                if let EventBody::Security { what, who, addresses, .. } = event.news.body
                    && what == wanted
                {
                    return Ok((who, addresses));
                }
            }
            other => bail!("no event: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_receipt_for_another_agents_command_changes_nothing_and_is_told() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    let mut operator = admin(&broker, Version::V5).await?;
    assert_eq!(operator.subscribe("wake/v1/events/security/#", 0).await?, 0);
    for (number, version) in [(1, Version::V5), (2, Version::V4)] {
        let mut publisher = admin(&broker, Version::V5).await?;
        assert_eq!(publisher.published(&commands("pc-2"), wake(number, "").as_bytes()).await?.0, 0);
        let mut thief = agent(&broker, version, "pc-1", &made[0].1).await?;
        // It is acknowledged, or it would be sent for ever.
        let receipts = "wake/v1/agents/pc-1/receipts";
        assert_eq!(thief.published(receipts, receipt(number).as_bytes()).await?.0, 0);
        assert_eq!(state(&broker, number, "pc-2").await?, CommandState::Queued, "{version:?}");
        if number == 1 {
            let (who, _) = security(&mut operator, SecurityWhat::ForeignReceipt).await?;
            assert_eq!(who.as_deref(), Some("agent:pc-1"));
        }
        // Nor through the other's own topic.
        match version {
            Version::V5 => {
                let foreign = "wake/v1/agents/pc-2/receipts";
                assert_eq!(thief.published(foreign, receipt(number).as_bytes()).await?.0, 0x87);
            }
            Version::V4 => {
                thief.publish("wake/v1/agents/pc-2/receipts", receipt(number).as_bytes(), &[]).await?;
                assert_eq!(thief.closed().await?, None);
            }
        }
        assert_eq!(state(&broker, number, "pc-2").await?, CommandState::Queued, "{version:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_id_that_is_in_use_stands_for_what_it_stood_for() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1", "pc-2"]).await?;
    for (number, version) in [(1, Version::V5), (2, Version::V4)] {
        let mut client = admin(&broker, version).await?;
        assert_eq!(client.published(&commands("pc-1"), wake(number, "").as_bytes()).await?.0, 0);
        // The same again is the same.
        assert_eq!(client.published(&commands("pc-1"), wake(number, "").as_bytes()).await?.0, 0);
        let others = [
            (commands("pc-1"), wake(number, r#","ttl":60"#)),
            (commands("pc-1"), wake(number, r#","reason":"another""#)),
            (commands("pc-2"), wake(number, "")),
            ("wake/v1/groups/test/commands".to_owned(), wake(number, "")),
        ];
        for (topic, body) in others {
            let (code, reason) = client.published(&topic, body.as_bytes()).await?;
            match version {
                Version::V5 => {
                    assert_eq!(code, 0x83, "{topic} {body}");
                    assert!(reason.is_some_and(|reason| reason.contains("id_conflict")));
                }
                // 3.1.1 cannot be told: it is recorded as refused, under an id of the broker's own.
                Version::V4 => assert_eq!(code, 0, "{topic} {body}"),
            }
        }
        assert_eq!(state(&broker, number, "pc-1").await?, CommandState::Queued);
        client.ping().await?;
    }
    assert_eq!(broker.management()?.agent(&"pc-2".parse()?).await?.pending, 0, "nothing came through");
    Ok(())
}

#[tokio::test]
async fn the_101st_pending_command_is_refused_and_room_opens_again() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let topic = commands("pc-1");
    let mut five = admin(&broker, Version::V5).await?;
    for number in 1..=PENDING_MAX {
        assert_eq!(
            five.published(&topic, wake(number, r#","slot":null"#).as_bytes()).await?.0,
            0,
            "{number}"
        );
    }
    let (code, reason) = five.published(&topic, wake(101, r#","slot":null"#).as_bytes()).await?;
    assert_eq!(code, 0x97);
    assert!(reason.is_some_and(|reason| reason.contains("100")), "people are told the limit");
    let mut old = admin(&broker, Version::V4).await?;
    assert_eq!(old.published(&topic, wake(102, r#","slot":null"#).as_bytes()).await?.0, 0);
    assert_eq!(
        state(&broker, 102, "pc-1").await?,
        CommandState::Refused,
        "recorded where 3.1.1 cannot be told"
    );
    let pending =
        async || Ok::<_, anyhow::Error>(broker.management()?.agent(&"pc-1".parse()?).await?.pending);
    assert_eq!(u64::from(pending().await?), PENDING_MAX);

    let mut agent = agent(&broker, Version::V5, "pc-1", &made[0].1).await?;
    agent.subscribe(&topic, 1).await?;
    let (packet_id, _) = agent.command().await?;
    agent.acknowledge(packet_id).await?;
    eventually("room for one more", async || Ok((u64::from(pending().await?) < PENDING_MAX).then_some(())))
        .await?;
    assert_eq!(five.published(&topic, wake(103, r#","slot":null"#).as_bytes()).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn a_flood_of_facts_and_reports_pauses_its_sender_and_nobody_else() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["loud", "witness"]).await?;
    let mut witness = agent(&broker, Version::V5, "witness", &made[1].1).await?;
    witness.subscribe(&commands("witness"), 1).await?;
    let publisher = broker.publisher().await?;
    let target = wakemq_protocol::Target::Agent("witness".parse::<AgentId>()?);
    for version in Version::BOTH {
        let mut loud = agent(&broker, version, "loud", &made[0].1).await?;
        let began = Instant::now();
        // Three seconds' worth at once.
        let count = 3 * PER_SECOND;
        for n in 0..count {
            let (topic, payload) = match n % 2 {
                0 => ("wake/v1/agents/loud/facts", r#"{"instance":"x"}"#),
                _ => ("wake/v1/agents/loud/reports", r#"{"n":1}"#),
            };
            loud.publish(topic, payload.as_bytes(), &[]).await?;
        }
        let mut answered = Vec::new();
        for n in 0..count {
            match loud.next().await? {
                Some(Packet::PubAck { code: 0, .. }) => answered.push(began.elapsed()),
                other => panic!("{n}: {other:?}"),
            }
            if n == PER_SECOND {
                // It is paused now; others are not.
                let submitted = publisher.submit(target.clone(), Submission::new(Kind::Wake));
                within("a wake to be accepted", submitted).await??;
                let (packet_id, _) = witness.command().await?;
                witness.acknowledge(packet_id).await?;
            }
        }
        // All are read in the end, and no more than ten in a second: the last ten not before two have passed.
        let at_least = |secs: u64| Duration::from_secs(secs) - Duration::from_millis(50);
        let (eleventh, last) = (answered[PER_SECOND as usize], answered[count as usize - 1]);
        assert!(eleventh >= at_least(1), "{version:?}: the eleventh after {eleventh:?}");
        assert!(last >= at_least(2), "{version:?}: the last after {last:?}");
        loud.ping().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_shared_subscription_gets_no_command_and_leaves_the_inbox_alone() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let mut publisher = admin(&broker, Version::V5).await?;
    assert_eq!(publisher.published(&commands("pc-1"), wake(1, "").as_bytes()).await?.0, 0);
    for (version, refused) in [(Version::V5, 0x9E), (Version::V4, 0x80)] {
        let mut agent = agent(&broker, version, "pc-1", &made[0].1).await?;
        let shared = format!("$share/g/{}", commands("pc-1"));
        assert_eq!(agent.subscribe(&shared, 1).await?, refused);
        // The answer to a ping comes next, and no command before it: not subscribed is offline.
        agent.ping().await?;
        assert_eq!(state(&broker, 1, "pc-1").await?, CommandState::Queued);
        let mut operator = admin(&broker, version).await?;
        assert_eq!(operator.subscribe("$share/g/wake/v1/events/#", 1).await?, refused);
    }
    Ok(())
}

/// Connects with a will and is gone without a DISCONNECT.
async fn die_with_will(
    broker: &InProcessBroker,
    connect: &Connect,
    meanwhile: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let mut client = broker.dial_in_memory().await?;
    client.speak(connect.version);
    client.send(&connect.bytes()).await?;
    match client.next().await? {
        Some(Packet::ConnAck { code: 0, .. }) => {}
        other => bail!("not let in: {other:?}"),
    }
    meanwhile().await
}

#[tokio::test]
async fn a_will_is_authorised_when_it_is_published_too() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    let mut management = broker.management()?;
    let request =
        OperatorRequest { operator: "night".parse()?, role: Role::Operator, group: "test".parse()? };
    let answer = within("an operator", management.create_operator(&request)).await??;
    let secret = serde_json::to_value(&answer)?["secret"].as_str().context("no secret")?.to_owned();
    let mut number = 0;
    for version in Version::BOTH {
        for revoked in [false, true] {
            number += 1;
            let peer = Peer { version, role: Side::Operator, connected: false };
            let will = Will {
                topic: commands("pc-1").into(),
                payload: wake(number, "").into(),
                ..Will::of(peer.role)
            };
            let connect = Connect {
                will: Some(will),
                user: Some(b"op:night".to_vec()),
                password: Some(secret.clone().into()),
                ..Connect::of(peer)
            };
            die_with_will(&broker, &connect, async || {
                let mut management = broker.management()?;
                let group = if revoked { "elsewhere" } else { "test" };
                let change =
                    wakemq_protocol::http::OperatorChange { role: None, group: Some(group.parse()?) };
                within("a change of rights", management.change_operator(&"night".parse()?, &change))
                    .await??;
                Ok(())
            })
            .await?;
            let command = id(number).parse()?;
            if revoked {
                // Its connection is gone, and so its will is judged, once it is in the registry no more.
                eventually("the connection to have ended", async || {
                    let live = broker.broker.engine().registry().live();
                    Ok((live.mailboxes == 0).then_some(()))
                })
                .await?;
                assert!(broker.management()?.command(command).await.is_err(), "{version:?}: it came through");
                let back = wakemq_protocol::http::OperatorChange { role: None, group: Some("test".parse()?) };
                within("a change of rights", management.change_operator(&"night".parse()?, &back)).await??;
            } else {
                eventually("the will's command", async || {
                    Ok(broker.management()?.command(command).await.is_ok().then_some(()))
                })
                .await?;
            }
        }
        // An agent's will is its last receipt; one for another agent's command changes nothing.
        number += 1;
        let mut publisher = admin(&broker, Version::V5).await?;
        assert_eq!(publisher.published(&commands("pc-2"), wake(number, "").as_bytes()).await?.0, 0);
        for (name, secret, wanted) in
            [("pc-1", &made[0].1, CommandState::Queued), ("pc-2", &made[1].1, CommandState::Done)]
        {
            let peer = Peer { version, role: Side::Agent, connected: false };
            let topic = format!("wake/v1/agents/{name}/receipts").into_bytes();
            let connect = Connect {
                will: Some(Will { topic, payload: receipt(number).into(), ..Will::of(peer.role) }),
                client_id: name.into(),
                user: Some(name.into()),
                password: Some(secret.expose().into()),
                ..Connect::of(peer)
            };
            die_with_will(&broker, &connect, async || Ok(())).await?;
            eventually("the will to be taken", async || {
                let agents = broker.broker.engine().registry().live().agents;
                Ok((agents == 0 && state(&broker, number, "pc-2").await? == wanted).then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_hammers_wrong_secrets_is_told_to_operators() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1"]).await?;
    let mut operator = admin(&broker, Version::V5).await?;
    operator.subscribe("wake/v1/events/security/#", 0).await?;
    let wrong = Secret::from_random(wakemq_protocol::SecretKind::Agent, &[3; 32]);
    let (mut delays, mut knocking) = (Vec::new(), Vec::new());
    for knock in 0..8 {
        let mut client = broker.dial_in_memory().await?;
        let began = Instant::now();
        client.send(&wakemq_tests::raw::connect(&Login::new(Version::V5, "pc-1", wrong.expose()))).await?;
        // The first ones are answered one by one; what is delayed longer is left waiting.
        if knock < 5 {
            assert!(matches!(client.next().await?, Some(Packet::ConnAck { code: 0x86, .. })), "{knock}");
            delays.push(began.elapsed());
        } else {
            knocking.push(client);
        }
    }
    assert!(delays[3] >= Duration::from_millis(900), "the fourth is answered later: {delays:?}");
    assert!(delays[4] >= delays[3] + Duration::from_millis(500), "and the fifth later still: {delays:?}");
    let (who, addresses) = security(&mut operator, SecurityWhat::WrongSecrets).await?;
    assert_eq!((who, addresses), (None, vec!["127.0.0.1".to_owned()]));
    Ok(())
}
