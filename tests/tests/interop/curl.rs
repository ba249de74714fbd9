//! curl as an agent that asks by long poll.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use wakemq_protocol::Transport;
use wakemq_publisher::Wanted;
use wakemq_tests::wait::{eventually, within};
use wakemq_tests::waking::wake;

use super::Setting;

/// Posts a document as the agent, and returns the version of HTTP, the status and the answer.
async fn post(setting: &Setting, http: &str, path: &str, body: &Value) -> Result<(String, String, Value)> {
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", http, "--cacert"])
        .arg(setting.broker.ca_path())
        // The secret belongs on no command line.
        .args([
            "--header",
            "@-",
            "--json",
            &body.to_string(),
            "--write-out",
            "\n%{http_version} %{http_code}",
        ])
        .arg(format!("https://{}{path}", setting.broker.address()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("on Debian: apt-get install curl")?;
    let mut stdin = curl.stdin.take().context("no standard input")?;
    stdin.write_all(format!("Authorization: Bearer {}\n", setting.agent.1.expose()).as_bytes()).await?;
    drop(stdin);
    let output = within("curl", curl.wait_with_output()).await??;
    let (told, error) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "curl: {error}{told}");
    let (answer, how) = told.rsplit_once('\n').context("no line of its own")?;
    let (version, status) = how.split_once(' ').context("no status")?;
    Ok((version.to_owned(), status.to_owned(), serde_json::from_str(answer).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn curl_is_woken_by_long_poll_in_both_versions_of_http() -> Result<()> {
    let setting = Setting::new().await?;
    let (publisher, agent) = (setting.broker.publisher().await?, &setting.agent.0);
    let mut acknowledged = Vec::new();
    for (http, spoken) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for wanted in [Wanted::Done, Wanted::Acknowledged] {
            let body = json!({"heartbeat": 60, "acknowledged": acknowledged});
            let mut management = setting.broker.management()?;
            let woken = async {
                eventually("the poll to wait", async || {
                    let view = management.agent(agent).await?;
                    Ok((view.transport == Some(Transport::Poll)).then_some(()))
                })
                .await?;
                wake(&publisher, agent, wanted, &format!("curl {http} by long poll")).await
            };
            let polling = async {
                let (version, status, answer) = post(&setting, http, "/v1/poll", &body).await?;
                assert_eq!((&*version, &*status), (spoken, "200"), "{answer}");
                let id = answer["commands"][0]["id"].clone();
                acknowledged = vec![id.clone()];
                if wanted == Wanted::Done {
                    let receipt = json!({"id": id, "state": "done"});
                    let (_, status, answer) = post(&setting, http, "/v1/receipts", &receipt).await?;
                    assert_eq!(status, "204", "{answer}");
                    return Ok(());
                }
                // The next poll acknowledges, and waits: nobody stays for its answer.
                let next = json!({"heartbeat": 60, "acknowledged": [id]});
                let acknowledging = post(&setting, http, "/v1/poll", &next);
                tokio::select! {
                    answered = acknowledging => anyhow::bail!("answered at once: {answered:?}"),
                    acknowledged = eventually("the acknowledgement", async || {
                        let view = setting.broker.management()?.agent(agent).await?;
                        Ok((view.pending == 0).then_some(()))
                    }) => acknowledged,
                }
            };
            tokio::try_join!(woken, polling)?;
        }
    }
    Ok(())
}
