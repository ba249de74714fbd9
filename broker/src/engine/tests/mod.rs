//! The engine over a store in memory, without doors.

mod agents;
mod commands;
mod events;
mod groups;
mod power;
mod rights;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use serde_json::Value;
use wakemq_core::{Response, SubmitRequest};
use wakemq_protocol::http::ImportLine;
use wakemq_protocol::{AgentId, CommandId, EventNews, GroupPath, Kind, Role, Submission, Target, Transport};

use super::*;
use crate::registry::{Letter, Mail, Mailbox};
use crate::store::{self, Epoch};

/// Keeps what operators would be told.
#[derive(Default)]
struct Heard(Mutex<Vec<EventNews>>);

impl Events for Heard {
    fn are_heard(&self) -> bool {
        true
    }

    fn publish(&self, news: EventNews) {
        self.0.lock().push(news);
    }
}

/// An engine with the operators `admin`, `paris` (an operator in `a/paris`) and `viewer`, and whatever agents a
/// test wants.
struct Bench {
    engine: Arc<Engine>,
    heard: Arc<Heard>,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 1000))
}

fn group(path: &str) -> GroupPath {
    path.parse().unwrap()
}

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn id(number: u64) -> CommandId {
    CommandId::from_parts(number, &[7; 10])
}

fn caller(name: &str) -> Caller {
    Caller { name: name.parse().unwrap(), address: Some(address(9)) }
}

/// Asks for a wake.
fn wake(number: u64, target: Target) -> SubmitRequest {
    SubmitRequest {
        target,
        submission: Ok(Submission { id: Some(id(number)), ..Submission::new(Kind::Wake) }),
        message_expiry_secs: None,
        response: None,
        packet_id: Some(1),
        record_refusal: false,
    }
}

/// Asks for a wake and to be told of it.
fn followed(number: u64, target: Target) -> SubmitRequest {
    let response = Response { topic: "wake/v1/operators/admin/responses/x".into(), correlation_data: None };
    SubmitRequest { response: Some(response), ..wake(number, target) }
}

/// Takes what waits in a mailbox.
fn mail(mailbox: &Mailbox) -> Mail {
    match mailbox.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(mail) => mail,
        Poll::Pending => Mail::default(),
    }
}

/// Takes the responses that wait in a mailbox.
fn responses(mailbox: &Mailbox) -> Vec<Value> {
    let letters = mail(mailbox).letters.into_iter();
    letters
        .filter_map(|letter| match letter {
            Letter::Response { payload, .. } => Some(serde_json::from_slice(&payload).unwrap()),
            Letter::Live { .. } | Letter::Settled { .. } | Letter::Event { .. } => None,
        })
        .collect()
}

impl Bench {
    async fn new() -> Self {
        let (store, clock) = (store::memory(), Clock::start());
        for (name, role, scope) in
            [("admin", Role::Admin, ""), ("paris", Role::Operator, "a/paris"), ("viewer", Role::Viewer, "")]
        {
            create_operator(&*store, name.parse().unwrap(), role, group(scope), clock.now()).await.unwrap();
        }
        let (advertise, heard) = (Advertise { endpoints: Vec::new(), ca: None }, Arc::new(Heard::default()));
        let engine = Engine::new(store, clock, advertise, Arc::default(), heard.clone());
        engine.load_rights().await.unwrap();
        Self { engine: Arc::new(engine), heard }
    }

    /// The same with agents, as `NAME:GROUP`.
    async fn with(agents: &[&str]) -> Self {
        let bench = Self::new().await;
        let line = |text: &&str| {
            let (name, path) = text.split_once(':').unwrap();
            (1, ImportLine { agent: agent(name), group: group(path) })
        };
        bench.engine.import(&caller("admin"), agents.iter().map(line).collect()).await.unwrap();
        bench
    }

    fn operator(&self, name: &str) -> Operator {
        self.engine.rights(&name.parse().unwrap()).unwrap()
    }

    /// Connects an operator.
    fn publisher(&self, name: &str) -> Arc<Mailbox> {
        let mailbox = self.engine.registry.open(address(1), Transport::Mqtt);
        self.engine.registry.operator_arrives(&name.parse().unwrap(), "client", &mailbox);
        mailbox
    }

    /// Connects an agent and subscribes it.
    async fn connect(&self, name: &str, path: &str, last: u8) -> (Arc<Mailbox>, Epoch) {
        let mailbox = self.engine.registry.open(address(last), Transport::Mqtt);
        self.engine.arrive(&agent(name), &group(path), &mailbox, Some(last.into()));
        let epoch = self.engine.claim(&agent(name), &mailbox).await.unwrap().unwrap();
        (mailbox, epoch)
    }

    async fn submit(&self, name: &str, mailbox: &Arc<Mailbox>, request: SubmitRequest) -> Reply {
        let who = Operator { name: name.parse().unwrap(), role: Role::Admin, scope: GroupPath::root() };
        self.engine.submit(&who, mailbox, vec![request]).await.unwrap().remove(0)
    }

    /// Takes what operators were told, as JSON.
    fn told(&self) -> Vec<Value> {
        let told = std::mem::take(&mut *self.heard.0.lock());
        told.iter().map(|news| serde_json::to_value(news).unwrap()).collect()
    }
}
