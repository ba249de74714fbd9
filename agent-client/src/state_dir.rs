//! The agent's state directory: identity, journal, and a lock that keeps a second agent out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wakemq_link::Memory;
use wakemq_protocol::Secret;

use crate::{Identity, sys};

const IDENTITY: &str = "identity.json";
const ENROLMENT: &str = "enrolment.json";
const JOURNAL: &str = "journal";
const NETWORKS: &str = "networks.json";
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
    _lock: Arc<Lock>,
}

/// A lock that is given back at once when it is dropped. Closing the file alone would leave it to any process that
/// is just being started by another thread, until that has begun its program.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the state directory's lock ends with its file");
        }
    }
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
            Ok(()) => Ok(Self { path, _lock: Arc::new(Lock(lock)) }),
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
        read_identity(&self.path)
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

    /// Reads what was learned of networks. What cannot be read is learned again.
    pub(crate) fn memory(&self) -> Memory {
        read_memory(&self.path)
    }

    /// Writes what was learned of networks, as a whole or not at all.
    pub(crate) fn save_memory(&self, memory: &Memory) -> Result<(), StateError> {
        self.save(NETWORKS, memory)
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

/// Reads the identity of a state directory, which an agent may use meanwhile.
pub(crate) fn read_identity(state: &Path) -> Result<Identity, StateError> {
    let path = state.join(IDENTITY);
    let text = read_private(&path)?.ok_or_else(|| StateError::NotEnrolled(state.to_owned()))?;
    let damaged = |why: String| StateError::Damaged { path: path.clone(), why };
    let identity: Identity = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if !identity.version_known() {
        return Err(damaged("its version is not 1".into()));
    }
    Ok(identity)
}

/// Reads what the agent of a state directory has learned of networks. What cannot be read is learned again.
pub(crate) fn read_memory(state: &Path) -> Memory {
    let path = state.join(NETWORKS);
    let read = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Memory::default(),
        Err(error) => Err(error.to_string()),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), error, "what was learned of networks is learned again");
        Memory::default()
    })
}

/// Tells whether an agent uses a state directory.
pub(crate) fn is_locked(state: &Path) -> bool {
    let Ok(lock) = File::open(state.join(LOCK)) else { return false };
    let tried = lock.try_lock_shared();
    let is_locked = matches!(tried, Err(TryLockError::WouldBlock));
    if tried.is_ok() {
        // An agent that starts at this moment is kept out for no longer than this.
        drop(Lock(lock));
    }
    is_locked
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaSource;

    fn identity() -> Identity {
        let secret = crate::random::agent_secret().unwrap();
        let group = "a/b".parse().unwrap();
        Identity::new("Printer-7".parse().unwrap(), secret, group, vec!["broker".into()], CaSource::System)
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("a/b")).unwrap();
        assert!(matches!(state.identity(), Err(StateError::NotEnrolled(_))));
        let identity = identity();
        state.save_identity(&identity).unwrap();
        assert_eq!(state.identity().unwrap(), identity);
        let direct = std::fs::read_to_string(state.path().join(IDENTITY)).unwrap();
        assert!(!direct.contains("proxy"), "as it was before there were proxies: {direct}");
        let mut proxied = identity.clone();
        proxied.passage.proxy = "http://proxy:3128".parse().unwrap();
        state.save_identity(&proxied).unwrap();
        assert_eq!(state.identity().unwrap(), proxied);
        assert!(matches!(state.check_not_enrolled(), Err(StateError::Enrolled { .. })));
        let shown = format!("{identity:?}");
        assert!(!shown.contains(identity.secret.expose()), "{shown}");
    }

    #[test]
    fn what_was_learned_is_read_again_and_learned_anew_if_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let mut memory = state.memory();
        assert_eq!(memory, Memory::default());
        let mac = "00:16:3e:00:00:01".parse().ok();
        let network = wakemq_link::NetworkKey::new(mac, "10.0.0.7/24".parse().ok());
        assert!(memory.set_way(&network, "mqtt broker:443"));
        state.save_memory(&memory).unwrap();
        assert_eq!(state.memory(), memory);
        std::fs::write(dir.path().join(NETWORKS), "{\"version\":1,\"net").unwrap();
        assert_eq!(state.memory(), Memory::default());
    }

    #[test]
    fn a_second_agent_is_kept_out_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::Locked(_))));
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn the_secret_of_an_enrolment_is_kept_until_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let secret = state.enrolment_secret().unwrap();
        assert_eq!(state.enrolment_secret().unwrap(), secret, "asked again, it is the same use of the token");
        state.forget_enrolment().unwrap();
        state.forget_enrolment().unwrap();
        assert_ne!(state.enrolment_secret().unwrap(), secret);
    }

    #[test]
    fn a_damaged_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        for content in ["{", r#"{"version":2,"agent":"a"}"#] {
            sys::replace_file(&dir.path().join(IDENTITY), content.as_bytes()).unwrap();
            let error = state.identity().unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("identity.json"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let state = StateDir::open(&path).unwrap();
        state.save_identity(&identity()).unwrap();
        state.enrolment_secret().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for name in [IDENTITY, ENROLMENT] {
            let file = path.join(name);
            assert_eq!(mode(&file), 0o600, "{name}");
            for open_to in [0o640, 0o604, 0o620] {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(open_to)).unwrap();
                let refused = match name {
                    IDENTITY => state.identity().map(|_| ()),
                    _ => state.enrolment_secret().map(|_| ()),
                };
                assert!(matches!(refused, Err(StateError::OpenToOthers(_))), "{name} {open_to:o}");
            }
        }
    }
}
