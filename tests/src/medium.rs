//! What a store lies on, in the hands of a test: a file that can become full.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use redb::StorageBackend;
use redb::backends::FileBackend;
use wakemq_broker::store::{self, Observer, Store};
use wakemq_protocol::Timestamp;

/// What a full disk says: ENOSPC.
const NO_SPACE: i32 = 28;

/// Whether the medium takes writes, and is there at all.
#[derive(Debug, Clone, Default)]
pub struct Full(Arc<AtomicBool>, Arc<AtomicBool>);

impl Full {
    /// Makes the medium full, or gives it room again.
    pub fn set(&self, full: bool) {
        self.0.store(full, Ordering::SeqCst);
    }

    /// Takes the medium away, for reading too, or gives it back.
    pub fn lose(&self, lost: bool) {
        self.1.store(lost, Ordering::SeqCst);
        self.set(lost);
    }

    fn check_read(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::other("the medium is gone")) } else { Ok(()) }
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(NO_SPACE)) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Medium {
    file: FileBackend,
    full: Full,
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.full.check_read()?;
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.full.check_read()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.full.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.full.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.full.check()?;
        self.file.write(offset, data)
    }
}

/// Opens the store in a file over a medium that `full` fills.
pub fn open(
    path: PathBuf,
    full: &Full,
    now: Timestamp,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Store>> {
    const CACHE_BYTES: usize = 4 << 20;
    let full = full.clone();
    let open = move || {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(Medium { file, full: full.clone() }) as Box<dyn StorageBackend>)
    };
    Ok(store::open_on(Box::new(open), CACHE_BYTES, now, observer)?)
}
