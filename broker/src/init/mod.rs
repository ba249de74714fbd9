//! Making a data directory: CA, server certificate, configuration, store, and the first administrator.
//!
//! Everything is made in `DIR/.init` first, then moved to its place file by file, the store last. A crash before
//! everything was made leaves nothing that counts; one while it is moved is taken up by the next call. Staging
//! within the directory itself lets it be a mount point, whose parent is another file system.

mod certificates;
mod error;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{GroupPath, OperatorName, Timestamp};

use crate::config::{EXAMPLE, Endpoint};
use crate::engine::create_operator;
use crate::store::{self, Role};

pub use error::InitError;

use certificates::Ca;

/// The CA's certificate, which agents and operators trust.
pub const CA: &str = "ca.pem";
/// The CA's key.
pub const CA_KEY: &str = "ca.key";
/// The server's certificate.
pub const CERTIFICATE: &str = "server.pem";
/// The server's key.
pub const KEY: &str = "server.key";
/// The configuration, read where none is given.
pub const CONFIG: &str = "wakemqd.toml";
/// The first administrator's profile.
pub const OPERATOR: &str = "operator.toml";
/// The store.
pub const STORE: &str = "store.redb";

/// In the order in which they come to their place.
const FILES: [&str; 7] = [CA_KEY, CA, KEY, CERTIFICATE, CONFIG, OPERATOR, STORE];
/// Where everything is made.
const STAGE: &str = ".init";
/// Says that everything in the stage is complete.
const COMPLETE: &str = "complete";
/// Name of the first administrator.
pub const ADMIN: &str = "admin";
/// Names that every server certificate holds.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Cache for the short time for which the new store is open.
const CACHE_BYTES: usize = 1 << 20;

/// What a new data directory is to hold.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The directory; made if it does not exist.
    pub data: PathBuf,
    /// Under which names or addresses agents and operators reach the broker; never empty.
    pub hosts: Vec<Endpoint>,
    /// On which ports.
    pub ports: Vec<u16>,
}

/// Initialises a data directory, or finishes an initialisation that was interrupted.
///
/// # Errors
/// [`InitError::AlreadyInitialised`] if one of the files is there; nothing is ever overwritten.
pub async fn initialise(plan: &Plan, now: Timestamp) -> Result<(), InitError> {
    let data = plan.data.as_path();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(InitError::io(data))?;
    // Held until the end; the kernel gives it back if this process dies.
    let _lock = lock(data)?;
    let stage = data.join(STAGE);
    if !stage.join(COMPLETE).exists() {
        if let Some(there) = FILES.iter().map(|name| data.join(name)).find(|path| path.exists()) {
            return Err(InitError::AlreadyInitialised(there));
        }
        match fs::remove_dir_all(&stage) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(InitError::io(&stage)(error));
            }
            Ok(()) | Err(_) => {}
        }
        make(plan, &stage, now).await?;
    }
    publish(data, &stage)
}

/// Initialises a data directory that holds nothing of a broker's yet, and says whether it did. One that is
/// initialised already is not touched.
///
/// # Errors
/// [`InitError::Unfinished`] or [`InitError::Partial`] if there is a part of a broker's data: nobody but a person
/// can know what to do with that.
pub async fn initialise_if_missing(plan: &Plan, now: Timestamp) -> Result<bool, InitError> {
    match check(&plan.data) {
        Ok(()) => Ok(false),
        Err(InitError::NotInitialised(_)) => {
            if let Some(found) = FILES.into_iter().find(|name| plan.data.join(name).exists()) {
                return Err(InitError::Partial { data: plan.data.clone(), found, missing: STORE });
            }
            initialise(plan, now).await.map(|()| true)
        }
        Err(error) => Err(error),
    }
}

/// Tells whether a directory can be run on.
///
/// # Errors
/// [`InitError::NotInitialised`] or [`InitError::Unfinished`] if not.
pub fn check(data: &Path) -> Result<(), InitError> {
    if data.join(STAGE).exists() {
        return Err(InitError::Unfinished(data.to_owned()));
    }
    if data.join(STORE).exists() {
        return Ok(());
    }
    Err(InitError::NotInitialised(data.to_owned()))
}

/// Issues the server's certificate anew for its present key, by the CA of the directory.
pub fn renew(data: &Path, hosts: &[Endpoint], now: Timestamp) -> Result<(), InitError> {
    check(data)?;
    let read = |name: &str| {
        let path = data.join(name);
        fs::read_to_string(&path).map_err(InitError::io(&path))
    };
    let ca = Ca::from_key_pem(&read(CA_KEY)?, now)?;
    let key = KeyPair::from_pem(&read(KEY)?)?;
    replace(&data.join(CERTIFICATE), &ca.issue(&key, &names(hosts), now)?, 0o644)
}

/// Writes the endpoints into the first administrator's profile, if it is there and they differ.
pub fn set_profile_endpoints(data: &Path, endpoints: &[String]) -> Result<(), InitError> {
    let path = data.join(OPERATOR);
    let text = fs::read_to_string(&path).map_err(InitError::io(&path))?;
    let invalid = |error: toml::de::Error| InitError::io(&path)(io::Error::other(error.message().to_owned()));
    let mut profile: Profile = toml::from_str(&text).map_err(invalid)?;
    if profile.endpoints == endpoints {
        return Ok(());
    }
    profile.endpoints = endpoints.to_vec();
    replace(&path, &profile_text(&profile)?, 0o600)
}

/// Returns the machine's own name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Writes a file that must not be there yet, durably.
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), InitError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(InitError::io(path))
}

/// Replaces a file in one step: whoever reads it sees the old or the new one.
pub fn replace(path: &Path, text: &str, mode: u32) -> Result<(), InitError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(InitError::io(&beside)(error)),
        Ok(()) | Err(_) => {}
    }
    write_new(&beside, text, mode)?;
    fs::rename(&beside, path).map_err(InitError::io(path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn lock(data: &Path) -> Result<File, InitError> {
    let dir = File::open(data).map_err(InitError::io(data))?;
    match dir.try_lock() {
        Ok(()) => Ok(dir),
        Err(TryLockError::WouldBlock) => Err(InitError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(InitError::io(data)(error)),
    }
}

async fn make(plan: &Plan, stage: &Path, now: Timestamp) -> Result<(), InitError> {
    fs::DirBuilder::new().mode(0o700).create(stage).map_err(InitError::io(stage))?;
    let ca = Ca::generate(now)?;
    let server = KeyPair::generate()?;
    let ca_pem = ca.certificate_pem()?;
    write_new(&stage.join(CA_KEY), &ca.key_pem(), 0o600)?;
    write_new(&stage.join(CA), &ca_pem, 0o644)?;
    write_new(&stage.join(KEY), &server.serialize_pem(), 0o600)?;
    write_new(&stage.join(CERTIFICATE), &ca.issue(&server, &names(&plan.hosts), now)?, 0o644)?;
    write_new(&stage.join(CONFIG), &config_text(&plan.hosts), 0o644)?;

    let path = stage.join(STORE);
    store::create(&path)?;
    let store = store::open(&path, CACHE_BYTES, now)?;
    let name: OperatorName = ADMIN.parse()?;
    let secret = create_operator(&*store, name.clone(), Role::Admin, GroupPath::root(), now).await?;
    drop(store);

    let endpoints = plan.hosts.iter().flat_map(|host| host.with_ports(&plan.ports)).collect();
    let profile = Profile { operator: name, secret, endpoints, ca: Some(ca_pem) };
    write_new(&stage.join(OPERATOR), &profile_text(&profile)?, 0o600)?;
    sync_dir(stage)?;
    write_new(&stage.join(COMPLETE), "", 0o600)?;
    sync_dir(stage)
}

/// Moves everything to its place, the store last: with it, the directory counts as initialised.
fn publish(data: &Path, stage: &Path) -> Result<(), InitError> {
    for name in FILES {
        let (from, to) = (stage.join(name), data.join(name));
        if !from.exists() {
            continue;
        }
        if to.exists() {
            return Err(InitError::AlreadyInitialised(to));
        }
        fs::rename(&from, &to).map_err(InitError::io(&to))?;
    }
    sync_dir(data)?;
    fs::remove_dir_all(stage).map_err(InitError::io(stage))?;
    sync_dir(data)
}

fn sync_dir(dir: &Path) -> Result<(), InitError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(InitError::io(dir))
}

/// Returns every name that the server's certificate is to hold, each once.
fn names(hosts: &[Endpoint]) -> Vec<String> {
    let own = host_name().parse::<Endpoint>().ok();
    let hosts = hosts.iter().chain(&own).map(|host| host.host_name().to_owned());
    let mut names: Vec<String> = Vec::new();
    for name in hosts.chain(LOCAL_NAMES.map(str::to_owned)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn config_text(hosts: &[Endpoint]) -> String {
    let list: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    EXAMPLE.replace("#endpoints = []", &format!("endpoints = [{}]", list.join(", ")))
}

fn profile_text(profile: &Profile) -> Result<String, InitError> {
    Ok(format!(
        "# An operator's profile: for `wakemq --profile FILE`, or WAKEMQ_PROFILE. Whoever can read it is that operator.\n{}",
        toml::to_string(profile)?
    ))
}

#[cfg(test)]
mod tests;
