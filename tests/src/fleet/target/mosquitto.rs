//! Mosquitto, as Debian packages it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::fleet::ground::Ground;

/// Where Debian installs it, which is on no ordinary user's path.
const PLACES: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];

fn program() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

pub(super) fn missing() -> Option<String> {
    program().is_none().then(|| "it is not installed (apt-get install mosquitto)".to_owned())
}

/// Anybody is let in, which spares it a look at passwords; nothing is written, neither a log nor sessions.
pub(super) fn command(ground: &Ground, address: SocketAddr, dir: &Path) -> Result<Command> {
    let [certificate, key] = ground.certificate();
    let configuration = format!(
        "listener {} {}\ncertfile {}\nkeyfile {}\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n\
         max_queued_messages 0\nlog_dest none\nuser root\n",
        address.port(),
        address.ip(),
        certificate.display(),
        key.display(),
    );
    let path = dir.join("mosquitto.conf");
    std::fs::write(&path, configuration)?;
    let mut command = Command::new(program().context("mosquitto is gone")?);
    command.arg("-c").arg(path);
    Ok(command)
}
