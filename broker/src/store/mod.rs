//! The store: everything that must survive kill -9.
//!
//! [`Store`] is small on purpose: eight methods, each atomic for every element of a list and never across the
//! list, so that an engine without transactions can implement it too. An error means that any of the elements
//! may or may not have been written; giving the same call again is safe. Time is always given by the caller.
//!
//! The store is the one place where the life of a command is decided. It knows which commands are *carried* by
//! a live connection (in memory, by [`Epoch`]), because the ends before `acknowledged` are decided only while
//! no live connection carries the command.

mod batch;
mod claims;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kv;
mod logic;
mod memory;
mod model;
mod observer;
mod redb;
mod rows;
mod shared;
mod sighting;
#[cfg(test)]
mod suite;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use wakemq_protocol::{AgentId, Command, CommandId, SecretHash, Timestamp};

pub use self::redb::{OpenMedium, open_on};
pub use model::{
    Actor, Admin, AdminOp, AdminOutcome, AgentRow, Change, CommandRow, Delivery, Durability, GroupRow, Lane,
    NewCommand, OperatorRow, Outcomes, Principal, Query, Recorded, Rows, Status, Submitted, TokenRow,
    Transition, Verdict,
};
pub use observer::Observer;
pub use wakemq_protocol::{Role, Target};

/// Makes an empty store in memory, for tests.
pub fn memory() -> Arc<dyn Store> {
    let claims = Arc::new(claims::Claims::default());
    Arc::new(shared::SharedStore::new(memory::Memory::create(claims.clone()), claims))
}

/// Makes a new store in a file: all of it or nothing. A file that exists is [`StoreError::Exists`].
pub fn create(path: &Path) -> Result<(), StoreError> {
    redb::create(path)
}

/// Opens the store in a file, which [`create`] has made, with a cache of at most `cache_bytes`.
///
/// A file that is missing, damaged, of another version or in use is an error that says so, and stays as it is;
/// only what a crash interrupted is put right, and a file of the version before is brought to this one. The call reads the whole file, and may block for that long.
pub fn open(path: &Path, cache_bytes: usize, now: Timestamp) -> Result<Arc<dyn Store>, StoreError> {
    open_observed(path, cache_bytes, now, Arc::new(()))
}

/// Like [`open`], and tells `observer` of each batch.
pub fn open_observed(
    path: &Path,
    cache_bytes: usize,
    now: Timestamp,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Store>, StoreError> {
    redb::open(path, cache_bytes, now, observer)
}

/// The future of a store's method.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Says why a store could not do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The medium refused: full disk, lost mount, IO error. Tried again at each call.
    #[error("the store cannot be written or read: {0}")]
    Io(String),
    /// The file is not what was written into it; it is never repaired by guessing and never made anew.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The file was written by another version.
    #[error("the store has format {found}; this program reads format {expected}")]
    Format {
        /// What the file says.
        found: u32,
        /// What this program reads.
        expected: u32,
    },
    /// The file does not exist.
    #[error("there is no store at {0}")]
    Missing(String),
    /// The file exists; a new store is never made in its place.
    #[error("{0} exists already")]
    Exists(String),
    /// Another process has the file open.
    #[error("the store {0} is in use by another process")]
    InUse(String),
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

/// Names one claim of an agent's inbox: a connection that is subscribed to it, or the engine that carries out its
/// `power` commands. A newer claim, in whichever lane, has a higher epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// What [`Store::claim`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The new epoch.
    pub epoch: Epoch,
    /// What became of the commands that the former claim carried.
    pub changes: Vec<Change>,
}

/// What [`Store::inbox`] gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxPage {
    /// Commands to send now, in order of priority, then acceptance; each is carried by the epoch from now on.
    pub commands: Vec<Command>,
    /// Others wait for room, or for their slots: ask again when one that is carried has ended.
    pub more: bool,
    /// The epoch is not the newest any more: nothing was given.
    pub stale: bool,
}

/// Keeps agents, operators, tokens and commands.
///
/// A call whose future is dropped before the answer may take effect nevertheless.
pub trait Store: Send + Sync + 'static {
    /// Accepts commands, durably; several calls share one flush.
    fn submit(&self, commands: Vec<NewCommand>, now: Timestamp) -> StoreFuture<'_, Vec<Submitted>>;

    /// Records what became of commands, durably: compare and set, a terminal state wins, an acknowledgement
    /// under a stale epoch is refused.
    fn record(&self, transitions: Vec<Transition>, now: Timestamp) -> StoreFuture<'_, Vec<Recorded>>;

    /// Takes the next commands of an agent's inbox, at most `max`, to be carried by `epoch`: those of the lane in
    /// which the epoch was claimed. A `power` command is `queued` to the outside until it is
    /// [`Transition::PowerSent`].
    ///
    /// Slots, time to live and priority are resolved: a slot of which a command is carried gives none. Nor does
    /// one of which a command is just being changed: whoever changed it asks again after the answer, an error too.
    fn inbox(&self, agent: &AgentId, epoch: Epoch, max: usize, now: Timestamp) -> StoreFuture<'_, InboxPage>;

    /// Returns a command and what became of it; one that is carried is `sent`.
    fn command(&self, id: CommandId, outcomes: Outcomes) -> StoreFuture<'_, Option<CommandRow>>;

    /// Finds whom a secret belongs to: one look-up, no flush.
    fn authenticate(&self, hash: &SecretHash) -> StoreFuture<'_, Option<Principal>>;

    /// Makes `node` the only one that may take from a lane of the agent's inbox; what the lane's former claim carried
    /// is released.
    fn claim(&self, agent: &AgentId, lane: Lane, node: &str, now: Timestamp) -> StoreFuture<'_, Claim>;

    /// Writes agents, groups, tokens and operators.
    fn write(
        &self,
        ops: Vec<Admin>,
        durability: Durability,
        now: Timestamp,
    ) -> StoreFuture<'_, Vec<AdminOutcome>>;

    /// Reads rows, a page at a time.
    fn read(&self, query: Query) -> StoreFuture<'_, Rows>;
}
