//! Small records, large packets, bytes one by one and records together.

use anyhow::Result;
use wakemq_protocol::limits::PAYLOAD_MAX;
use wakemq_tests::raw::{Login, Version, connect, frame, publish, subscribe};

use crate::forwarder::{Forwarder, Manner};
use crate::s_client::SClient;
use crate::{COMMANDS, Setting, VERSIONS};

#[tokio::test]
async fn bytes_come_one_by_one() -> Result<()> {
    let setting = Setting::new().await?;
    for (option, version) in VERSIONS {
        let forwarder = Forwarder::start(setting.broker.address(), Manner::Dribble).await?;
        let mut client = SClient::dial(forwarder.address, &setting.broker.ca_path(), &[option])?;
        client.hears(format!("New, {version}").as_bytes()).await?;
        setting.enter(&mut client).await?;
        for _ in 0..3 {
            setting.wake(&mut client).await?;
            if version == "TLSv1.3" {
                client.command("K", "KEYUPDATE").await?;
            }
        }
        setting.leave(client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn records_come_together() -> Result<()> {
    let setting = Setting::new().await?;
    for (option, version) in VERSIONS {
        // A ClientHello by itself. In TLS 1.3 what the client answers, a ChangeCipherSpec and its Finished, with the
        // CONNECT right behind; then SUBSCRIBE, a key update and a PINGREQ. In TLS 1.2 it answers with a key, a
        // ChangeCipherSpec and its Finished, and waits for the broker's; then CONNECT, SUBSCRIBE and PINGREQ.
        let manner = Manner::Gather([1, 3, 3].into());
        let forwarder = Forwarder::start(setting.broker.address(), manner).await?;
        let mut client = SClient::dial(forwarder.address, &setting.broker.ca_path(), &[option])?;
        if version == "TLSv1.3" {
            client.send(&setting.connect()).await?;
            client.hears(b"wakemq-return").await?;
            forwarder.brings(client.send(&subscribe(Version::V5, 1, COMMANDS, 1))).await?;
            client.command("k", "KEYUPDATE").await?;
        } else {
            client.hears(b"Verify return code").await?;
            forwarder.brings(client.send(&setting.connect())).await?;
            forwarder.brings(client.send(&subscribe(Version::V5, 1, COMMANDS, 1))).await?;
        }
        client.send(&frame(0xC0, &[])).await?;
        client.hears(&frame(0x90, &[0, 1, 0, 1])).await?;
        client.hears(&frame(0xD0, &[])).await?;
        setting.wake(&mut client).await?;
        setting.leave(client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn large_packets_come_in_small_records() -> Result<()> {
    let setting = Setting::new().await?;
    let profile = setting.broker.profile()?;
    let login = Login::new(Version::V5, &format!("op:{}", profile.operator), profile.secret.expose());
    for (option, _) in VERSIONS {
        let small = ["-max_send_frag", "512", "-split_send_frag", "512"];
        let mut client = setting.dial(&[&[option], &small[..]].concat())?;
        client.send(&connect(&login)).await?;
        client.hears(b"wakemq-return").await?;
        for packet_id in 1..=3_u16 {
            let filler = "x".repeat(PAYLOAD_MAX - 100);
            let payload = format!(r#"{{"kind":"wake","filler":"{filler}"}}"#);
            client.send(&publish(Version::V5, packet_id, COMMANDS, payload.as_bytes(), &[])).await?;
            client.hears(&[&[0x40, 2][..], &packet_id.to_be_bytes()].concat()).await?;
        }
        setting.leave(client).await?;
    }
    Ok(())
}
