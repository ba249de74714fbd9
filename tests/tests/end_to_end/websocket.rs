//! MQTT in WebSocket, by a foreign WebSocket client.

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wakemq_protocol::{AgentId, Kind, Submission, Transport};
use wakemq_publisher::{Verdict, Wanted};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Version, handshake};
use wakemq_tests::wait::{LIMIT, within};

#[tokio::test]
async fn an_agent_is_woken_through_a_websocket_however_its_packets_are_cut() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let publisher = broker.publisher().await?;
    for (version, message) in [(Version::V5, 1), (Version::V4, 3), (Version::V5, 4096)] {
        let mut agent = Client::dial_websocket(broker.address()?, &broker.ca_path(), message).await?;
        agent.enter(&Login::new(version, "pc-1", made[0].1.expose())).await?;
        agent.subscribe("wake/v1/agents/pc-1/commands", 1).await?;
        let view = broker.management()?.agent(&"pc-1".parse()?).await?;
        assert_eq!(view.transport, Some(Transport::WebSocket));
        let mut woken = publisher.submit(&"pc-1".parse::<AgentId>()?, Submission::new(Kind::Wake)).await?;
        let (packet_id, payload) = agent.command().await?;
        assert_eq!(payload["id"], woken.id().to_string());
        agent.acknowledge(packet_id).await?;
        assert_eq!(woken.wait(Wanted::Acknowledged, LIMIT).await?, Verdict::Reached);
        agent.ping().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_newer_connection_takes_over_whatever_it_came_by() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let made = broker.import(&["pc-1"]).await?;
    let login = Login::new(Version::V5, "pc-1", made[0].1.expose());
    let mut older = Client::dial_websocket(broker.address()?, &broker.ca_path(), 100).await?;
    older.enter(&login).await?;
    let mut newer = broker.dial().await?;
    newer.enter(&login).await?;
    assert_eq!(older.closed().await?, Some(0x8E));
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told_what_is_missing() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let whole = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "chat, mqtt"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut cases: Vec<(Option<usize>, &str)> =
        (0..whole.len()).map(|left_out| (Some(left_out), "")).collect();
    cases.push((None, "HTTP/1.1 101 "));
    for (left_out, expected) in cases {
        let expected = match left_out {
            Some(0..=2) => "HTTP/1.1 426 ",
            Some(_) => "HTTP/1.1 400 ",
            None => expected,
        };
        let headers: String = (whole.iter().enumerate())
            .filter(|(at, _)| Some(*at) != left_out)
            .map(|(_, (name, value))| format!("{name}: {value}\r\n"))
            .collect();
        let tcp = TcpStream::connect(broker.address()?).await?;
        let mut tls = handshake(tcp, &broker.ca_path(), "http/1.1").await?;
        tls.write_all(format!("GET /mqtt HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let n = within("an answer", tls.read(&mut answer)).await??;
        let answer = String::from_utf8_lossy(&answer[..n]);
        assert!(answer.starts_with(expected), "without {left_out:?}: {answer}");
        if expected.contains("101") {
            assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
            // A text frame: closed as unsupported data (RFC 6455 §7.4.1).
            tls.write_all(&[0x81, 0x80, 0, 0, 0, 0]).await?;
            let mut rest = Vec::new();
            within("the end", tls.read_to_end(&mut rest)).await??;
            assert_eq!(rest, [0x88, 2, 0x03, 0xeb]);
        }
    }
    Ok(())
}
