//! Who may come in and stay: wrong secrets, foreign names, takeover, clones, revocation.

use std::time::{Duration, Instant};

use anyhow::Result;
use wakemq_agent::{Connection, Problem};
use wakemq_link::http::Method;
use wakemq_protocol::{AgentId, CommandState, Kind, Submission};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::agents::status;
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Packet, Property, Version};
use wakemq_tests::wait::{LIMIT, within};

/// What a refused CONNECT is answered with: the code.
async fn refusal(broker: &InProcessBroker, login: &Login) -> Result<Option<u8>> {
    let mut client = broker.dial().await?;
    let answer = client.login(login).await?;
    match answer {
        Some(Packet::ConnAck { code, properties }) => {
            if login.version == Version::V5 && code != 0 {
                assert!(properties.reason().is_some(), "no Reason String with {code:#x}");
            }
            if code != 0 {
                assert_eq!(client.closed().await?, None, "after a refusal comes only the close");
            }
            Ok(Some(code))
        }
        None => Ok(None),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_never_a_silent_close() -> Result<()> {
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    let operator = broker.profile()?.secret;
    let wrong = wakemq_protocol::Secret::from_random(wakemq_protocol::SecretKind::Agent, &[3; 32]);
    for (user, password) in [
        ("pc-1", wrong.expose()),
        ("pc-1", ""),
        ("pc-1", "not a secret at all"),
        ("pc-1", made[1].1.expose()),
        ("pc-1", operator.expose()),
        ("nobody", made[0].1.expose()),
        ("op:admin", made[0].1.expose()),
        ("op:nobody", operator.expose()),
        ("admin", operator.expose()),
    ] {
        // Long enough for the wrong secrets before to be forgotten.
        time.pass(600_000);
        let login = |version| Login::new(version, user, password);
        assert_eq!(refusal(&broker, &login(Version::V5)).await?, Some(0x86), "{user}");
        let told = refusal(&broker, &login(Version::V4)).await?;
        assert!(matches!(told, Some(4 | 5)), "{user}: {told:?}");
    }
    assert_eq!(refusal(&broker, &Login::new(Version::V4, "pc-1", made[0].1.expose())).await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_foreign_client_id_is_refused() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    for (version, code) in [(Version::V5, 0x85), (Version::V4, 2)] {
        let own = Login::new(version, "pc-1", made[0].1.expose());
        let foreign = Login { client_id: "pc-2".into(), ..own.clone() };
        assert_eq!(refusal(&broker, &foreign).await?, Some(code), "{version:?}");
        let spelled = Login { client_id: "PC-1".into(), ..own.clone() };
        assert_eq!(refusal(&broker, &spelled).await?, Some(0), "two spellings are one id");
        let assigned = Login { client_id: String::new(), ..own };
        assert_eq!(refusal(&broker, &assigned).await?, Some(0), "an empty one is assigned");
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_inbox_can_neither_be_read_nor_written() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    let operator = broker.profile()?.secret;
    for (version, refused) in [(Version::V5, 0x87), (Version::V4, 0x80)] {
        for filter in [
            "wake/v1/agents/pc-2/commands",
            "wake/v1/agents/+/commands",
            "#",
            "wake/v1/operators/admin/responses/#",
        ] {
            let mut agent = broker.dial().await?;
            agent.enter(&Login::new(version, "pc-1", made[0].1.expose())).await?;
            assert_eq!(agent.subscribe(filter, 1).await?, refused, "{version:?} {filter}");
            // It stays connected, and its own inbox is open to it.
            assert_eq!(agent.subscribe("wake/v1/agents/pc-1/commands", 1).await?, 1);
        }
        for filter in ["wake/v1/agents/pc-1/commands", "wake/v1/operators/other/responses/#", "#"] {
            let mut client = broker.dial().await?;
            client.enter(&Login::new(version, "op:admin", operator.expose())).await?;
            assert_eq!(client.subscribe(filter, 1).await?, refused, "{version:?} operator {filter}");
        }
        for topic in [
            "wake/v1/agents/pc-2/commands",
            "wake/v1/agents/pc-2/receipts",
            "wake/v1/agents/pc-1/commands",
            "x",
        ] {
            let mut agent = broker.dial().await?;
            agent.enter(&Login::new(version, "pc-1", made[0].1.expose())).await?;
            match version {
                Version::V5 => {
                    let (code, reason) = agent.published(topic, br#"{"kind":"wake"}"#).await?;
                    assert_eq!(code, 0x87, "{topic}");
                    assert!(reason.is_some());
                    agent.ping().await?;
                }
                Version::V4 => {
                    agent.publish(topic, br#"{"kind":"wake"}"#, &[]).await?;
                    assert_eq!(agent.closed().await?, None, "closed without a PUBACK: {topic}");
                }
            }
        }
    }
    let row = broker.management()?.agent(&"pc-2".parse()?).await?;
    assert_eq!(row.pending, 0, "nothing has reached the foreign inbox");
    Ok(())
}

#[tokio::test]
async fn a_newer_connection_of_an_agent_takes_over_with_its_inbox() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let login = Login::new(Version::V5, "pc-1", made[0].1.expose());
    let mut older = broker.dial().await?;
    older.enter(&login).await?;
    older.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let publisher = broker.publisher().await?;
    let mut sent =
        within("a submission", publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)))
            .await??;
    let (late, first) = older.command().await?;

    let mut newer = broker.dial().await?;
    newer.enter(&login).await?;
    assert_eq!(older.closed().await?, Some(0x8E));
    newer.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
    let (packet_id, second) = newer.command().await?;
    assert_eq!(first["id"], second["id"], "what was not acknowledged goes out again");
    // The older one is gone: its acknowledgement cannot count.
    older.acknowledge(late).await.ok();
    newer.acknowledge(packet_id).await?;
    assert_eq!(sent.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
    Ok(())
}

#[tokio::test]
async fn the_agent_library_steps_back_when_it_is_taken_over() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let (home, agent) = broker.agent("pc-1").await?;
    let secret = wakemq_agent::StateDir::open(&home.state());
    assert!(secret.is_err(), "one process for each state directory");
    let identity: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.state().join("identity.json"))?)?;
    let secret = identity["secret"].as_str().unwrap_or_default();
    let mut other = broker.dial().await?;
    other.enter(&Login::new(Version::V5, "pc-1", secret)).await?;
    status(&agent, "to be taken over", |now| {
        let wait = Duration::from_secs(30)..=Duration::from_secs(90);
        matches!(now, Connection::Waiting { problem: Problem::TakenOver, retry_in } if wait.contains(retry_in))
    })
    .await
}

#[tokio::test]
async fn of_two_clones_that_alternate_both_are_slowed_down() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let login = |instance: &str| Login {
        properties: vec![Property::User("instance".into(), instance.into())],
        ..Login::new(Version::V5, "pc-1", made[0].1.expose())
    };
    let mut first = broker.dial().await?;
    first.enter(&login("one")).await?;
    let mut second = broker.dial().await?;
    second.enter(&login("two")).await?;
    assert_eq!(first.closed().await?, Some(0x8E), "one takeover is a restart");
    // The first alternation gives the clone away.
    let mut first = broker.dial().await?;
    first.enter(&login("one")).await?;
    assert_eq!(second.closed().await?, Some(0x8E));
    // From now on who comes back is told to wait, and who is connected is left alone.
    for instance in ["two", "three"] {
        let mut again = broker.dial().await?;
        match again.login(&login(instance)).await? {
            Some(Packet::ConnAck { code: 0x9F, properties }) => {
                let secs: u32 = properties.user("wakemq-return").unwrap_or_default().parse()?;
                assert!((30..=60).contains(&secs), "{secs}");
                assert!(properties.reason().is_some_and(|text| text.contains("cloned")));
            }
            other => panic!("{instance}: {other:?}"),
        }
    }
    first.ping().await?;
    // A lost connection of the same instance is no clone.
    let mut again = broker.dial().await?;
    again.enter(&login("one")).await?;
    Ok(())
}

#[tokio::test]
async fn who_is_revoked_while_connected_is_gone_within_a_second() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "pc-2"]).await?;
    let secret = broker.profile()?.secret;
    let publisher = broker.publisher().await?;
    for (version, name, own) in [(Version::V5, "pc-1", &made[0].1), (Version::V4, "pc-2", &made[1].1)] {
        let mut agent = broker.dial().await?;
        let login = Login::new(version, name, own.expose());
        agent.enter(&login).await?;
        agent.subscribe(&format!("wake/v1/agents/{name}/commands"), 1).await?;
        let mut sent =
            within("a submission", publisher.submit(&name.parse::<AgentId>()?, Submission::new(Kind::Wake)))
                .await??;
        agent.command().await?;

        let mut http = broker.http(Some(secret.clone()))?;
        let began = Instant::now();
        let path = format!("/v1/agents/{name}");
        let (status, _) = within("a revocation", http.request(Method::DELETE, &path, None)).await??;
        assert_eq!(status.as_u16(), 204);
        assert_eq!(agent.closed().await?, (version == Version::V5).then_some(0x87));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

        let code = refusal(&broker, &login).await?;
        assert_eq!(code, Some(if version == Version::V5 { 0x86 } else { 4 }));
        assert_eq!(sent.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Missed);
        assert_eq!(sent.outcome().map(|outcome| outcome.state), Some(CommandState::Cancelled));
    }
    Ok(())
}
