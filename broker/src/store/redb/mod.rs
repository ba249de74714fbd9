//! The backend on disk: an embedded database with one writer.

mod database;
mod errors;
mod file;
mod medium;
mod queue;
mod tables;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use wakemq_protocol::Timestamp;

pub use medium::OpenMedium;

use self::database::Shared;
use self::queue::Taken;
use super::batch::{Job, job};
use super::kv::ReadKv;
use super::shared::{Backend, SharedStore};
use super::sighting::Sighting;
use super::{Observer, Store, StoreError, logic};

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use file::write_empty;
pub(super) use file::{create, open};

/// Opens a store on a medium that `open` opens: at first, and again after each failure of the medium.
///
/// This is how tests and benchmarks put something slow or failing under a store; [`super::open`] opens a file.
/// The database in it is made by [`super::create`]; `observer` is told of each batch.
pub fn open_on(
    open: Box<OpenMedium>,
    cache_bytes: usize,
    now: Timestamp,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Store>, StoreError> {
    open_named("on the given medium".into(), open, cache_bytes, now, observer)
}

fn open_named(
    name: String,
    open: Box<OpenMedium>,
    cache_bytes: usize,
    now: Timestamp,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Store>, StoreError> {
    let backend = OnDisk::open(name, open, cache_bytes, now, observer)?;
    let claims = backend.shared.claims.clone();
    Ok(Arc::new(SharedStore::new(backend, claims)))
}

/// Ends what the connections of a former process carried, where that is due.
fn settle(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let (job, mut result) = job(move |batch| logic::settle_loose(batch, now));
    writer::run_batch(shared, Taken::alone(job));
    let changes = result.try_recv().map_err(|_| StoreError::Closed)??;
    if !changes.is_empty() {
        tracing::info!(
            commands = changes.len(),
            "ended commands that were on their way when the broker ended"
        );
    }
    Ok(())
}

/// A database and the thread that writes it; dropping it writes what is queued.
struct OnDisk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl OnDisk {
    fn open(
        name: String,
        open: Box<OpenMedium>,
        cache_bytes: usize,
        now: Timestamp,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::open(name, open, cache_bytes, Arc::default(), observer)?);
        settle(&shared, now)?;
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn({
            let shared = shared.clone();
            move || writer::run(&shared)
        });
        let writer = thread.map_err(|error| StoreError::Io(format!("no thread for the writer: {error}")))?;
        Ok(Self { shared, writer: Some(writer) })
    }
}

impl Backend for OnDisk {
    fn read<T>(&self, work: impl FnOnce(&dyn ReadKv) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.read(work)
    }

    fn queue(&self, job: Box<dyn Job>) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.shared.queue.put(job)
    }

    fn see(&self, sighting: Sighting) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.shared.queue.see(sighting)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(Err(_)) = self.writer.take().map(JoinHandle::join) {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::kv::{Table, WriteKv};

    #[tokio::test]
    async fn readers_see_each_commit_as_soon_as_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        create(&path).unwrap();
        let now = Timestamp::from_unix_ms(0);
        let backend = OnDisk::open(String::new(), file::opener(&path), 1 << 20, now, Arc::new(())).unwrap();
        for value in 0..10_u8 {
            backend
                .read(|before| {
                    let (work, result) = job(move |batch| batch.put(Table::Meta, b"key", &[value]));
                    std::thread::scope(|scope| {
                        let answered = scope.spawn(|| {
                            writer::run_batch(&backend.shared, Taken::alone(work));
                            result.blocking_recv()
                        });
                        answered.join().unwrap().unwrap().unwrap();
                    });
                    let old = before.get(Table::Meta, b"key")?;
                    assert_eq!(old, value.checked_sub(1).map(|old| vec![old]), "a snapshot stays as it is");
                    Ok(())
                })
                .unwrap();
            assert_eq!(backend.read(|kv| kv.get(Table::Meta, b"key")).unwrap(), Some(vec![value]));
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_batch_ends_that_batch_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        create(&path).unwrap();
        let now = Timestamp::from_unix_ms(0);
        let backend = OnDisk::open(String::new(), file::opener(&path), 1 << 20, now, Arc::new(())).unwrap();
        let put = |key: &'static [u8]| job(move |batch| batch.put(Table::Meta, key, b"value"));
        let get = |key: &'static [u8]| backend.read(|kv| kv.get(Table::Meta, key)).unwrap();
        let (work, result) = put(b"before");
        backend.queue(work).await.unwrap();
        result.await.unwrap().unwrap();
        let (work, result) = job(|batch| {
            batch.put(Table::Meta, b"half", b"value")?;
            if batch.is_dirty() { panic!("on purpose") } else { Ok(()) }
        });
        backend.queue(work).await.unwrap();
        assert!(matches!(result.await.unwrap(), Err(StoreError::Damaged(_))));
        let (work, result) = put(b"after");
        backend.queue(work).await.unwrap();
        result.await.unwrap().unwrap();
        assert!(get(b"before").is_some() && get(b"after").is_some());
        assert_eq!(get(b"half"), None);
    }
}
