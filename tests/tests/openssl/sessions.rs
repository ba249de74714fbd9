//! Whole connections: handshake, wake-up, key updates, tickets, goodbye.

use std::time::Instant;

use anyhow::{Result, ensure};
use wakemq_tests::raw::frame;
use wakemq_tests::wait::eventually;
use wakemq_tests::waking::tell;

use crate::{Setting, VERSIONS};

#[tokio::test]
async fn an_agent_is_woken_in_both_versions() -> Result<()> {
    let setting = Setting::new().await?;
    for (option, version) in VERSIONS {
        for more in [&["-servername", "localhost"][..], &["-noservername"], &["-alpn", "mqtt"]] {
            let mut client = setting.dial(&[&[option], more].concat())?;
            // The broker asks for no certificate, and its own is good.
            client.hears(b"No client certificate CA names sent").await?;
            client.hears(format!("New, {version}").as_bytes()).await?;
            if more == ["-alpn", "mqtt"] {
                client.hears(b"ALPN protocol: mqtt").await?;
            } else {
                client.hears(b"No ALPN negotiated").await?;
            }
            client.hears(b"Verify return code: 0 (ok)").await?;
            setting.enter(&mut client).await?;
            for _ in 0..3 {
                let began = Instant::now();
                setting.wake(&mut client).await?;
                tell(began, &format!("s_client by {version}: woken"));
            }
            setting.leave(client).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_may_say_goodbye_first() -> Result<()> {
    let setting = Setting::new().await?;
    for (option, _) in VERSIONS {
        let mut client = setting.dial(&[option])?;
        setting.enter(&mut client).await?;
        // At the end of its input it sends a close_notify, and goes.
        client.finish();
        let (status, said) = client.ended().await?;
        ensure!(status.success() && said.contains("DONE"), "{status} {said}");
        let mut management = setting.broker.management()?;
        eventually("the agent to be gone", async || {
            Ok((!management.agent(&setting.agent.0).await?.connected).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn key_updates_of_the_client_are_followed() -> Result<()> {
    let setting = Setting::new().await?;
    let mut client = setting.dial(&["-tls1_3"])?;
    setting.enter(&mut client).await?;
    // With `K` it asks the broker for new keys too, with `k` it changes its own alone.
    for letter in ["K", "k", "K", "K", "k"] {
        client.command(letter, "KEYUPDATE").await?;
        client.send(&frame(0xC0, &[])).await?;
        client.hears(&frame(0xD0, &[])).await?;
        setting.wake(&mut client).await?;
    }
    setting.leave(client).await
}

#[tokio::test]
async fn tickets_resume() -> Result<()> {
    let setting = Setting::new().await?;
    let dir = tempfile::tempdir()?;
    for (option, version) in VERSIONS {
        let path = dir.path().join(version);
        let session = path.to_string_lossy();
        let mut first = setting.dial(&[option, "-sess_out", &session])?;
        first.hears(format!("New, {version}").as_bytes()).await?;
        setting.enter(&mut first).await?;
        setting.leave(first).await?;

        for _ in 0..2 {
            let mut again = setting.dial(&[option, "-sess_in", &session])?;
            again.hears(format!("Reused, {version}").as_bytes()).await?;
            setting.enter(&mut again).await?;
            setting.wake(&mut again).await?;
            setting.leave(again).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_ticket_of_another_life_of_the_broker_is_no_obstacle() -> Result<()> {
    let mut setting = Setting::new().await?;
    let dir = tempfile::tempdir()?;
    for (option, version) in VERSIONS {
        let path = dir.path().join(version);
        let session = path.to_string_lossy();
        let mut first = setting.dial(&[option, "-sess_out", &session])?;
        setting.enter(&mut first).await?;
        setting.leave(first).await?;
        setting.broker.terminate().await?;
        setting.broker.restart().await?;
        setting.publisher = setting.broker.publisher().await?;
        let mut again = setting.dial(&[option, "-sess_in", &session])?;
        again.hears(format!("New, {version}").as_bytes()).await?;
        setting.enter(&mut again).await?;
        setting.wake(&mut again).await?;
        setting.leave(again).await?;
    }
    Ok(())
}
