//! HTTP/2 by hand-typed frames (RFC 9113), of clients that say too little or too much.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::door::Stranger;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Headers, each as a literal that is not indexed (RFC 7541 §6.2.2).
fn headers(all: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in all {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

fn serve(it: &Fixture) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let http = it.http.clone();
    let address = "192.0.2.1:1".parse().unwrap();
    (
        client,
        tokio::spawn(async move {
            http.serve_http2(server, address, Serves::Clients, &Stranger::default()).await
        }),
    )
}

/// Reads frames until the connection ends; returns how many of a kind came.
async fn count(client: &mut DuplexStream, kind: u8) -> usize {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap_or_default();
    let (mut rest, mut count) = (&bytes[..], 0);
    while rest.len() >= 9 {
        let len = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        count += usize::from(rest[3] == kind);
        rest = rest.get(9 + len..).unwrap_or_default();
    }
    count
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_is_not_kept() {
    let it = Fixture::new().await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    let begun = frame(HEADERS, 0, 1, &headers(&[(":method", "GET")]));
    for sent in [&[][..], PREFACE, &[PREFACE, &settings].concat(), &[PREFACE, &settings, &begun].concat()] {
        let (mut client, serving) = serve(&it);
        client.write_all(sent).await.unwrap();
        let began = Instant::now();
        serving.await.unwrap();
        let took = began.elapsed().as_secs();
        assert!((30..=40).contains(&took), "{took} s after {} bytes", sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_dead_under_its_poll_is_noticed() {
    let it = Fixture::new().await;
    let (_, _, body) = it.send_whole(lines(&it.admin, "{\"agent\":\"pc-1\",\"group\":\"\"}")).await;
    let created: Value = serde_json::from_slice(&body).unwrap();
    let bearer = format!("Bearer {}", created["secret"].as_str().unwrap());
    let (mut client, serving) = serve(&it);
    let head = headers(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/v1/poll"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ]);
    let asked = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &head),
        &frame(DATA, END_STREAM, 1, b"{\"heartbeat\":3540}"),
    ];
    client.write_all(&asked.concat()).await.unwrap();
    let began = Instant::now();
    // It answers nothing, not even the ping.
    let pings = count(&mut client, PING).await;
    serving.await.unwrap();
    let took = began.elapsed().as_secs();
    assert!((300..=330).contains(&took) && pings == 1, "{pings} pings, {took} s");
    // Its poll ends in tasks of its own.
    while it.engine.registry().live().agents > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection() {
    let it = Fixture::new().await;
    let (mut client, serving) = serve(&it);
    let head = headers(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/healthz"),
    ]);
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for number in 0..200 {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head));
        flood.extend(frame(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let began = Instant::now();
    client.write_all(&flood).await.unwrap_or_default();
    serving.await.unwrap();
    assert!(began.elapsed().as_secs() < 30, "it was kept although it floods");
}
