//! The agent's state directory: identity, journal, and a lock that keeps a second agent out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wakemq_protocol::Secret;

use crate::{Identity, sys};

const IDENTITY: &str = "identity.json";
const ENROLMENT: &str = "enrolment.json";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";

/// Longest identity file that is read; a CA in PEM is the bulk of it.
const IDENTITY_MAX: u64 = 1024 * 1024;

/// Says why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or the directory cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another agent uses it.
    #[error("{0} is in use by another agent")]
    Locked(PathBuf),
    /// There is no identity in it.
    #[error("{0} holds no identity: the agent is not enrolled")]
    NotEnrolled(PathBuf),
    /// There is an identity in it already.
    #[error("{path} is already enrolled, as {agent}")]
    Enrolled {
        /// The directory.
        path: PathBuf,
        /// The agent.
        agent: String,
    },
    /// Others than the owner have rights on a file with a secret.
    #[error("{0} holds a secret and is open to others; it must have mode 0600")]
    OpenToOthers(PathBuf),
    /// A file is not of the form that it must have.
    #[error("{path} is damaged, or of another version: {why}")]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// An agent's state directory, locked for as long as any clone of it lives.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
    _lock: Arc<File>,
}

/// What is kept between the making of a secret and the answer to its enrolment.
#[derive(Serialize, Deserialize)]
struct Enrolment {
    version: u32,
    secret: Secret,
}

impl StateDir {
    /// Opens a state directory, which is made (mode 0700) if it does not exist, and locks it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let path = path.to_owned();
        let at = |path: PathBuf| move |source| StateError::Io { path, source };
        sys::create_private_dir(&path).map_err(at(path.clone()))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(at(lock_path.clone()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked(path)),
            Err(TryLockError::Error(source)) => Err(StateError::Io { path: lock_path, source }),
        }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the identity; refused if others than the owner have rights on its file.
    pub fn identity(&self) -> Result<Identity, StateError> {
        let path = self.path.join(IDENTITY);
        let text = read_private(&path)?.ok_or_else(|| StateError::NotEnrolled(self.path.clone()))?;
        let damaged = |why: String| StateError::Damaged { path: path.clone(), why };
        let identity: Identity = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if !identity.version_known() {
            return Err(damaged("its version is not 1".into()));
        }
        Ok(identity)
    }

    /// Writes the identity, as a whole or not at all, with mode 0600.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.save(IDENTITY, identity)
    }

    /// Fails if there is an identity already.
    pub(crate) fn check_not_enrolled(&self) -> Result<(), StateError> {
        match self.identity() {
            Err(StateError::NotEnrolled(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(identity) => {
                Err(StateError::Enrolled { path: self.path.clone(), agent: identity.agent.to_string() })
            }
        }
    }

    /// Returns the secret of an enrolment whose answer was lost, else a new one that is durable already.
    pub(crate) fn enrolment_secret(&self) -> Result<Secret, StateError> {
        let path = self.path.join(ENROLMENT);
        if let Some(text) = read_private(&path)? {
            let damaged = |why: String| StateError::Damaged { path: path.clone(), why };
            let kept: Enrolment = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
            return if kept.version == 1 {
                Ok(kept.secret)
            } else {
                Err(damaged("its version is not 1".into()))
            };
        }
        let secret = crate::random::agent_secret().map_err(|source| StateError::Io { path, source })?;
        self.save(ENROLMENT, &Enrolment { version: 1, secret: secret.clone() })?;
        Ok(secret)
    }

    /// Forgets the enrolment, which the identity has replaced.
    pub(crate) fn forget_enrolment(&self) -> Result<(), StateError> {
        let path = self.path.join(ENROLMENT);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns where the journal is.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    fn save(&self, name: &str, content: &impl Serialize) -> Result<(), StateError> {
        let path = self.path.join(name);
        let write = || {
            let mut text = serde_json::to_vec_pretty(content)?;
            text.push(b'\n');
            sys::replace_file(&path, &text)
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })
    }
}

/// Reads a file with a secret; `None` if it does not exist.
fn read_private(path: &Path) -> Result<Option<String>, StateError> {
    let at = |source| StateError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at)?,
    };
    if sys::others_can_read(&file).map_err(at)? {
        return Err(StateError::OpenToOthers(path.to_owned()));
    }
    let mut text = String::new();
    file.take(IDENTITY_MAX).read_to_string(&mut text).map_err(at)?;
    Ok(Some(text))
}
