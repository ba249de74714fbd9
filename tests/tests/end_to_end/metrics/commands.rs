//! Commands, and what becomes of them.

use anyhow::Result;
use wakemq_link::http::{Method, Upload};
use wakemq_protocol::http::OperatorAnswer;
use wakemq_publisher::new_command_id;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version};

use super::{Moved, Watched};

const COMMANDS: &str = "wake/v1/agents/pc-1/commands";
const RECEIPTS: &str = "wake/v1/agents/pc-1/receipts";

fn state(state: &str) -> String {
    format!("wakemq_command_changes_total{{state=\"{state}\"}}")
}

fn refused(reason: &str) -> String {
    format!("wakemq_submissions_refused_total{{reason=\"{reason}\"}}")
}

fn publish_refused(reason: &str) -> String {
    format!("wakemq_publishes_refused_total{{reason=\"{reason}\"}}")
}

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    states_and_receipts(moved).await?;
    submissions(moved).await?;
    groups(moved).await
}

async fn states_and_receipts(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (mut agent, _) = watched.agent("pc-1").await?;
    let secret = watched.broker.profile()?.secret;
    let mut operator = watched.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    let publish = async |operator: &mut wakemq_tests::raw::Client, rest: &str| -> Result<String> {
        let id = new_command_id().expect("random numbers").to_string();
        let payload = format!("{{\"id\":\"{id}\",\"kind\":\"wake\"{rest}}}");
        assert_eq!(operator.published(COMMANDS, payload.as_bytes()).await?.0, 0);
        Ok(id)
    };
    let receipt = |id: &str, state: &str| format!("{{\"id\":\"{id}\",\"state\":\"{state}\"}}");

    let cancelled = publish(&mut operator, ",\"slot\":\"c\"").await?;
    watched.rises(moved, &state("queued")).await?;
    let mut http = watched.broker.http(Some(secret))?;
    let path = format!("/v1/commands/{cancelled}/cancel");
    http.request(Method::POST, &path, Some(Upload::json(&b"{}"[..]))).await?;
    watched.rises(moved, &state("cancelled")).await?;
    publish(&mut operator, "").await?;
    publish(&mut operator, "").await?;
    watched.rises(moved, &state("superseded")).await?;
    publish(&mut operator, ",\"ttl\":0").await?;
    watched.rises(moved, &state("expired")).await?;

    assert_eq!(agent.subscribe(COMMANDS, 1).await?, 1);
    watched.rises(moved, &state("sent")).await?;
    let mut last = String::new();
    for end in ["done", "failed", "refused"] {
        let (packet_id, command) = agent.command().await?;
        agent.acknowledge(packet_id).await?;
        watched.rises(moved, &state("acknowledged")).await?;
        last = command["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(agent.published(RECEIPTS, receipt(&last, end).as_bytes()).await?.0, 0);
        watched.rises(moved, &state(end)).await?;
        publish(&mut operator, "").await?;
    }
    let fate = |fate: &str| format!("wakemq_receipts_total{{fate=\"{fate}\"}}");
    watched.rises(moved, &fate("applied")).await?;
    agent.command().await?;
    agent.published(RECEIPTS, receipt(&last, "failed").as_bytes()).await?;
    watched.rises(moved, &fate("late")).await?;
    let unknown = new_command_id().expect("random numbers").to_string();
    agent.published(RECEIPTS, receipt(&unknown, "done").as_bytes()).await?;
    watched.rises(moved, &fate("unknown")).await?;

    agent.published(RECEIPTS, b"no JSON").await?;
    watched.rises(moved, &publish_refused("payload")).await?;
    agent.published("wake/v1/agents/pc-2/receipts", b"{}").await?;
    watched.rises(moved, &publish_refused("not_allowed")).await
}

async fn submissions(moved: &mut Moved) -> Result<()> {
    let watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (_agent, _) = watched.agent("pc-1").await?;
    let secret = watched.broker.profile()?.secret;
    let mut operator = watched.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    operator.published("wake/v1/agents/nobody/commands", br#"{"kind":"wake"}"#).await?;
    watched.rises(moved, &refused("unknown_target")).await?;
    watched.rises(moved, &publish_refused("other")).await?;
    let id = new_command_id().expect("random numbers");
    for kind in ["wake", "run"] {
        operator.published(COMMANDS, format!("{{\"id\":\"{id}\",\"kind\":\"{kind}\"}}").as_bytes()).await?;
    }
    operator
        .published(COMMANDS, format!("{{\"id\":\"{id}\",\"kind\":\"wake\",\"ttl\":9}}").as_bytes())
        .await?;
    watched.rises(moved, &refused("conflict")).await?;
    for _ in 0..100 {
        operator.published(COMMANDS, br#"{"kind":"wake","slot":null}"#).await?;
    }
    watched.rises(moved, &refused("full")).await?;
    watched.rises(moved, &publish_refused("quota")).await
}

async fn groups(moved: &mut Moved) -> Result<()> {
    const TOPIC: &str = "wake/v1/groups/test/commands";
    let mut watched = Watched::new(InProcessBroker::start(Injected::default()).await?)?;
    let (_agent, _) = watched.agent("pc-1").await?;
    watched.rises(moved, "wakemq_audit_lines_total").await?;
    watched.again()?;
    let secret = watched.broker.profile()?.secret;
    let mut operator = watched.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    let mut http = watched.broker.http(Some(secret.clone()))?;
    let change = |state: &str| format!("wakemq_group_command_changes_total{{state=\"{state}\"}}");
    let id = new_command_id().expect("random numbers");
    assert_eq!(operator.published(TOPIC, br#"{"kind":"wake"}"#).await?.0, 0);
    watched.rises(moved, &change("queued")).await?;
    watched.rises(moved, "wakemq_audit_lines_total").await?;
    assert_eq!(
        operator.published(TOPIC, format!("{{\"id\":\"{id}\",\"kind\":\"wake\"}}").as_bytes()).await?.0,
        0
    );
    watched.rises(moved, &change("superseded")).await?;
    http.request(Method::POST, &format!("/v1/commands/{id}/cancel"), Some(Upload::json(&b"{}"[..]))).await?;
    watched.rises(moved, &change("cancelled")).await?;
    assert_eq!(operator.published(TOPIC, br#"{"kind":"wake","ttl":0}"#).await?.0, 0);
    watched.rises(moved, &change("expired")).await?;
    let mut older = watched.enter(&Login::new(Version::V4, "op:admin", secret.expose())).await?;
    older.published(TOPIC, b"no JSON").await?;
    watched.rises(moved, &change("refused")).await?;

    let request = br#"{"operator":"paris","role":"operator","group":"paris"}"#;
    let (status, body) =
        http.request(Method::POST, "/v1/operators", Some(Upload::json(&request[..]))).await?;
    assert_eq!(status.as_u16(), 201);
    let answer: OperatorAnswer = serde_json::from_slice(&body)?;
    let mut paris = watched.enter(&Login::new(Version::V5, "op:paris", answer.secret.expose())).await?;
    assert_eq!(paris.published(COMMANDS, br#"{"kind":"wake"}"#).await?.0, 0x87);
    watched.rises(moved, &refused("not_allowed")).await
}
