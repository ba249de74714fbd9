//! Systems without modes: the directory's own access rules apply to what is in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Creates an empty file in place of what may be there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

/// Creates a directory with its parents, unless it exists.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Has no mode to look at.
pub(crate) fn others_can_read(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Has no way to flush a directory through the standard library.
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
