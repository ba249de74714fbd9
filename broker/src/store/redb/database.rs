//! The open database, and how it comes back after its medium failed.
//!
//! After a failed write the database refuses everything, reads too, until it is opened again. Opening writes a
//! flag; where even that fails the medium is opened under a sheet, so that reading goes on, and opened for
//! writing again before each batch.

use std::mem::replace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend};
use parking_lot::{Mutex, RwLock};

use super::errors::failed;
use super::medium::{Medium, OpenMedium};
use super::queue::Queue;
use super::tables::{Draft, Snapshot};
use crate::store::claims::Claims;
use crate::store::kv::ReadKv;
use crate::store::rows;
use crate::store::{Observer, StoreError};

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) claims: Arc<Claims>,
    pub(super) observer: Arc<dyn Observer>,
    /// What the medium is, for errors.
    name: String,
    open: Box<OpenMedium>,
    cache_bytes: usize,
    /// Only the writer replaces it, and holds nothing else meanwhile: readers may hold a lock on claims.
    state: RwLock<State>,
    /// The last commit, as those read it who came first since; only while the database is open.
    latest: Mutex<Option<Arc<Snapshot>>>,
    /// Something failed since the database was opened.
    failed: AtomicBool,
}

enum State {
    Writable(Database),
    /// Under a sheet.
    Readable(Database),
    Lost(StoreError),
}

impl Shared {
    /// Opens a store. A medium that does not hold a whole one is refused, and not touched.
    pub(super) fn open(
        name: String,
        open: Box<OpenMedium>,
        cache_bytes: usize,
        claims: Arc<Claims>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let looked_at = open_whole(&name, Medium::open_under_sheet(&*open), cache_bytes, true, |database| {
            rows::is_of_format_before(&snapshot(database)?).map(drop)
        })?;
        close(State::Readable(looked_at));
        let database = open_whole(&name, Medium::open(&*open), cache_bytes, false, upgrade)?;
        Ok(Self {
            queue: Queue::default(),
            claims,
            observer,
            name,
            open,
            cache_bytes,
            state: RwLock::new(State::Writable(database)),
            latest: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Reads from one snapshot, the same for all until the next commit.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&dyn ReadKv) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = guarded(|| self.with_database(|database| work(&*self.latest(database)?)));
        if let Err(StoreError::Io(_)) = &result {
            self.note_failure();
        }
        result
    }

    fn latest(&self, database: &Database) -> Result<Arc<Snapshot>, StoreError> {
        let mut latest = self.latest.lock();
        match &*latest {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(latest.insert(Arc::new(snapshot(database)?)).clone()),
        }
    }

    /// Has readers see from now on what was committed.
    pub(super) fn forget_snapshot(&self) {
        let former = self.latest.lock().take();
        // Not under the lock: the last one to hold it gives back what it kept.
        drop(former);
    }

    /// Runs `work` on the database, whichever way it is open.
    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.state.read() {
            State::Writable(database) | State::Readable(database) => work(database),
            State::Lost(error) => Err(error.clone()),
        }
    }

    /// Notes that the database has to be opened again.
    pub(super) fn note_failure(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Opens the database again if it failed, or could not be written when it was opened. An error says why it
    /// cannot be written; it may be readable nevertheless.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        let writable = matches!(&*self.state.read(), State::Writable(_));
        if writable && !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state.write();
        // The old one first: it holds the file's lock.
        self.forget_snapshot();
        close(replace(&mut *state, State::Lost(StoreError::Io("it is being opened again".into()))));
        self.failed.store(false, Ordering::Release);
        let check = |database: &Database| rows::check_format(&snapshot(database)?);
        let reopen = |medium| open_whole(&self.name, medium, self.cache_bytes, false, check);
        let error = match reopen(Medium::open(&*self.open)) {
            Ok(database) => {
                *state = State::Writable(database);
                return Ok(());
            }
            Err(error) => error,
        };
        *state = match reopen(Medium::open_under_sheet(&*self.open)) {
            Ok(database) => State::Readable(database),
            Err(error) => State::Lost(error),
        };
        Err(error)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.forget_snapshot();
        close(replace(self.state.get_mut(), State::Lost(StoreError::Closed)));
    }
}

/// Does what the database may panic at: on a file that was damaged, before it was opened or under its hands.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What it leaves half done is gone with the snapshot or the database.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Damaged("the database in it cannot be read; see the log".into())))
}

/// Closes a database, which may write.
fn close(state: State) {
    let closed = guarded(|| {
        drop(state);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::warn!(%error, "the store could not be closed in order");
    }
}

fn snapshot(database: &Database) -> Result<Snapshot, StoreError> {
    database.begin_read().map(Snapshot::new).map_err(failed)
}

/// Opens the database of a store; one that is empty, or not a store, or that `check` refuses, is refused.
fn open_whole(
    name: &str,
    medium: std::io::Result<Medium>,
    cache_bytes: usize,
    check_pages: bool,
    check: impl FnOnce(&Database) -> Result<(), StoreError>,
) -> Result<Database, StoreError> {
    let medium = medium.map_err(failed)?;
    // The database would make itself at home in it.
    if medium.len().map_err(failed)? == 0 {
        return Err(StoreError::Damaged("it is empty".into()));
    }
    let database = open_database(name, medium, cache_bytes, check_pages)?;
    match guarded(|| check(&database)) {
        Ok(()) => Ok(database),
        Err(error) => {
            close(State::Readable(database));
            Err(error)
        }
    }
}

/// Brings a store of the format before to this one, all of it or nothing.
fn upgrade(database: &Database) -> Result<(), StoreError> {
    if !rows::is_of_format_before(&snapshot(database)?)? {
        return Ok(());
    }
    let mut txn = database.begin_write().map_err(failed)?;
    txn.set_quick_repair(true);
    let mut draft = Draft::with_all_tables(&txn)?;
    rows::upgrade(&mut draft)?;
    drop(draft);
    txn.commit().map_err(failed)?;
    tracing::info!("the store was brought to the format of this version");
    Ok(())
}

/// Opens a database, or makes one in an empty medium. With `check_pages` every page is read and checked.
pub(super) fn open_database(
    name: &str,
    medium: impl StorageBackend,
    cache_bytes: usize,
    check_pages: bool,
) -> Result<Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(check_pages);
    guarded(|| match builder.create_with_backend(medium) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::InUse(name.to_owned())),
        Err(error) => Err(failed(error)),
    })
}
