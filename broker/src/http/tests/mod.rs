//! Every form of answer against a golden file, and what no file can show.
//!
//! `UPDATE_GOLDEN=1 cargo test -p wakemq-broker --lib http` writes the files anew; look at what changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use wakemq_protocol::http::TokenRequest;
use wakemq_protocol::{AgentId, CommandId, Secret, SecretHash, Timestamp};

mod connections;
mod golden;
mod http2;
mod management;
mod polls;
mod power;

use super::*;
use crate::clock::{Clock, Source};
use crate::config::Wol;
use crate::door::{Returning, Timers};
use crate::engine::{Advertise, Caller, NoEvents, create_operator};
use crate::store::{
    self, Admin, AdminOutcome, Claim, CommandRow, Durability, Epoch, InboxPage, Lane, NewCommand, Outcomes,
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
    fn claim(&self, _: &AgentId, _: Lane, _: &str, _: Timestamp) -> StoreFuture<'_, Claim> {
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

/// The interface, and polls of which nothing fires the timers.
fn interface(engine: &Arc<Engine>, draining: &watch::Sender<bool>) -> Http {
    let timers = Arc::new(Timers::new(engine.clock().mono_ms()));
    let returning = Arc::new(Returning::new(engine.clone(), 60, 2000));
    let tasks = TaskTracker::new();
    let polls = Polls::new(engine.clone(), timers, returning, (60, 3540), draining.subscribe(), tasks);
    Http::new(engine.clone(), polls, draining.subscribe())
}

const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const COMMAND: &str = "0197c1b2-0000-7000-8000-000000000001";

impl Fixture {
    async fn new() -> Self {
        Self::sending(&Wol::default()).await
    }

    /// Has a broker that is configured to send packets itself.
    async fn sending(wol: &Wol) -> Self {
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
        let advertise = Advertise { endpoints, ca };
        let engine = Engine::new(store, clock, advertise, Arc::default(), Arc::new(NoEvents));
        let engine = engine.with_power(wol, 60);
        engine.load_rights().await.unwrap();
        let engine = Arc::new(engine);
        let draining = watch::Sender::new(false);
        let http = interface(&engine, &draining);
        Self { http, engine, draining, time, admin, viewer, paris }
    }

    async fn token(&self, group: &str, uses: u32) -> String {
        let who = Caller { name: "admin".parse().unwrap(), address: None };
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
        let body = json!({"id": COMMAND, "agent": "printer-7", "kind": "wake", "reason": "new policy"});
        assert_eq!(self.post("/v1/commands", Some(&self.admin), &body).await.0, 202);
        self
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let (status, _, body) = self.send_whole(request).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn send_whole(&self, mut request: Request<Body>) -> (u16, axum::http::HeaderMap, Vec<u8>) {
        request.extensions_mut().insert(Peer(([192, 0, 2, 9], 50_000).into()));
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
            } else if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                // The public id of a token.
                "…".clone_into(text);
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
