//! Making and opening files.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Database, TableDefinition};
use tempfile::TempDir;
use wakemq_protocol::CommandState;

use super::fixture::*;
use crate::store::{self, NewCommand, Query, Rows, StoreError, Target, Transition};

fn new_store() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    store::create(&path).unwrap();
    (dir, path)
}

fn error(path: &Path) -> StoreError {
    store::open(path, CACHE_BYTES, at(0)).err().expect("it is refused")
}

/// Makes a file look as if the version before had written it: another number, and a table less.
fn make_old(path: &Path) {
    let database = Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = TableDefinition::<&[u8], &[u8]>::new("meta");
    txn.open_table(meta).unwrap().insert(&b"format"[..], &[0, 0, 0, 2][..]).unwrap();
    assert!(txn.delete_table(TableDefinition::<&[u8], &[u8]>::new("power")).unwrap());
    txn.commit().unwrap();
}

/// A file in which a store was at work.
async fn used_store() -> (TempDir, PathBuf) {
    let (dir, path) = new_store();
    let bench = Bench::on(store::open(&path, CACHE_BYTES, at(0)).unwrap()).await;
    for number in 1..=50 {
        bench.accept(new(number), 0).await;
    }
    (dir, path)
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let (_dir, path) = used_store().await;
    let bench = Bench::again(store::open(&path, CACHE_BYTES, at(1)).unwrap());
    assert_eq!(bench.pending().await, 50);
    let epoch = bench.claim(1).await;
    assert_eq!(bench.inbox(epoch, 1).await, (1..=16).map(id).collect::<Vec<_>>());
    bench.accept(NewCommand { target: Target::Agent(agent("b")), ..new(51) }, 2).await;
}

#[tokio::test]
async fn what_was_on_its_way_is_settled_after_a_restart() {
    let (_dir, path) = new_store();
    let bench = Bench::on(store::open(&path, CACHE_BYTES, at(0)).unwrap()).await;
    bench.accept(in_slot(1, "s"), 0).await;
    bench.accept(new(2), 0).await;
    bench.accept(new(3), 0).await;
    let epoch = bench.claim(0).await;
    assert_eq!(bench.inbox(epoch, 0).await.len(), 3);
    bench.accept(in_slot(4, "s"), 1).await;
    bench.cancel(2, 1).await;
    bench.accept(NewCommand { delivery: live(epoch), ..new(5) }, 1).await;
    drop(bench);
    let bench = Bench::again(store::open(&path, CACHE_BYTES, at(2)).unwrap());
    let expected = [
        (1, CommandState::Superseded),
        (2, CommandState::Cancelled),
        (3, CommandState::Queued),
        (4, CommandState::Queued),
        (5, CommandState::Expired),
    ];
    for (number, state) in expected {
        assert_eq!(bench.state(number).await, state, "{number}");
    }
    assert_eq!(bench.outcome(1).await.superseded_by, Some(id(4)));
}

#[tokio::test]
async fn power_commands_begin_anew_after_a_restart() {
    let (_dir, path) = new_store();
    let bench = Bench::on(store::open(&path, CACHE_BYTES, at(0)).unwrap()).await;
    for (number, slot) in [(1, "s"), (2, "t"), (3, "u")] {
        bench.accept(power(number, slot), 0).await;
    }
    let epoch = bench.claim_power("a", 0).await;
    assert_eq!(bench.inbox(epoch, 0).await.len(), 3);
    for number in 1..=3 {
        bench.record(Transition::PowerSent { agent: agent("a"), id: id(number), epoch }, 1).await;
        bench.record(step(number, epoch, 1), 1).await;
    }
    bench.cancel(2, 1).await;
    bench.accept(power(4, "u"), 1).await;
    drop(bench);
    let bench = Bench::again(store::open(&path, CACHE_BYTES, at(2)).unwrap());
    let expected = [
        (1, CommandState::Queued),
        (2, CommandState::Cancelled),
        (3, CommandState::Superseded),
        (4, CommandState::Queued),
    ];
    for (number, state) in expected {
        assert_eq!(bench.state(number).await, state, "{number}");
    }
    let evidence = bench.row(3).await.unwrap().evidence;
    assert_eq!((evidence.len(), &evidence[0]), (2, &no_relay(1)), "the step, and the verdict");
    let found = bench.store.read(Query::Power { after: None, max: 10 }).await.unwrap();
    let commands = vec![(agent("a"), id(1)), (agent("a"), id(4))];
    assert_eq!(found, Rows::Power { commands, next: None });
    let epoch = bench.claim_power("a", 3).await;
    assert_eq!(bench.inbox(epoch, 3).await, [id(1), id(4)]);
    assert_eq!(bench.row(1).await.unwrap().evidence, [no_relay(1)]);
}

#[tokio::test]
async fn a_file_of_the_version_before_is_brought_to_this_one() {
    let (_dir, path) = used_store().await;
    make_old(&path);
    for _ in 0..2 {
        let bench = Bench::again(store::open(&path, CACHE_BYTES, at(1)).unwrap());
        assert_eq!(bench.store.read(Query::Health).await.unwrap(), Rows::Healthy);
        assert_eq!(bench.pending().await, 50);
        let found = bench.store.read(Query::Power { after: None, max: 10 }).await.unwrap();
        assert_eq!(found, Rows::Power { commands: Vec::new(), next: None });
    }
    let bench = Bench::again(store::open(&path, CACHE_BYTES, at(1)).unwrap());
    bench.accept(power(51, "s"), 2).await;
    let (own, epoch) = (bench.claim(2).await, bench.claim_power("a", 2).await);
    assert_eq!(bench.inbox(own, 2).await.len(), 16);
    assert_eq!(bench.inbox(epoch, 2).await, [id(51)]);
}

#[test]
fn a_missing_file_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    assert!(matches!(error(&path), StoreError::Missing(_)));
    assert!(!path.exists());
}

#[test]
fn a_file_that_exists_is_not_replaced() {
    let (dir, path) = new_store();
    let before = fs::read(&path).unwrap();
    assert!(matches!(store::create(&path), Err(StoreError::Exists(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let (_dir, path) = new_store();
    let store = store::open(&path, CACHE_BYTES, at(0)).unwrap();
    assert!(matches!(error(&path), StoreError::InUse(_)));
    drop(store);
    store::open(&path, CACHE_BYTES, at(0)).unwrap();
}

#[tokio::test]
async fn a_file_of_another_version_is_refused() {
    let (_dir, path) = new_store();
    let database = Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    let meta = TableDefinition::<&[u8], &[u8]>::new("meta");
    txn.open_table(meta).unwrap().insert(&b"format"[..], &[0, 0, 0, 9][..]).unwrap();
    txn.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    assert!(matches!(error(&path), StoreError::Format { found: 9, expected: 3 }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(Database::create(&path).unwrap());
    assert!(matches!(error(&path), StoreError::Damaged(_)));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let (_dir, path) = used_store().await;
    let whole = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = vec![b"garbage".to_vec(), vec![0; whole.len()]];
    for len in [0, 1, 100, 4096, 5000, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        damaged.push(whole[..len].to_vec());
    }
    for case in damaged {
        fs::write(&path, &case).unwrap();
        let error = error(&path);
        assert!(matches!(error, StoreError::Damaged(_)), "{} bytes: {error}", case.len());
        assert!(fs::read(&path).unwrap() == case, "a file of {} bytes was touched", case.len());
    }
}

/// A flipped bit lies either in what is in use, then the file is refused, or in what is not.
#[tokio::test]
async fn a_flipped_bit_is_noticed_or_harmless() {
    let (_dir, path) = used_store().await;
    let whole = fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    for _ in 0..150 {
        let mut case = whole.clone();
        let place = used[random.usize(..used.len())];
        case[place] ^= 1 << random.u32(..8);
        fs::write(&path, &case).unwrap();
        match store::open(&path, CACHE_BYTES, at(1)) {
            Err(StoreError::Damaged(_)) => {
                refused += 1;
                assert!(fs::read(&path).unwrap() == case, "byte {place}: a refused file was touched");
            }
            Err(error) => panic!("byte {place}: {error}"),
            Ok(store) => {
                let bench = Bench::again(store);
                for number in 1..=50 {
                    assert_eq!(bench.state(number).await, CommandState::Queued, "byte {place}");
                }
            }
        }
    }
    assert!(refused > 20, "only {refused} of 150 were noticed");
}
