//! The upgrade, against a server that answers what it is told to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

use crate::Rung;
use crate::websocket::{Rewound, UpgradeError, WebSocketStream, upgrade};

fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

type Upgraded = Result<WebSocketStream<Rewound<DuplexStream>>, UpgradeError>;

/// Upgrades a connection whose server makes its answer of the client's key; returns the request too.
async fn with_answer(answer: impl FnOnce(&str) -> Vec<u8>) -> (Upgraded, String, DuplexStream) {
    let (client, server) = duplex(1 << 16);
    let rung = Rung { host: "broker.example".into(), port: 443 };
    let serving = async {
        let mut server = BufReader::new(server);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            assert!(server.read_line(&mut request).await.unwrap() > 0);
        }
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let answer = answer(key.expect("a key"));
        server.write_all(&answer).await.unwrap();
        (request, server.into_inner())
    };
    let limit = Duration::from_secs(10);
    let (upgraded, (request, server)) =
        tokio::join!(async { tokio::time::timeout(limit, upgrade(client, &rung)).await.unwrap() }, serving);
    (upgraded, request, server)
}

fn switching(key: &str, accepted: &str, protocol: &str) -> Vec<u8> {
    let accept = if accepted.is_empty() { accept(key) } else { accepted.to_owned() };
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

#[test]
fn the_example_of_the_standard_is_met() {
    // RFC 6455 §1.3.
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[tokio::test]
async fn the_request_says_all_that_is_needed_and_what_follows_the_answer_is_the_streams() {
    let glued = |key: &str| [&switching(key, "", MQTT)[..], b"\x82\x05glued"].concat();
    let (upgraded, request, mut server) = with_answer(glued).await;
    for line in [
        "GET /mqtt HTTP/1.1",
        "host: broker.example:443",
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: mqtt",
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{request}");
    }
    let mut stream = upgraded.unwrap();
    let mut read = [0; 5];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"glued");
    server.write_all(b"\x82\x01x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    stream.write_all(b"y").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), 0x82);
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_is_told_with_what_to_look_at() {
    for (answer, expected) in [
        (
            "200 OK\r\ncontent-length: 14\r\n\r\n<html>Log in</",
            "200 OK (\"<html>Log in</\"): that is a page of somebody",
        ),
        (
            "302 Found\r\nlocation: http://portal/\r\ncontent-length: 0\r\n\r\n",
            "302 Found: that is a redirect",
        ),
        ("400 Bad Request\r\ncontent-length: 0\r\n\r\n", "removed what asks for the upgrade"),
        ("403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "403 Forbidden (\"no\"): a firewall"),
        ("404 Not Found\r\ncontent-length: 0\r\n\r\n", "is no WakeMQ broker"),
        ("502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "does not reach the broker behind it"),
        ("418 I'm a teapot\r\ncontent-length: 0\r\n\r\n", "418 I'm a teapot: is the host a WakeMQ broker"),
    ] {
        let (upgraded, ..) = with_answer(|_| format!("HTTP/1.1 {answer}").into_bytes()).await;
        let error = upgraded.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    let long = format!("HTTP/1.1 403 x\r\ncontent-length: 100000\r\n\r\n<html>{}", "x".repeat(20_000));
    let error = with_answer(|_| long.into_bytes()).await.0.unwrap_err().to_string();
    assert!(error.contains("(\"<html>xxx") && error.len() < 250, "{error}");
}

#[tokio::test]
async fn a_server_that_is_no_broker_is_not_taken_for_one() {
    let (upgraded, ..) = with_answer(|key| switching(key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", MQTT)).await;
    assert!(upgraded.unwrap_err().to_string().contains("does not know the key"));
    for protocol in ["", "Sec-WebSocket-Protocol: chat\r\n"] {
        let (upgraded, ..) = with_answer(|key| switching(key, "", protocol)).await;
        assert!(upgraded.unwrap_err().to_string().contains("does not speak MQTT"));
    }
    let (upgraded, ..) = with_answer(|_| b"SSH-2.0-x\r\n".to_vec()).await;
    assert!(matches!(upgraded, Err(UpgradeError::Http(_))), "{upgraded:?}");
}

#[tokio::test]
async fn a_host_that_no_request_can_name_is_an_error() {
    let (client, _server) = duplex(64);
    let rung = Rung { host: "br\u{7f}ker".into(), port: 1 };
    assert!(matches!(upgrade(client, &rung).await, Err(UpgradeError::Request(_))));
}
