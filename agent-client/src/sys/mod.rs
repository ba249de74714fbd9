//! What is particular to an operating system in handling files, one module for each family.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::{create_private, create_private_dir, others_can_read, sync_dir};
#[cfg(unix)]
pub(crate) use unix::{create_private, create_private_dir, others_can_read, sync_dir};

use std::io::{self, Write};
use std::path::Path;

/// Replaces a file as a whole: after a crash it has its old or its new content. Only its owner can read it.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = create_private(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}
