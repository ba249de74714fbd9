//! Clients that do what none should.

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wakemq_tests::raw::handshake;
use wakemq_tests::wait::{eventually, within};

use super::client::{BOTH, Version};
use super::{Scene, poll};

#[tokio::test]
async fn what_is_no_poll_is_refused_and_leaves_nobody_connected() -> Result<()> {
    let scene = Scene::start().await?;
    for version in BOTH {
        let mut client = scene.client(version).await?;
        let large = vec![b' '; 60 * 1024 + 1];
        assert_eq!(client.ask("POST", "/v1/poll", &large).await?.0, 413, "{version:?}");
        let mut client = scene.client(version).await?;
        assert_eq!(client.ask("GET", "/v1/poll", b"").await?.0, 405);
        assert_eq!(client.ask("POST", "/v1/poll", b"{\"heartbeat\":").await?.0, 400);
        assert_eq!(client.ask("POST", "/v1/poll", b"{}").await?.0, 422);
        let ids = json!({"heartbeat": 600, "acknowledged": ["not an id"]});
        assert_eq!(client.post("/v1/poll", &ids).await?.0, 422);
        assert_eq!(client.ask("GET", "/generate_204", b"").await?.0, 204);
        // A WebSocket is asked for in HTTP/1.1 alone.
        assert_eq!(client.ask("GET", "/mqtt", b"").await?.0, 426);
    }
    scene.connected(false).await
}

#[tokio::test]
async fn what_is_no_http2_ends_the_connection() -> Result<()> {
    let scene = Scene::start().await?;
    for garbage in
        [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0x10; 64], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
    {
        let tcp = TcpStream::connect(scene.broker.address()?).await?;
        let mut tls = handshake(tcp, &scene.broker.ca_path(), "h2").await?;
        tls.write_all(garbage).await?;
        let mut rest = Vec::new();
        // Whether it is said goodbye is all the same.
        within("the end", tls.read_to_end(&mut rest)).await?.unwrap_or_default();
    }
    eventually("their connections to be forgotten", async || {
        Ok((scene.broker.scrape()?.of("wakemq_connections{kind=\"http\"}")? <= 1.0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn requests_beside_a_poll_that_waits_are_answered_on_the_same_connection() -> Result<()> {
    let scene = Scene::start().await?;
    let client = scene.client(Version::Http2).await?;
    let mut other = client.beside();
    let polling = scene.parked(client, poll(&[])).await?;
    for _ in 0..40 {
        assert_eq!(other.ask("GET", "/generate_204", b"").await?.0, 204);
    }
    assert!(!polling.is_answered());
    Ok(())
}
