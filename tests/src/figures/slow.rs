//! A medium whose flush takes a known time, and is counted.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use redb::StorageBackend;
use redb::backends::FileBackend;
use wakemq_broker::store::{self, Store};
use wakemq_protocol::Timestamp;

/// As in the default configuration.
const CACHE_BYTES: usize = 64 << 20;

/// Counts flushes.
#[derive(Debug, Clone, Default)]
pub struct Flushes(Arc<AtomicU64>);

impl Flushes {
    /// Returns how many there were so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A file that is never flushed; in place of that, time passes.
#[derive(Debug)]
struct Slow {
    file: FileBackend,
    flush: Duration,
    flushes: Flushes,
}

impl StorageBackend for Slow {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(self.flush);
        self.flushes.0.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

/// Opens the store in a file, over a medium whose flush takes `flush`.
pub fn open(path: PathBuf, flush: Duration, flushes: &Flushes, now: Timestamp) -> Result<Arc<dyn Store>> {
    let flushes = flushes.clone();
    let open = move || {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(Slow { file, flush, flushes: flushes.clone() }) as Box<dyn StorageBackend>)
    };
    Ok(store::open_on(Box::new(open), CACHE_BYTES, now, std::sync::Arc::new(()))?)
}
