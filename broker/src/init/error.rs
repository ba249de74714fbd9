//! Why a data directory could not be made or used.

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::EngineError;
use crate::store::StoreError;

/// Says why a data directory could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The directory holds a broker's data already; nothing was changed.
    #[error("{} exists: the directory is initialised already, and nothing was changed", .0.display())]
    AlreadyInitialised(PathBuf),
    /// The directory holds no broker's data.
    #[error("{} holds no broker's data", .0.display())]
    NotInitialised(PathBuf),
    /// An initialisation was interrupted, or is under way.
    #[error("{}: the initialisation was interrupted, or is under way", .0.display())]
    Unfinished(PathBuf),
    /// The directory holds a part of a broker's data.
    #[error(
        "{} holds a part of a broker's data: {found} is there, {missing} is not; nothing was changed",
        .data.display()
    )]
    Partial {
        /// The directory.
        data: PathBuf,
        /// A file that is there.
        found: &'static str,
        /// The file without which the others are of no use.
        missing: &'static str,
    },
    /// Another process is initialising the directory.
    #[error("{} is being initialised by another process", .0.display())]
    InUse(PathBuf),
    /// A file or directory could not be made, moved or read.
    #[error("{}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// The profile could not be written as TOML.
    #[error("the operator's profile could not be written as TOML")]
    Profile(#[from] toml::ser::Error),
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] wakemq_protocol::ParseIdError),
    /// The first administrator could not be created.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InitError {
    /// Turns an IO error about `path` into one of these.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
