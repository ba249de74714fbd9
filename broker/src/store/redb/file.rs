//! A store in a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::StorageBackend;
use ::redb::backends::FileBackend;
use wakemq_protocol::Timestamp;

use super::database::open_database;
use super::errors::failed;
use super::medium::OpenMedium;
use super::open_named;
use super::tables::Draft;
use crate::store::{Observer, Store, StoreError, rows};

/// Opens the store in a file.
pub(in crate::store) fn open(
    path: &Path,
    cache_bytes: usize,
    now: Timestamp,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn Store>, StoreError> {
    let name = path.display().to_string();
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing(name)),
        Err(error) => return Err(io_error(&name, &error)),
    }
    open_named(name, opener(path), cache_bytes, now, observer)
}

/// Makes what opens a file, and opens it again.
pub(super) fn opener(path: &Path) -> Box<OpenMedium> {
    let path = path.to_owned();
    Box::new(move || {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(backend))
    })
}

/// Makes a new store in a file, all of it or nothing.
pub(in crate::store) fn create(path: &Path) -> Result<(), StoreError> {
    let name = path.display().to_string();
    if path.try_exists().map_err(|error| io_error(&name, &error))? {
        return Err(StoreError::Exists(name));
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}.new", fastrand::u64(..)));
    let draft = PathBuf::from(draft);
    let made = write_new(&draft).and_then(|()| {
        publish(&draft, path).map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            if exists { StoreError::Exists(name.clone()) } else { io_error(&name, &error) }
        })
    });
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            made.and(Err(io_error(&draft.display().to_string(), &error)))?;
        }
        _ => made?,
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| io_error(&name, &error))
}

/// Gives a file its name, unless there is one of that name.
fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    // A link, unlike renaming, never replaces a file that somebody else has made meanwhile; not every file
    // system has links.
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(draft, path),
        result => result,
    }
}

fn write_new(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    // Nobody else has any business with the hashes of secrets.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let name = path.display().to_string();
    let file = options.open(path).map_err(|error| io_error(&name, &error))?;
    write_empty(&name, FileBackend::new(file).map_err(failed)?)
}

/// Writes an empty store onto an empty medium.
pub(in crate::store) fn write_empty(name: &str, medium: impl StorageBackend) -> Result<(), StoreError> {
    const CACHE_BYTES: usize = 1 << 20;
    let database = open_database(name, medium, CACHE_BYTES, false)?;
    let mut txn = database.begin_write().map_err(failed)?;
    txn.set_quick_repair(true);
    let mut draft = Draft::with_all_tables(&txn)?;
    rows::write_first(&mut draft)?;
    drop(draft);
    txn.commit().map_err(failed)?;
    database.close().map_err(failed)
}

fn io_error(name: &str, error: &io::Error) -> StoreError {
    StoreError::Io(format!("{name}: {error}"))
}
