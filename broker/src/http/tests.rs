//! Every form of answer against a golden file, and what no file can show.
//!
//! `UPDATE_GOLDEN=1 cargo test -p wakemq-broker --lib http` writes the files anew; look at what changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wakemq_core::SubmitRequest;
use wakemq_protocol::http::TokenRequest;
use wakemq_protocol::{AgentId, CommandId, GroupPath, Kind, Secret, SecretHash, Submission, Timestamp};

use super::*;
use crate::clock::{Clock, Source};
use crate::engine::{Advertise, Operator, create_operator};
use crate::store::{
    self, Admin, AdminOutcome, Claim, CommandRow, Durability, Epoch, InboxPage, NewCommand, Outcomes,
    Principal, Query, Recorded, Role, Rows, Store, StoreError, StoreFuture, Submitted, Transition,
};

/// 2026-11-22T01:00:00Z, moved on by hand.
#[derive(Default)]
struct ByHand(AtomicI64);

impl Source for ByHand {
    fn wall_ms(&self) -> i64 {
        1_795_309_200_000 + self.boot_ms()
    }
    fn boot_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A store that can do nothing.
struct Broken;

fn broken<T>() -> StoreFuture<'static, T>
where
    Result<T, StoreError>: Send,
    T: 'static,
{
    Box::pin(async { Err(StoreError::Io("no space left on device".into())) })
}

impl Store for Broken {
    fn submit(&self, _: Vec<NewCommand>, _: Timestamp) -> StoreFuture<'_, Vec<Submitted>> {
        broken()
    }
    fn record(&self, _: Vec<Transition>, _: Timestamp) -> StoreFuture<'_, Vec<Recorded>> {
        broken()
    }
    fn inbox(&self, _: &AgentId, _: Epoch, _: usize, _: Timestamp) -> StoreFuture<'_, InboxPage> {
        broken()
    }
    fn command(&self, _: CommandId, _: Outcomes) -> StoreFuture<'_, Option<CommandRow>> {
        broken()
    }
    fn authenticate(&self, _: &SecretHash) -> StoreFuture<'_, Option<Principal>> {
        broken()
    }
    fn claim(&self, _: &AgentId, _: &str, _: Timestamp) -> StoreFuture<'_, Claim> {
        broken()
    }
    fn write(&self, _: Vec<Admin>, _: Durability, _: Timestamp) -> StoreFuture<'_, Vec<AdminOutcome>> {
        broken()
    }
    fn read(&self, _: Query) -> StoreFuture<'_, Rows> {
        broken()
    }
}

struct Fixture {
    http: Http,
    engine: Arc<Engine>,
    draining: watch::Sender<bool>,
    time: Arc<ByHand>,
    admin: Secret,
    viewer: Secret,
    paris: Secret,
}

const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const COMMAND: &str = "0197c1b2-0000-7000-8000-000000000001";

impl Fixture {
    async fn new() -> Self {
        let time = Arc::new(ByHand::default());
        let (store, clock) = (store::memory(), Clock::with_source(time.clone()));
        let operator = async |name: &str, role, scope: &str| {
            let (name, scope) = (name.parse().unwrap(), scope.parse().unwrap());
            create_operator(&*store, name, role, scope, clock.now()).await.unwrap()
        };
        let admin = operator("admin", Role::Admin, "").await;
        let viewer = operator("viewer", Role::Viewer, "").await;
        let paris = operator("paris", Role::Admin, "a/paris").await;
        let endpoints = vec!["broker.example:8883".to_owned(), "broker.example:443".to_owned()];
        let ca = Some("-----BEGIN CERTIFICATE-----\n".to_owned());
        let engine = Arc::new(Engine::new(store, clock, Advertise { endpoints, ca }, Arc::default()));
        let draining = watch::Sender::new(false);
        let http = Http::new(engine.clone(), draining.subscribe());
        Self { http, engine, draining, time, admin, viewer, paris }
    }

    async fn token(&self, group: &str, uses: u32) -> String {
        let who = Operator { name: "admin".parse().unwrap(), role: Role::Admin, scope: GroupPath::root() };
        let request = TokenRequest { group: group.parse().unwrap(), uses, expires_in: 3600 };
        self.engine.create_token(&who, request).await.unwrap().token.expose().to_owned()
    }

    /// Has an agent, one command pending for it, and one agent elsewhere.
    async fn with_agents(self) -> Self {
        for (agent, group) in [("Printer-7", "a/paris"), ("till-1", "b")] {
            let token = self.token(group, 1).await;
            let hash = if agent == "till-1" { HASH.replace("aa", "bb") } else { HASH.to_owned() };
            let (status, _) = self.post("/v1/enrol", None, &enrol(&token, Some(agent), &hash)).await;
            assert_eq!(status, 200);
        }
        let who = Operator { name: "admin".parse().unwrap(), role: Role::Admin, scope: GroupPath::root() };
        let mailbox = self.engine.registry().open("192.0.2.1:1000".parse().unwrap());
        let mut submission = Submission::new(Kind::Wake);
        submission.id = Some(COMMAND.parse().unwrap());
        submission.reason = Some("new policy".into());
        let request = SubmitRequest {
            agent: "printer-7".parse().unwrap(),
            submission: Ok(submission),
            message_expiry_secs: None,
            response: None,
            packet_id: None,
            record_refusal: false,
        };
        self.engine.submit(&who, &mailbox, vec![request]).await.unwrap().remove(0).unwrap();
        self
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let (status, _, body) = self.send_whole(request).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn send_whole(&self, request: Request<Body>) -> (u16, axum::http::HeaderMap, Vec<u8>) {
        let response = self.http.answer(request).await;
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    async fn post(&self, path: &str, secret: Option<&Secret>, body: &Value) -> (u16, Value) {
        self.send(request(Method::POST, path, secret, Some(body))).await
    }

    /// Compares an answer, what is random in it left out, with a file.
    async fn golden(&self, name: &str, request: Request<Body>) {
        let asked = format!("{} {}", request.method(), request.uri());
        let (status, headers, body) = self.send_whole(request).await;
        let text = String::from_utf8(body).unwrap();
        let lines = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/jsonl");
        let body: Value = if lines {
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        let headers: serde_json::Map<_, _> = headers
            .iter()
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
            .collect();
        let mut answer = json!({"request": asked, "status": status, "headers": headers, "body": body});
        leave_out_random(&mut answer);
        let text = format!("{answer:#}\n");

        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/http/{name}.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
        assert_eq!(text, golden, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
    }
}

/// Secrets and ids that the broker gave keep their beginning alone.
fn leave_out_random(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.parse::<Secret>().is_ok() || (text.starts_with("a-") && text.len() == 22) {
                let keep = text.find(['_', '-']).unwrap() + 1;
                text.truncate(keep);
                text.push('…');
            }
        }
        Value::Array(values) => values.iter_mut().for_each(leave_out_random),
        Value::Object(fields) => fields.values_mut().for_each(leave_out_random),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn request(method: Method, path: &str, secret: Option<&Secret>, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(secret) = secret {
        request = request.header(AUTHORIZATION, format!("Bearer {}", secret.expose()));
    }
    match body {
        Some(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(body).unwrap()))
            .unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

fn get(path: &str, secret: &Secret) -> Request<Body> {
    request(Method::GET, path, Some(secret), None)
}

fn enrol(token: &str, agent: Option<&str>, hash: &str) -> Value {
    json!({"token": token, "agent": agent, "secret_sha256": hash,
           "facts": {"instance": "i1", "host_name": "printer-7", "since_boot": 12}})
}

fn lines(secret: &Secret, text: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/agents/import")
        .header(AUTHORIZATION, format!("Bearer {}", secret.expose()))
        .header(CONTENT_TYPE, "application/jsonl")
        .body(text.into())
        .unwrap()
}

#[tokio::test]
async fn golden_enrolment() {
    let it = Fixture::new().await;
    let token = it.token("a/paris", 1).await;
    let ask = |token: &str, agent, hash: &str| {
        request(Method::POST, "/v1/enrol", None, Some(&enrol(token, agent, hash)))
    };
    let other = HASH.replace("aa", "cc");
    it.golden("enrol", ask(&token, Some("Printer-7"), HASH)).await;
    // The answer was lost and it is asked again: the same use, the same agent, in its first spelling.
    it.golden("enrol", ask(&token, Some("printer-7"), HASH)).await;
    it.golden("enrol-token-used-up", ask(&token, Some("second"), &other)).await;
    let token = it.token("b", 5).await;
    it.golden("enrol-exists", ask(&token, Some("PRINTER-7"), &other)).await;
    it.golden("enrol-without-id", ask(&token, None, &other)).await;
    let unknown = format!("wme_{}", "A".repeat(43));
    it.golden("enrol-token-unknown", ask(&unknown, None, HASH)).await;
    it.golden("enrol-token-unknown", ask(it.admin.expose(), None, HASH)).await;
    it.time.0.fetch_add(3_600_000, Ordering::Relaxed);
    it.golden("enrol-token-expired", ask(&token, None, &HASH.replace("aa", "dd"))).await;
    let token = it.token("b", 5).await;
    let mut large = enrol(&token, None, HASH);
    large["facts"]["os"] = "x".repeat(9000).into();
    it.golden("enrol-facts-too-large", request(Method::POST, "/v1/enrol", None, Some(&large))).await;
}

#[tokio::test]
async fn golden_commands() {
    let it = Fixture::new().await.with_agents().await;
    let path = format!("/v1/commands/{COMMAND}");
    it.golden("command", get(&path, &it.paris)).await;
    it.golden("command-unknown", get(&path.replace("0001", "0002"), &it.admin)).await;
    it.golden("command-no-id", get("/v1/commands/7", &it.admin)).await;
    let cancel = format!("{path}/cancel");
    it.golden("cancel-not-allowed", request(Method::POST, &cancel, Some(&it.viewer), None)).await;
    it.golden("cancel", request(Method::POST, &cancel, Some(&it.paris), None)).await;
    it.golden("cancel", request(Method::POST, &cancel, Some(&it.paris), None)).await;
}

#[tokio::test]
async fn golden_agents() {
    let it = Fixture::new().await.with_agents().await;
    it.golden("agents", get("/v1/agents?limit=1", &it.viewer)).await;
    it.golden("agents-last-page", get("/v1/agents?after=Printer-7", &it.viewer)).await;
    it.golden("agents-bad-option", get("/v1/agents?limit=many", &it.viewer)).await;
    it.golden("agent", get("/v1/agents/printer-7", &it.paris)).await;
    // One that is elsewhere is as unknown as one that does not exist.
    it.golden("agent-unknown", get("/v1/agents/till-1", &it.paris)).await;
    let delete = |secret| request(Method::DELETE, "/v1/agents/till-1", Some(secret), None);
    it.golden("revoke-not-allowed", delete(&it.viewer)).await;
    it.golden("revoke", delete(&it.admin)).await;
    it.golden("revoke-unknown", delete(&it.admin)).await;
}

#[tokio::test]
async fn golden_import() {
    let it = Fixture::new().await.with_agents().await;
    let text = "{\"agent\":\"new-1\",\"group\":\"a/paris/x\"}\n\nnot json\n{\"agent\":\"new-2\",\"group\":\"b\"}\n\
                {\"agent\":\"PRINTER-7\",\"group\":\"a/paris\"}\n{\"agent\":\"new-1\",\"group\":\"a/paris\"}\n\
                {\"agent\":\"new-3\",\"group\":\"a/paris\"}";
    it.golden("import", lines(&it.paris, text)).await;
    it.golden("import-not-allowed", lines(&it.viewer, text)).await;
    let json = request(Method::POST, "/v1/agents/import", Some(&it.admin), Some(&json!({})));
    it.golden("import-media-type", json).await;
}

#[tokio::test]
async fn golden_tokens() {
    let it = Fixture::new().await;
    let ask = |secret, body: Value| request(Method::POST, "/v1/tokens", Some(secret), Some(&body));
    it.golden("token", ask(&it.paris, json!({"group": "a/paris/floor-2", "uses": 3, "expires_in": 60})))
        .await;
    it.golden("token-outside", ask(&it.paris, json!({"group": "a"}))).await;
    it.golden("token-not-allowed", ask(&it.viewer, json!({"group": "a"}))).await;
    it.golden("token-invalid", ask(&it.admin, json!({"group": "a", "uses": 0}))).await;
    it.golden("token-bad-group", ask(&it.admin, json!({"group": "A b"}))).await;
}

#[tokio::test]
async fn golden_refusals_and_health() {
    let it = Fixture::new().await;
    it.golden("healthz", get("/healthz", &it.admin)).await;
    it.golden("readyz", get("/readyz", &it.admin)).await;
    it.golden("not-found", get("/v2/agents", &it.admin)).await;
    it.golden("method-not-allowed", request(Method::PUT, "/v1/tokens", Some(&it.admin), None)).await;
    it.golden("unauthenticated", request(Method::GET, "/v1/agents", None, None)).await;
    let wrong: Secret = format!("wmo_{}", "A".repeat(43)).parse().unwrap();
    it.golden("wrong-secret", get("/v1/agents", &wrong)).await;
    let raw = |kind: &str, body: &'static str| {
        Request::post("/v1/enrol").header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    };
    it.golden("malformed", raw("application/json", "{\"token\":")).await;
    it.golden("invalid", raw("application/json; charset=utf-8", "{\"token\":7}")).await;
    it.golden("media-type", raw("text/plain", "{}")).await;
    let large = "x".repeat(wakemq_protocol::limits::PAYLOAD_MAX + 1);
    let large = Request::post("/v1/enrol").header(CONTENT_TYPE, "application/json").body(Body::from(large));
    it.golden("too-large", large.unwrap()).await;
    it.draining.send_replace(true);
    it.golden("readyz-draining", get("/readyz", &it.admin)).await;
}

#[tokio::test]
async fn golden_store_that_fails() {
    let mut it = Fixture::new().await;
    let advertise = Advertise { endpoints: Vec::new(), ca: None };
    it.engine = Arc::new(Engine::new(Arc::new(Broken), Clock::start(), advertise, Arc::default()));
    it.http = Http::new(it.engine.clone(), it.draining.subscribe());
    let token = format!("wme_{}", "A".repeat(43));
    let body = enrol(&token, None, HASH);
    it.golden("unavailable", request(Method::POST, "/v1/enrol", None, Some(&body))).await;
    it.golden("readyz-unavailable", get("/readyz", &it.admin)).await;
    assert_eq!(it.send(get("/v1/agents", &it.admin)).await.0, 503, "who it is cannot be told");
    assert_eq!(it.send(get("/healthz", &it.admin)).await.0, 200, "the process lives");
}

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
