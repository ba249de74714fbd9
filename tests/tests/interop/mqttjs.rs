//! MQTT.js over WebSocket.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::process::Command;
use wakemq_protocol::{Secret, Transport};
use wakemq_publisher::Wanted;
use wakemq_tests::process::Process;
use wakemq_tests::waking::wake;

use super::Setting;

/// Starts an agent; its version of MQTT as in the packet.
fn start(setting: &Setting, version: &str, secret: &Secret) -> Result<Process> {
    let mut command = Command::new("node");
    if let Some(modules) = std::env::var_os("WAKEMQ_TEST_NODE_MODULES") {
        command.env("NODE_PATH", modules);
    }
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/mqttjs_client.js"))
        .args([&format!("wss://{}/mqtt", setting.broker.address()), version])
        .arg(setting.broker.ca_path())
        .args(["pc-1", secret.expose()]);
    Process::start(format!("MQTT.js {version}"), command).context("on Debian: apt-get install nodejs npm")
}

/// Waits for a line that begins with a word.
async fn said(process: &Process, word: &str) -> Result<String> {
    let found = process.wait_line(word, |line| line.text.starts_with(word).then(|| line.text.clone())).await;
    found.context("is MQTT.js where WAKEMQ_TEST_NODE_MODULES says? npm install mqtt")
}

#[tokio::test]
async fn mqttjs_is_woken_over_websocket_in_both_versions() -> Result<()> {
    let setting = Setting::new().await?;
    let publisher = setting.broker.publisher().await?;
    for version in ["4", "5"] {
        let mut agent = start(&setting, version, &setting.agent.1)?;
        assert_eq!(said(&agent, "subscribed").await?, "subscribed 1");
        let view = setting.broker.management()?.agent(&setting.agent.0).await?;
        assert_eq!(view.transport, Some(Transport::WebSocket));
        let story = format!("MQTT.js {version} over WebSocket");
        wake(&publisher, &setting.agent.0, Wanted::Done, &story).await?;
        said(&agent, "woken").await?;
        assert!(agent.wait_exit().await?.success());
    }
    Ok(())
}

#[tokio::test]
async fn mqttjs_is_told_why_it_is_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for version in ["4", "5"] {
        let agent = start(&setting, version, &setting.operator)?;
        let told = said(&agent, "error").await?.to_lowercase();
        assert!(told.contains("bad user"), "{version}: {told}");
    }
    Ok(())
}
