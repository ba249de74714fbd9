//! Operators that are limited to a part, and rights that are taken away.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use wakemq_protocol::http::{OperatorRequest, Profile};
use wakemq_protocol::{AgentId, GroupPath, Kind, Role, Submission};
use wakemq_publisher::Management;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version};
use wakemq_tests::wait::within;

const WAKE: &[u8] = br#"{"kind":"wake"}"#;

/// Creates an operator, and returns its profile.
pub(crate) async fn operator(
    broker: &InProcessBroker,
    name: &str,
    role: Role,
    group: &str,
) -> Result<Profile> {
    let request = OperatorRequest { operator: name.parse()?, role, group: group.parse()? };
    let made = broker.management()?.create_operator(&request).await?;
    Ok(Profile { operator: made.operator, secret: made.secret, endpoints: made.endpoints, ca: made.ca })
}

#[tokio::test]
async fn a_revoked_operator_is_out_within_a_second() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1"]).await?;
    let erika = operator(&broker, "erika", Role::Operator, "test").await?;
    let login = Login::new(Version::V5, "op:erika", erika.secret.expose());
    let mut connections = [broker.dial().await?, broker.dial().await?];
    for connection in &mut connections {
        connection.enter(&login).await?;
        assert_eq!(connection.published("wake/v1/agents/pc-1/commands", WAKE).await?.0, 0);
    }
    let mut erikas = Management::new(&erika)?;
    erikas.agent(&"pc-1".parse()?).await?;

    broker.management()?.revoke_operator(&"erika".parse()?).await?;
    let revoked = Instant::now();
    for connection in &mut connections {
        assert_eq!(connection.closed().await?, Some(0x87));
    }
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert!(erikas.agent(&"pc-1".parse()?).await.is_err());
    let mut again = broker.dial().await?;
    let refused = again.login(&login).await?;
    assert!(matches!(refused, Some(wakemq_tests::raw::Packet::ConnAck { code: 0x86, .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_of_a_part_neither_sees_nor_commands_nor_cancels_the_rest() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1"]).await?;
    let mut admin = broker.management()?;
    let pc: AgentId = "pc-1".parse()?;
    let [inside, whole]: [GroupPath; 2] = ["test".parse()?, GroupPath::root()];
    let foreign = admin.submit(&pc, Submission::new(Kind::Wake)).await?;
    let all = admin.submit(whole, Submission::new(Kind::Wake)).await?;

    let part = operator(&broker, "part", Role::Admin, "elsewhere").await?;
    let mut management = Management::new(&part)?;
    assert!(management.agent(&pc).await.is_err());
    assert!(management.agents(&Default::default(), None, 100).await?.agents.is_empty());
    for id in [foreign.id, all.id] {
        assert!(management.command(id).await.is_err() && management.cancel(id).await.is_err());
    }
    assert!(management.submit(&pc, Submission::new(Kind::Wake)).await.is_err());
    assert!(management.submit(inside, Submission::new(Kind::Wake)).await.is_err());
    assert!(management.move_agent(&pc, "elsewhere".parse()?).await.is_err());
    assert!(management.revoke_agent(&pc).await.is_err());
    assert!(management.revoke_operator(&"admin".parse()?).await.is_err());
    let seen = management.operators(None, 100).await?.operators;
    assert_eq!(seen.iter().map(|seen| seen.operator.as_str()).collect::<Vec<_>>(), ["part"]);

    let mut connection = broker.dial().await?;
    connection.enter(&Login::new(Version::V5, "op:part", part.secret.expose())).await?;
    for topic in [
        "wake/v1/agents/pc-1/commands",
        "wake/v1/agents/nobody/commands",
        "wake/v1/groups/test/commands",
        "wake/v1/groups/commands",
    ] {
        assert_eq!(connection.published(topic, WAKE).await?.0, 0x87, "{topic}");
    }
    assert_eq!(connection.published("wake/v1/groups/elsewhere/commands", WAKE).await?.0, 0);
    assert_eq!(admin.agent(&pc).await?.pending, 2, "the admin's own");
    Ok(())
}

#[tokio::test]
async fn the_audit_trail_says_who_from_where_and_what_was_before() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1"]).await?;
    let erika = operator(&broker, "erika", Role::Admin, "test").await?;
    let mut erikas = Management::new(&erika)?;
    erikas.move_agent(&"pc-1".parse()?, "test/floor-2".parse()?).await?;
    let page = within("the audit trail", erikas.audit(None, None, 100)).await??;
    assert!(page.entries.iter().all(|entry| entry.group.as_str().starts_with("test")), "{page:?}");
    let Some(entry) = page.entries.iter().find(|entry| entry.action == "agent.move") else {
        anyhow::bail!("no line for the move: {page:?}");
    };
    assert_eq!((entry.by.as_str(), entry.target.as_str()), ("op:erika", "pc-1"));
    assert!(entry.address.as_deref().is_some_and(|address| address.starts_with("127.0.0.1:")), "{entry:?}");
    assert_eq!(entry.before, Some(serde_json::json!({"group": "test"})));
    assert_eq!(entry.after, Some(serde_json::json!({"group": "test/floor-2"})));
    Ok(())
}
