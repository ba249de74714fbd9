//! `wakemq-agent doctor`: what it tells of networks that let something through, or nothing.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use wakemq_agent::{Identity, StateDir};
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, init};
use wakemq_tests::operator::Wakemq;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::within;

async fn doctor(args: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(&Programs::get()?.wakemq_agent);
    command.arg("doctor").args(args).kill_on_drop(true);
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    within("wakemq-agent doctor", command.output()).await?.context("it cannot be run")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a test is UTF-8")
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

/// Puts what differs from run to run into words.
fn snapshot(output: &Output, replaced: &[(&str, &str)]) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    for (from, to) in replaced {
        text = text.replace(from, to);
    }
    let without_times = |line: &str| match line.split_once(" ms  ") {
        Some((before, found)) => {
            format!(
                "{}N ms  {found}",
                before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned() + " "
            )
        }
        None => line.to_owned(),
    };
    text.lines().map(without_times).collect::<Vec<_>>().join("\n")
}

/// Changes an identity in its file.
fn change(home: &Home, change: impl FnOnce(&mut Identity)) -> Result<()> {
    let state = StateDir::open(&home.state())?;
    let mut identity = state.identity()?;
    change(&mut identity);
    Ok(state.save_identity(&identity)?)
}

#[tokio::test]
async fn a_running_agent_is_examined_and_left_alone() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let home = Home::imported(&broker, &id, &secret)?;
    let agent = home.run(None)?;
    agent.connected().await?;
    let told = doctor(&["--state", text(&home.state())], &[]).await?;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let address = broker.address().to_string();
    let told = snapshot(&told, &[(&address, "BROKER")]);
    let issuer =
        told.split("certificate by ").nth(1).and_then(|rest| rest.lines().next()).context("no issuer")?;
    let expected = "\
agent    pc-1, running; it is left alone
proxy    none
network  open

mqtt BROKER
  name   ok N ms  127.0.0.1 is 127.0.0.1
  tcp    ok N ms  BROKER
  tls    ok N ms  1.3, ALPN mqtt, certificate by ISSUER
  door   ok N ms  it speaks MQTT; no CONNECT was sent

websocket BROKER
  name   ok N ms  127.0.0.1 is 127.0.0.1
  tcp    ok N ms  BROKER
  tls    ok N ms  1.3, ALPN http/1.1, certificate by ISSUER
  door   ok N ms  it gives a WebSocket (101); no CONNECT was sent

poll BROKER
  name   ok N ms  127.0.0.1 is 127.0.0.1
  tcp    ok N ms  BROKER
  tls    ok N ms  1.3, ALPN http/1.1, certificate by ISSUER
  poll   ok N ms  the broker knows the agent; its connection was left alone
";
    let shown: Vec<&str> =
        told.lines().filter(|line| !line.starts_with("last") && !line.starts_with("heart")).collect();
    let verdict = "\nverdict  the agent can be woken by mqtt BROKER";
    assert_eq!(shown.join("\n"), format!("{}{verdict}", expected.replace("ISSUER", issuer)));
    Wakemq::admin(&broker).call(&["wake", "pc-1", "--wait", "done"]).await?.expect_code(0)?;
    assert!(!agent.lines().iter().any(|line| line.text.contains("took over")), "it was evicted");
    Ok(())
}

#[tokio::test]
async fn a_dead_port_is_told_and_the_next_way_is_the_best() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let home = Home::imported(&broker, &id, &secret)?;
    let dead = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    change(&home, |identity| identity.endpoints.insert(0, dead.clone()))?;
    let told = doctor(&["--state", text(&home.state()), "--json"], &[]).await?;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let report = json(&told)?;
    assert_eq!((&report["agent"], &report["running"]), (&"pc-1".into(), &false.into()));
    assert_eq!(
        (&report["outcome"], &report["best"]),
        (&"reached".into(), &format!("mqtt {}", broker.address()).into())
    );
    let first = &report["ways"][0];
    assert_eq!((&first["way"], &first["works"]), (&format!("mqtt {dead}").into(), &false.into()));
    let last = first["steps"].as_array().and_then(|steps| steps.last()).context("no step")?;
    assert_eq!((&last["step"], &last["ok"]), (&"tcp".into(), &false.into()));
    assert!(last["found"].as_str().is_some_and(|found| found.contains("refused")), "{last}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_with_what_to_do_about_it() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let Ok(1..) = client.read(&mut request).await else { continue };
            let answer = b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
            // A client that is gone wants no answer.
            client.write_all(answer).await.ok();
        }
    });
    let address = broker.address().to_string();
    let ca = broker.ca_path();
    let args = ["--server", &address, "--ca", text(&ca)];
    let told = doctor(&args, &[("HTTPS_PROXY", &format!("http://{proxy}"))]).await?;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let told = snapshot(&told, &[(&address, "BROKER"), (&proxy, "PROXY")]);
    for expected in [
        "agent    none is enrolled: the secret is not looked at",
        "proxy    http://PROXY by HTTPS_PROXY; tried first",
        "  proxy  FAILED N ms  http://PROXY: it wants a user name and password, and has none",
        "verdict  the broker is reached by mqtt BROKER",
        "change   no way leads through the proxy",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
    let told = doctor(&[&args[..], &["--proxy", "none"]].concat(), &[("HTTPS_PROXY", "http://x:1")]).await?;
    assert!(String::from_utf8_lossy(&told.stdout).contains("proxy    none"), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_foreign_certificate_and_a_wrong_secret_have_their_own_exit_codes() -> Result<()> {
    let broker = BrokerProcess::start().await?;
    let (id, secret) = broker.import(&["pc-1"]).await?.remove(0);
    let home = Home::imported(&broker, &id, &secret)?;
    let other = tempfile::tempdir()?;
    init(&other.path().join("data")).await?;
    let foreign = other.path().join("data").join("ca.pem");
    let address = broker.address().to_string();
    let told = doctor(&["--server", &address, "--ca", text(&foreign), "--json"], &[]).await?;
    assert_eq!(told.status.code(), Some(3), "{told:?}");
    let report = json(&told)?;
    assert_eq!((&report["outcome"], &report["best"]), (&"unreachable".into(), &Value::Null));
    let advice = report["advice"].to_string();
    assert!(advice.contains("--extra-ca") && advice.contains("--ca FILE"), "{advice}");

    change(&home, |identity| {
        identity.secret = wakemq_protocol::Secret::from_random(wakemq_protocol::SecretKind::Agent, &[9; 32]);
    })?;
    let told = doctor(&["--state", text(&home.state()), "--json"], &[]).await?;
    assert_eq!(told.status.code(), Some(4), "{told:?}");
    assert_eq!(json(&told)?["outcome"], "not_allowed");
    Ok(())
}
