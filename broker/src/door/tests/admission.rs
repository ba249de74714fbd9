//! What an admission costs the store, and what agents are advised.

use std::sync::Arc;

use parking_lot::Mutex;
use wakemq_protocol::{AgentId, CommandId, SecretHash, Timestamp};

use super::fixture::{Fixture, advice};
use crate::door::Limits;
use crate::store::{
    self, Admin, AdminOutcome, Claim, CommandRow, Durability, Epoch, InboxPage, Lane, NewCommand, Outcomes,
    Principal, Query, Recorded, Rows, Store, StoreFuture, Submitted, Transition,
};

/// Writes down what a store is asked for. Once it is told to, it answers nothing for which it would have to flush.
struct Watched {
    inner: Arc<dyn Store>,
    calls: Mutex<Vec<&'static str>>,
    stuck: Mutex<bool>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: store::memory(), calls: Mutex::default(), stuck: Mutex::new(false) })
    }

    fn durably<'a, T: Send + 'a>(
        &self,
        name: &'static str,
        answer: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        self.calls.lock().push(name);
        if *self.stuck.lock() { Box::pin(std::future::pending()) } else { answer }
    }

    fn at_once<T>(&self, name: &'static str, answer: T) -> T {
        self.calls.lock().push(name);
        answer
    }
}

impl Store for Watched {
    fn submit(&self, commands: Vec<NewCommand>, now: Timestamp) -> StoreFuture<'_, Vec<Submitted>> {
        self.durably("submit", self.inner.submit(commands, now))
    }

    fn record(&self, transitions: Vec<Transition>, now: Timestamp) -> StoreFuture<'_, Vec<Recorded>> {
        self.durably("record", self.inner.record(transitions, now))
    }

    fn inbox(&self, agent: &AgentId, epoch: Epoch, max: usize, now: Timestamp) -> StoreFuture<'_, InboxPage> {
        self.at_once("inbox", self.inner.inbox(agent, epoch, max, now))
    }

    fn command(&self, id: CommandId, outcomes: Outcomes) -> StoreFuture<'_, Option<CommandRow>> {
        self.at_once("command", self.inner.command(id, outcomes))
    }

    fn authenticate(&self, hash: &SecretHash) -> StoreFuture<'_, Option<Principal>> {
        self.at_once("authenticate", self.inner.authenticate(hash))
    }

    fn claim(&self, agent: &AgentId, lane: Lane, node: &str, now: Timestamp) -> StoreFuture<'_, Claim> {
        self.at_once("claim", self.inner.claim(agent, lane, node, now))
    }

    fn write(
        &self,
        ops: Vec<Admin>,
        durability: Durability,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<AdminOutcome>> {
        self.durably("write", self.inner.write(ops, durability, now))
    }

    fn read(&self, query: Query) -> StoreFuture<'_, Rows> {
        self.at_once("read", self.inner.read(query))
    }
}

/// A SUBSCRIBE of MQTT 5 to an agent's commands at QoS 1.
fn subscribe(agent: &str) -> Vec<u8> {
    let filter = format!("wake/v1/agents/{agent}/commands");
    [&[0, 1, 0][..], &(filter.len() as u16).to_be_bytes(), filter.as_bytes(), &[1]].concat()
}

#[tokio::test(start_paused = true)]
async fn an_admission_is_one_look_up_and_no_flush() {
    let store = Watched::new();
    let fixture = Fixture::new(Limits::default(), store.clone());
    let secret = fixture.create("pc-1").await;
    *store.stuck.lock() = true;
    store.calls.lock().clear();
    let (mut agent, _) = fixture.enter("pc-1", &secret).await;
    assert_eq!(*store.calls.lock(), ["authenticate"]);
    // What waits for it is asked for in its inbox, and nothing is written either.
    agent.send(0x82, &subscribe("pc-1")).await;
    assert_eq!(agent.next().await.unwrap(), (0x90, vec![0, 1, 0, 1]));
    // The answer comes when all before it is done.
    agent.send(0xC0, &[]).await;
    assert_eq!(agent.next().await.unwrap().0, 0xD0);
    assert_eq!(*store.calls.lock(), ["authenticate", "claim", "inbox"]);
}

#[tokio::test(start_paused = true)]
async fn how_many_are_enrolled_is_one_look_up() {
    let store = Watched::new();
    let fixture = Fixture::new(Limits::default(), store.clone());
    assert_eq!(fixture.door.engine.agents_enrolled().await.unwrap(), 0);
    for name in ["a", "ab", "abc"] {
        fixture.create(name).await;
    }
    store.calls.lock().clear();
    assert_eq!(fixture.door.engine.agents_enrolled().await.unwrap(), 3);
    assert_eq!(*store.calls.lock(), ["read"]);
}

#[tokio::test(start_paused = true)]
async fn the_more_are_connected_the_longer_they_are_told_to_spread() {
    let limits = Limits { return_secs: 3, admissions_per_sec: 1, ..Limits::default() };
    let fixture = Fixture::new(limits, store::memory());
    let mut agents = Vec::new();
    let names = ["a", "ab", "abc", "abcd", "abcde"];
    let mut told = Vec::new();
    for name in names {
        let secret = fixture.create(name).await;
        let (agent, advice) = fixture.enter(name, &secret).await;
        told.push(advice);
        agents.push(agent);
    }
    assert_eq!(told, ["3", "3", "3", "4", "5"], "of those who were there before");
    // One that leaves is not counted any more.
    drop(agents.pop());
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    let secret = fixture.create("abcdef").await;
    let (agent, told) = fixture.enter("abcdef", &secret).await;
    assert_eq!(told, "5");
    agents.push(agent);
    // At the end everybody is told the same, the last as the first.
    fixture.door.close();
    for agent in &mut agents {
        let (kind, body) = agent.next().await.unwrap();
        assert_eq!((kind, body[0], advice(&body)), (0xE0, 0x8B, "6".to_owned()));
    }
}
