//! Bytes that should not come: packets over the limits, and things that are no MQTT.

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wakemq_protocol::limits::{PACKET_MAX, PACKET_MAX_UNAUTHENTICATED};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Packet, Version, connect, frame, publish};
use wakemq_tests::wait::within;

#[tokio::test]
async fn a_packet_over_the_limit_before_authentication_is_refused() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    for version in Version::BOTH {
        let long = Login {
            client_id: "x".repeat(PACKET_MAX_UNAUTHENTICATED),
            ..Login::new(version, "pc-1", made[0].1.expose())
        };
        let mut client = broker.dial().await?;
        client.enter(&Login::new(version, "pc-1", made[0].1.expose())).await?;
        let mut client = broker.dial().await?;
        match (version, client.login(&long).await?) {
            (Version::V5, Some(Packet::ConnAck { code: 0x95, .. })) => {}
            // 3.1.1 has no code for it.
            (Version::V4, None) => continue,
            (_, other) => panic!("{version:?}: {other:?}"),
        }
        assert_eq!(client.closed().await?, None);
    }
    // A length alone is enough; nobody waits for 256 MiB.
    let mut client = broker.dial().await?;
    client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await?;
    let answer = client.next().await?;
    assert!(matches!(answer, None | Some(Packet::ConnAck { code: 0x95, .. })), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_packet_over_the_limit_after_authentication_ends_the_connection() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let secret = broker.profile()?.secret;
    for version in Version::BOTH {
        for (user, password, topic) in [
            ("op:admin", secret.expose(), "wake/v1/agents/pc-1/commands"),
            ("pc-1", made[0].1.expose(), "wake/v1/agents/pc-1/receipts"),
        ] {
            let mut client = broker.dial().await?;
            let properties = client.enter(&Login::new(version, user, password)).await?;
            if version == Version::V5 {
                let told = properties.0.iter().any(|property| {
                    *property
                        == wakemq_tests::raw::Property::Four(0x27, u32::try_from(PACKET_MAX).unwrap_or(0))
                });
                assert!(told, "the limit is told in the CONNACK: {properties:?}");
            }
            // Sent as far as it is taken: the broker need not read all of it.
            client.send(&publish(version, 1, topic, &vec![b'x'; PACKET_MAX + 1], &[])).await.ok();
            assert_eq!(
                client.closed().await?,
                (version == Version::V5).then_some(0x95),
                "{version:?} {user}"
            );
        }
    }
    // The largest that is allowed passes, and is refused as a payload only.
    let mut client = broker.dial().await?;
    client.enter(&Login::new(Version::V5, "op:admin", secret.expose())).await?;
    let topic = "wake/v1/agents/pc-1/commands";
    let payload = vec![b' '; PACKET_MAX - topic.len() - 9];
    assert_eq!(publish(Version::V5, 1, topic, &payload, &[]).len(), PACKET_MAX);
    assert_eq!(client.published(topic, &payload).await?.0, 0x99);
    Ok(())
}

#[tokio::test]
async fn packets_that_break_the_protocol_end_their_connection_and_no_other() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1", "witness"]).await?;
    let mut witness = broker.dial().await?;
    witness.enter(&Login::new(Version::V5, "witness", made[1].1.expose())).await?;
    let login = Login::new(Version::V5, "pc-1", made[0].1.expose());
    for (what, bytes, code) in [
        ("a second CONNECT", connect(&login), 0x82),
        ("a packet of a server", frame(0x20, &[0, 0, 0]), 0x82),
        ("type 0", frame(0x00, &[]), 0x81),
        ("PUBACK for nothing", frame(0x40, &[0, 9]), 0x82),
        ("packet id 0", publish(Version::V5, 0, "wake/v1/agents/pc-1/facts", b"{}", &[]), 0x82),
        ("QoS 3", frame(0x36, b"\0\x01x\0\x01\0"), 0x81),
        ("retain", frame(0x33, b"\0\x01x\0\x01\0"), 0x9A),
        ("a topic with a wildcard", publish(Version::V5, 1, "wake/#", b"", &[]), 0x90),
        ("a topic of bad UTF-8", frame(0x32, b"\0\x02\xff\xfe\0\x01\0"), 0x81),
        ("SUBSCRIBE with wrong flags", frame(0x80, b"\0\x01\0\0\x01x\x01"), 0x81),
    ] {
        let mut client = broker.dial().await?;
        client.enter(&login).await?;
        client.send(&bytes).await?;
        let told = client.closed().await?;
        assert_eq!(told, Some(code), "{what}: {told:02x?}");
    }
    witness.ping().await
}

#[tokio::test]
async fn what_is_no_tls_or_no_protocol_of_ours_is_closed() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", &[0; 64]] {
        let mut tcp = TcpStream::connect(broker.address()?).await?;
        tcp.write_all(bytes).await?;
        let mut rest = Vec::new();
        // A reset is a close too.
        within("the close", tcp.read_to_end(&mut rest)).await?.ok();
        assert!(rest.len() < 64, "{rest:x?}");
    }
    let mut client = broker.dial().await?;
    client.send(b"\x16\x03 nothing that anybody speaks").await?;
    assert_eq!(client.next().await?, None);
    Ok(())
}
