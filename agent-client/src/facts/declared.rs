//! Facts from a file: for machines whose hardware the agent cannot see, and for tests.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wakemq_protocol::{Facts, Interface};

use crate::network::{Adapter, INTERFACES_MAX};

/// No declaration is longer.
const FILE_MAX: u64 = 64 * 1024;

/// Says why the facts that are declared in a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeclaredError {
    /// The file cannot be read.
    #[error("the declared facts {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not of the form of facts.
    #[error("the declared facts {path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

/// What a file may declare: the facts but for what the agent alone knows of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    boot_id: Option<String>,
    resume_id: Option<String>,
    since_boot: Option<u64>,
    since_resume: Option<u64>,
    host_name: Option<String>,
    os: Option<String>,
    version: Option<String>,
    pub(super) interfaces: Option<Vec<Interface>>,
}

pub(super) fn read(path: &Path) -> Result<Declared, DeclaredError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
        .map_err(|source| DeclaredError::Io { path: path.to_owned(), source })?;
    let mut declared: Declared = serde_json::from_str(&text)
        .map_err(|source| DeclaredError::Json { path: path.to_owned(), source })?;
    if let Some(interfaces) = &mut declared.interfaces {
        interfaces.truncate(INTERFACES_MAX);
    }
    Ok(declared)
}

/// Replaces what is declared.
pub(super) fn apply(declared: &Declared, facts: &mut Facts) {
    fn replace<T: Clone>(with: &Option<T>, what: &mut Option<T>) {
        if with.is_some() {
            what.clone_from(with);
        }
    }
    replace(&declared.boot_id, &mut facts.boot_id);
    replace(&declared.resume_id, &mut facts.resume_id);
    replace(&declared.since_boot, &mut facts.since_boot);
    replace(&declared.since_resume, &mut facts.since_resume);
    replace(&declared.host_name, &mut facts.host_name);
    replace(&declared.os, &mut facts.os);
    replace(&declared.version, &mut facts.version);
}

/// An interface that is declared sends through the device of its name.
pub(super) fn adapter(interface: Interface) -> Adapter {
    Adapter { device: interface.name.clone(), interface, unresolved: None }
}
