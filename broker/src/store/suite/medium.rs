//! A medium that fails, and one that holds a flush back.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::redb::StorageBackend;
use ::redb::backends::FileBackend;
use parking_lot::{Condvar, Mutex};
use wakemq_protocol::CommandState;

use super::fixture::*;
use crate::store::{self, NewCommand, Outcomes, Query, Rows, Store, StoreError, Transition, Verdict};

/// What a test does to the medium.
#[derive(Debug, Default)]
pub(super) struct Faults {
    full: AtomicBool,
    only_syncs: AtomicBool,
    unreadable: AtomicBool,
    /// Flushes wait while it is.
    held: Mutex<bool>,
    let_go: Condvar,
    syncs: AtomicU64,
}

impl Faults {
    fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.let_go.notify_all();
    }

    /// What a full disk says.
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.faults.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.check()?;
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.faults.let_go.wait_while(&mut self.faults.held.lock(), |held| *held);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if !self.faults.only_syncs.load(Ordering::SeqCst) {
            self.faults.check()?;
        }
        self.file.write(offset, data)
    }
}

/// Opens the store in `path` over faults.
pub(super) fn open_faulty(path: &Path, faults: &Arc<Faults>) -> Arc<dyn Store> {
    let (path, faults) = (path.to_owned(), faults.clone());
    let open = move || {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(Faulty { file, faults: faults.clone() }) as Box<dyn StorageBackend>)
    };
    store::open_on(Box::new(open), CACHE_BYTES, at(0), Arc::new(())).unwrap()
}

async fn faulty_bench() -> (tempfile::TempDir, Arc<Faults>, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store::create(&path).unwrap();
    let faults = Arc::new(Faults::default());
    let bench = Bench::on(open_faulty(&path, &faults)).await;
    (dir, faults, bench)
}

async fn full_disk(only_syncs: bool) {
    let (dir, faults, bench) = faulty_bench().await;
    for number in 1..=4 {
        bench.accept(new(number), 0).await;
    }
    let epoch = bench.claim(1).await;
    assert_eq!(bench.store.inbox(&agent("a"), epoch, 1, at(1)).await.unwrap().commands.len(), 1);

    faults.only_syncs.store(only_syncs, Ordering::SeqCst);
    faults.full.store(true, Ordering::SeqCst);
    for attempt in 0..3 {
        let refused = bench.store.submit(vec![new(10 + attempt)], at(2)).await;
        let Err(StoreError::Io(why)) = refused else { panic!("accepted on a full disk: {refused:?}") };
        assert!(why.contains("No space left"), "{why}");
    }
    let acknowledged = Transition::Acknowledged { agent: agent("a"), id: id(1), epoch };
    assert!(is_io(&bench.store.record(vec![acknowledged], at(2)).await));
    let live = NewCommand { delivery: live(epoch), ..new(14) };
    assert!(is_io(&bench.store.submit(vec![live], at(2)).await));
    assert_eq!(bench.pending().await, 4, "what was not accepted is not carried");
    // The rest goes on.
    assert_eq!(bench.state(1).await, CommandState::Sent, "it is still carried");
    assert_eq!(bench.inbox(epoch, 2).await, [id(2), id(3), id(4)]);
    assert!(bench.store.authenticate(&secret(1)).await.unwrap().is_some());
    assert_eq!(bench.store.read(Query::Health).await.unwrap(), Rows::Healthy);
    let epoch = bench.claim(3).await;
    assert_eq!(bench.inbox(epoch, 3).await, (1..=4).map(id).collect::<Vec<_>>());
    assert!(is_io(&bench.store.submit(vec![new(13)], at(3)).await));
    assert_eq!(bench.release(epoch, 3).await.changes.len(), 4);

    faults.full.store(false, Ordering::SeqCst);
    for number in 20..=22 {
        bench.accept(new(number), 4).await;
    }
    let epoch = bench.claim(4).await;
    bench.inbox(epoch, 4).await;
    assert_eq!(bench.acknowledge(1, epoch, 4).await, Verdict::Applied);
    drop(bench);
    let bench = Bench::again(store::open(&dir.path().join("store"), CACHE_BYTES, at(5)).unwrap());
    assert_eq!(bench.state(1).await, CommandState::Acknowledged);
    for number in [2, 3, 4, 20, 21, 22] {
        assert_eq!(bench.state(number).await, CommandState::Queued);
    }
}

#[tokio::test]
async fn a_medium_that_refuses_writes() {
    full_disk(false).await;
}

#[tokio::test]
async fn a_medium_that_refuses_to_flush() {
    full_disk(true).await;
}

#[tokio::test]
async fn a_step_that_could_not_be_written_has_not_happened() {
    let (_dir, faults, bench) = faulty_bench().await;
    bench.accept(power(1, "s"), 0).await;
    let epoch = bench.claim_power("a", 0).await;
    bench.inbox(epoch, 0).await;
    let sent = Transition::PowerSent { agent: agent("a"), id: id(1), epoch };
    let both = || vec![sent.clone(), step(1, epoch, 1)];
    faults.full.store(true, Ordering::SeqCst);
    assert!(is_io(&bench.store.record(both(), at(1)).await));
    assert_eq!(bench.state(1).await, CommandState::Queued);
    faults.full.store(false, Ordering::SeqCst);
    let recorded = bench.store.record(both(), at(2)).await.unwrap();
    assert_eq!(recorded.iter().map(|recorded| recorded.changes.len()).collect::<Vec<_>>(), [1, 1]);
    let row = bench.row(1).await.unwrap();
    assert_eq!(row.evidence, [no_relay(1)]);
    assert_eq!(outcome_of(row).state, CommandState::Sent);
}

#[tokio::test]
async fn ends_that_could_not_be_written_are_made_up_for() {
    let (_dir, faults, bench) = faulty_bench().await;
    bench.accept(in_slot(1, "s"), 0).await;
    bench.accept(new(2), 0).await;
    bench.accept(new(3), 0).await;
    let epoch = bench.claim(1).await;
    bench.inbox(epoch, 1).await;
    bench.accept(in_slot(4, "s"), 2).await;
    bench.cancel(2, 2).await;
    faults.full.store(true, Ordering::SeqCst);
    assert_eq!(told(&bench.release(epoch, 3).await.changes), [(id(3), CommandState::Queued)]);
    let epoch = bench.claim(3).await;
    assert_eq!(
        bench.inbox(epoch, 3).await,
        [id(3), id(4)],
        "neither what is cancelled nor what is overtaken"
    );
    faults.full.store(false, Ordering::SeqCst);
    // The newer arrives before the sweep: the older must not follow it.
    let acknowledged = Transition::Acknowledged { agent: agent("a"), id: id(4), epoch };
    let recorded = bench.record(acknowledged, 4).await;
    assert_eq!(
        told(&recorded.changes),
        [(id(4), CommandState::Acknowledged), (id(1), CommandState::Superseded)]
    );
    assert!(bench.inbox(epoch, 4).await.is_empty());
    assert_eq!(told(&bench.sweep(10, 5).await.changes), [(id(2), CommandState::Cancelled)]);
}

#[tokio::test]
async fn a_medium_that_cannot_be_read_comes_back() {
    let (_dir, faults, bench) = faulty_bench().await;
    bench.accept(new(1), 0).await;
    faults.full.store(true, Ordering::SeqCst);
    faults.unreadable.store(true, Ordering::SeqCst);
    assert!(is_io(&bench.store.submit(vec![new(2)], at(1)).await));
    assert!(is_io(&bench.store.command(id(1), Outcomes::default()).await));
    assert!(is_io(&bench.store.read(Query::Health).await));
    faults.unreadable.store(false, Ordering::SeqCst);
    assert_eq!(bench.state(1).await, CommandState::Queued, "it can be read while it cannot be written");
    assert!(is_io(&bench.store.submit(vec![new(2)], at(1)).await));
    faults.full.store(false, Ordering::SeqCst);
    bench.accept(new(3), 2).await;
    assert_eq!(bench.pending().await, 2);
}

/// On this one thread, a task that was polled has queued its call.
#[tokio::test]
async fn callers_share_a_flush() {
    const CALLERS: u64 = 64;
    let (_dir, faults, bench) = faulty_bench().await;
    let asked = Arc::new(AtomicU64::new(0));
    let submit = |number| {
        let (store, asked) = (bench.store.clone(), asked.clone());
        tokio::spawn(async move {
            asked.fetch_add(1, Ordering::SeqCst);
            store.submit(vec![new(number)], at(1)).await.unwrap().remove(0)
        })
    };
    faults.hold(true);
    let first = submit(1);
    let before = faults.syncs.load(Ordering::SeqCst);
    while faults.syncs.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    let callers: Vec<_> = (2..=CALLERS).map(submit).collect();
    while asked.load(Ordering::SeqCst) < CALLERS {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && callers.iter().all(|caller| !caller.is_finished()), "not durable yet");
    faults.hold(false);
    for caller in std::iter::once(first).chain(callers) {
        accepted(caller.await.unwrap());
    }
    // The first and all the others; a commit in two phases flushes twice.
    assert_eq!(faults.syncs.load(Ordering::SeqCst) - before, 2 * 2);
}

/// More calls than the queue holds wait outside of it, and none is lost.
#[tokio::test]
async fn callers_wait_for_room_in_the_queue() {
    const CALLERS: u64 = 3000;
    let (_dir, faults, bench) = faulty_bench().await;
    faults.hold(true);
    let submit = |number| {
        let store = bench.store.clone();
        let command = in_slot(number, "s");
        tokio::spawn(async move { store.submit(vec![command], at(1)).await.unwrap().remove(0) })
    };
    let callers: Vec<_> = (1..=CALLERS).map(submit).collect();
    tokio::task::yield_now().await;
    assert!(bench.store.authenticate(&secret(1)).await.unwrap().is_some(), "others are not held up");
    faults.hold(false);
    for caller in callers {
        accepted(caller.await.unwrap());
    }
    assert_eq!(bench.pending().await, 1);
}

#[tokio::test]
async fn what_is_lazy_waits_for_the_next_flush_or_the_end() {
    let (dir, faults, bench) = faulty_bench().await;
    let before = faults.syncs.load(Ordering::SeqCst);
    let seen = || vec![quietly(store::AdminOp::Seen { agent: agent("a"), facts: None, source: None })];
    for secs in 1..=20 {
        bench.store.write(seen(), store::Durability::Lazy, at(secs)).await.unwrap();
    }
    assert!(faults.syncs.load(Ordering::SeqCst) - before <= 4, "nobody waited for these flushes");
    drop(bench);
    let store = store::open(&dir.path().join("store"), CACHE_BYTES, at(30)).unwrap();
    let Rows::Agents(rows) = store.read(Query::Agent(agent("a"))).await.unwrap() else { panic!("no agents") };
    assert_eq!(rows[0].last_seen, Some(at(20)));
}
