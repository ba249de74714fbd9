//! What no golden file can show: connections, and more than one request at a time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn an_agents_secret_opens_nothing_here() {
    let it = Fixture::new().await;
    let (status, _, body) = it.send_whole(lines(&it.admin, "{\"agent\":\"a\",\"group\":\"\"}")).await;
    assert_eq!(status, 200);
    let created: Value = serde_json::from_slice(&body).unwrap();
    let agent: Secret = created["secret"].as_str().unwrap().parse().unwrap();
    assert!(it.engine.authenticate(agent.expose()).await.unwrap().is_some());
    assert_eq!(it.send(get("/v1/agents", &agent)).await.0, 403);
}

#[tokio::test]
async fn two_agents_that_race_for_the_last_use_of_a_token_do_not_both_get_it() {
    let it = Fixture::new().await;
    let token = it.token("a", 1).await;
    let other = HASH.replace("aa", "bb");
    let (one, two) = (enrol(&token, None, HASH), enrol(&token, None, &other));
    let (one, two) = tokio::join!(it.post("/v1/enrol", None, &one), it.post("/v1/enrol", None, &two));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
}

#[tokio::test]
async fn an_agent_may_be_called_import() {
    let it = Fixture::new().await;
    it.send_whole(lines(&it.admin, "{\"agent\":\"import\",\"group\":\"\"}")).await;
    let (status, body) = it.send(get("/v1/agents/import", &it.admin)).await;
    assert_eq!((status, body["agent"].as_str()), (200, Some("import")));
    assert_eq!(it.send(request(Method::DELETE, "/v1/agents/import", Some(&it.admin), None)).await.0, 204);
}

#[tokio::test]
async fn one_import_runs_at_a_time_and_its_end_lets_the_next_in() {
    let it = Fixture::new().await;
    // A body that never ends: its sender is kept.
    let (sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(1);
    let first = it.http.answer(lines(&it.admin, Body::new(body))).await;
    assert_eq!(first.status(), 200);
    let line = "{\"agent\":\"a\",\"group\":\"\"}";
    it.golden("import-busy", lines(&it.admin, line)).await;
    drop(sender);
    first.into_body().collect().await.unwrap();
    let (status, _) = it.send(lines(&it.admin, line)).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_import_reads_on_while_nobody_reads_its_answer() {
    let it = Fixture::new().await;
    let (client, server) = tokio::io::duplex(1024);
    let http = it.http.clone();
    let serving =
        tokio::spawn(async move { http.serve_connection(server, "192.0.2.1:1".parse().unwrap()).await });
    let body: String = (0..5_000).map(|n| format!("{{\"agent\":\"a-{n}\",\"group\":\"\"}}\n")).collect();
    let head = format!(
        "POST /v1/agents/import HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/jsonl\r\n\
         authorization: bearer {}\r\ncontent-length: {}\r\n\r\n",
        it.admin.expose(),
        body.len()
    );
    let (mut reader, mut writer) = tokio::io::split(client);
    // Everything is sent before anything is read, through a pipe much smaller than the answer.
    writer.write_all(head.as_bytes()).await.unwrap();
    writer.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert_eq!(answer.matches("\"secret\":\"wma_").count(), 5_000);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_or_a_body_that_never_comes_ends_the_connection() {
    let it = Fixture::new().await;
    for sent in [
        "GET /healthz HT",
        "",
        "POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{",
    ] {
        let (mut client, server) = tokio::io::duplex(4096);
        let http = it.http.clone();
        let serving =
            tokio::spawn(async move { http.serve_connection(server, "192.0.2.1:1".parse().unwrap()).await });
        client.write_all(sent.as_bytes()).await.unwrap();
        // Time moves by itself, for all tasks wait; without a limit this would wait for ever.
        tokio::time::timeout(Duration::from_secs(120), serving).await.expect("it ends").unwrap();
    }
}

#[tokio::test]
async fn draining_ends_an_idle_connection_after_its_request() {
    let it = Fixture::new().await;
    let (mut client, server) = tokio::io::duplex(4096);
    let http = it.http.clone();
    let serving =
        tokio::spawn(async move { http.serve_connection(server, "192.0.2.1:1".parse().unwrap()).await });
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut piece = [0; 4096];
    let n = client.read(&mut piece).await.unwrap();
    assert!(piece[..n].starts_with(b"HTTP/1.1 200"));
    it.draining.send_replace(true);
    serving.await.unwrap();
    assert_eq!(client.read(&mut piece).await.unwrap(), 0);
}
