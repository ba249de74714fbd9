//! WakeMQ's broker, with all defaults but for its limit of connections, one source's share of them, since all of the load
//! comes from one address, its advice for a return, and, where admissions themselves are measured, its rate of them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_broker::init::{CONFIG, OPERATOR, set_profile_endpoints};
use wakemq_protocol::http::Profile;
use wakemq_publisher::load_profile;

use crate::fleet::ground::Ground;

/// What fits below the limit of descriptors.
const CONNECTIONS: usize = super::super::DESCRIPTORS as usize - 700;
/// Within how many seconds agents are told to come back: sooner than by default, for the time that it takes. 15,000 in
/// 10 s are 1,500 a second, which the default rate of admissions allows.
fn return_secs(quick: bool) -> u32 {
    if quick { 5 } else { 10 }
}

/// A rate of admissions that holds nobody back.
const UNLIMITED: &str = "admissions_per_sec = 1000000\nadmission_burst = 1000000\n";

pub(super) fn prepare(ground: &Ground, address: SocketAddr, limited: bool) -> Result<TempDir> {
    let dir = ground.copy_data()?;
    let return_secs = return_secs(ground.setting.quick);
    let rate = if limited { "" } else { UNLIMITED };
    let configuration = format!(
        "[limits]\nmax_connections = {CONNECTIONS}\nsource_share_percent = 100\nreturn_secs = {return_secs}\n{rate}"
    );
    std::fs::write(dir.path().join(CONFIG), configuration)?;
    set_profile_endpoints(dir.path(), &[address.to_string()])?;
    Ok(dir)
}

pub(super) fn command(ground: &Ground, address: SocketAddr, dir: &Path) -> Command {
    let mut command = Command::new(&ground.shipped.wakemqd);
    command.args(["run", "--log", "warn", "--admin", "127.0.0.1:0", "--listen", &address.to_string()]);
    command.arg("--data").arg(dir);
    command
}

pub(super) fn profile(dir: &Path) -> Result<Profile> {
    Ok(load_profile(&dir.join(OPERATOR))?)
}
