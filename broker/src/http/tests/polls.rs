//! Long poll: its refusals, and what its answers look like on the wire.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Has an agent, and returns its secret.
async fn polling(it: &Fixture) -> Secret {
    let (status, _, body) = it.send_whole(lines(&it.admin, "{\"agent\":\"PC-1\",\"group\":\"a\"}")).await;
    assert_eq!(status, 200);
    let created: Value = serde_json::from_slice(&body).unwrap();
    created["secret"].as_str().unwrap().parse().unwrap()
}

fn ask(path: &str, secret: Option<&Secret>, body: &Value) -> Request<Body> {
    request(Method::POST, path, secret, Some(body))
}

#[tokio::test]
async fn golden_polls() {
    let it = Fixture::new().await;
    let secret = polling(&it).await;
    let poll = json!({"heartbeat": 480, "instance": "i1"});
    it.golden("poll-unauthenticated", ask("/v1/poll", None, &poll)).await;
    it.golden("poll-operator", ask("/v1/poll", Some(&it.admin), &poll)).await;
    let wrong: Secret = format!("wma_{}", "A".repeat(43)).parse().unwrap();
    it.golden("poll-wrong-secret", ask("/v1/poll", Some(&wrong), &poll)).await;
    it.golden("poll-too-short", ask("/v1/poll", Some(&secret), &json!({"heartbeat": 59}))).await;
    it.golden("poll-too-long", ask("/v1/poll", Some(&secret), &json!({"heartbeat": 3541}))).await;
    it.golden("poll-no-heartbeat", ask("/v1/poll", Some(&secret), &json!({"acknowledged": []}))).await;
    let submitted = json!({"id": COMMAND, "agent": "pc-1", "kind": "wake", "reason": "new policy"});
    assert_eq!(it.post("/v1/commands", Some(&it.admin), &submitted).await.0, 202);
    it.golden("poll-commands", ask("/v1/poll", Some(&secret), &poll)).await;
    it.draining.send_replace(true);
    it.golden("poll-retry", ask("/v1/poll", Some(&secret), &poll)).await;
}

#[tokio::test]
async fn golden_posts() {
    let it = Fixture::new().await;
    let secret = polling(&it).await;
    let unknown = json!({"id": COMMAND, "state": "done"});
    it.golden("receipt", ask("/v1/receipts", Some(&secret), &unknown)).await;
    it.golden("receipt-operator", ask("/v1/receipts", Some(&it.admin), &unknown)).await;
    it.golden("receipt-invalid", ask("/v1/receipts", Some(&secret), &json!({"id": COMMAND}))).await;
    let detail = json!({"id": COMMAND, "state": "done", "detail": "x".repeat(4097)});
    it.golden("receipt-detail", ask("/v1/receipts", Some(&secret), &detail)).await;
    it.golden("facts", ask("/v1/facts", Some(&secret), &json!({"instance": "i1"}))).await;
    let large = json!({"os": "x".repeat(9000)});
    it.golden("facts-too-large", ask("/v1/facts", Some(&secret), &large)).await;
    it.golden("report", ask("/v1/reports", Some(&secret), &json!({"disk": {"free": 7}}))).await;
    it.golden("report-invalid", ask("/v1/reports", Some(&secret), &json!([7]))).await;
    let probe = request(Method::GET, "/generate_204", None, None);
    it.golden("generate-204", probe).await;
}

#[tokio::test]
async fn of_too_many_posts_at_once_the_last_are_told_to_come_later() {
    tokio::time::pause();
    let it = Arc::new(Fixture::new().await);
    let secret = polling(&it).await;
    let began = tokio::time::Instant::now();
    let posts = (0..111).map(|_| {
        let (it, secret) = (it.clone(), secret.clone());
        tokio::spawn(async move { it.post("/v1/reports", Some(&secret), &json!({})).await.0 })
    });
    let mut statuses = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        statuses.push(post.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[109], statuses[110]), (204, 429), "{statuses:?}");
    assert_eq!(began.elapsed().as_secs(), 10, "ten in a second");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_is_not_carried_out_for_an_agent_that_was_revoked_meanwhile() {
    let it = Arc::new(Fixture::new().await);
    let secret = polling(&it).await;
    let mut posts = Vec::new();
    for _ in 0..30 {
        let (it, secret) = (it.clone(), secret.clone());
        posts.push(tokio::spawn(async move { it.post("/v1/reports", Some(&secret), &json!({})).await.0 }));
    }
    // Time goes on only while nothing else does: those that may be carried out at once are.
    tokio::time::sleep(Duration::from_millis(10)).await;
    it.send(request(Method::DELETE, "/v1/agents/pc-1", Some(&it.admin), None)).await;
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[29]), (204, 401), "{statuses:?}");
    let done = statuses.iter().filter(|status| **status == 204).count();
    assert!(done <= 10, "{statuses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_has_its_time() {
    let it = Fixture::new().await;
    let secret = polling(&it).await;
    let (mut client, server) = tokio::io::duplex(4096);
    let http = it.http.clone();
    let serving =
        tokio::spawn(async move { http.serve_connection(server, "192.0.2.1:1".parse().unwrap()).await });
    let head = format!(
        "POST /v1/poll HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         authorization: bearer {}\r\ncontent-length: 1000\r\n\r\n",
        secret.expose()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    let mut answer = Vec::new();
    loop {
        tokio::select! {
            read = client.read_buf(&mut answer) => if read.unwrap() == 0 { break },
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                sent += 1;
                // It may have closed already.
                drop(client.write_all(b" ").await);
            }
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!((29..=31).contains(&sent), "{sent}");
    drop(client);
    serving.await.unwrap();
    assert_eq!(it.engine.registry().live().agents, 0, "who has not asked does not count as connected");
}
