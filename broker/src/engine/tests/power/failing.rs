//! A store that cannot write for a while.

use std::sync::atomic::AtomicBool;

use wakemq_protocol::{SecretHash, Timestamp};

use super::*;
use crate::store::{
    Admin, AdminOutcome, Claim, CommandRow, Durability, InboxPage, Lane, NewCommand, Outcomes, Principal,
    Query, Recorded, Rows, StoreError, StoreFuture, Submitted, Transition,
};

/// A store whose commands cannot be changed while it fails.
struct Failing {
    inner: Arc<dyn Store>,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn now(&self) -> bool {
        self.fails.load(Ordering::SeqCst)
    }
}

fn full<T: Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(async { Err(StoreError::Io("no space left on device".into())) })
}

impl Store for Failing {
    fn submit(&self, commands: Vec<NewCommand>, now: Timestamp) -> StoreFuture<'_, Vec<Submitted>> {
        if self.now() { full() } else { self.inner.submit(commands, now) }
    }
    fn record(&self, transitions: Vec<Transition>, now: Timestamp) -> StoreFuture<'_, Vec<Recorded>> {
        if self.now() { full() } else { self.inner.record(transitions, now) }
    }
    fn inbox(&self, agent: &AgentId, epoch: Epoch, max: usize, now: Timestamp) -> StoreFuture<'_, InboxPage> {
        self.inner.inbox(agent, epoch, max, now)
    }
    fn command(&self, id: CommandId, outcomes: Outcomes) -> StoreFuture<'_, Option<CommandRow>> {
        self.inner.command(id, outcomes)
    }
    fn authenticate(&self, hash: &SecretHash) -> StoreFuture<'_, Option<Principal>> {
        self.inner.authenticate(hash)
    }
    fn claim(&self, agent: &AgentId, lane: Lane, node: &str, now: Timestamp) -> StoreFuture<'_, Claim> {
        self.inner.claim(agent, lane, node, now)
    }
    fn write(
        &self,
        ops: Vec<Admin>,
        durability: Durability,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<AdminOutcome>> {
        self.inner.write(ops, durability, now)
    }
    fn read(&self, query: Query) -> StoreFuture<'_, Rows> {
        self.inner.read(query)
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_before_it_is_written_and_no_verdict_is_lost() {
    let fails = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Failing { inner: store::memory(), fails: fails.clone() });
    let it = Site::on(store, &["pc:a", "relay:a"], &Wol::default()).await;
    let relay = it.comes("relay", "a", &wired(8)).await;
    let pc = it.comes("pc", "a", &wired(7)).await;
    it.power(1, "pc").await;
    // It looks connected; when it does not answer the disk is full.
    pc.command().await;
    fails.store(true, Ordering::SeqCst);
    pass(20_000).await;
    assert_eq!((it.steps(1).await, relay.commands().len()), (vec!["probed".to_owned()], 0));
    fails.store(false, Ordering::SeqCst);
    pass(2_000).await;
    assert_eq!(it.steps(1).await, ["probed", "probe_unanswered", "relay_asked relay"]);
    let job = relay.command().await;
    relay.acknowledges(&it, &job).await;

    // It comes up while the disk is full again: its age counts when it told it, not when that could be written.
    pass(5_000).await;
    fails.store(true, Ordering::SeqCst);
    let _up = it.comes("pc", "a", &up_since(wired(7), 3)).await;
    pass(60_000).await;
    assert_eq!(it.state(1).await, CommandState::Sent);
    fails.store(false, Ordering::SeqCst);
    let (state, detail) = it.ended(1).await;
    assert_eq!((state, &*detail), (CommandState::Done, "booted 4 s after the first packet"));
}
