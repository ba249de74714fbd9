//! What is measured: servers as processes of their own, each behind TLS with the same certificate.

mod mosquitto;
mod rumqttd;
mod wakemqd;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_protocol::http::Profile;

use super::ground::Ground;
use super::way::Way;
use crate::broker::free_address;
use crate::figures::child::Running;
use crate::figures::proc;
use crate::wait::eventually;

pub use rumqttd::build as build_rumqttd;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// WakeMQ's broker as shipped.
    Wakemqd,
    /// tokio and tokio-rustls: a handshake, fixed answers to CONNECT and SUBSCRIBE, then a parked read. For a long poll
    /// hyper, with a request that waits.
    Bare,
    /// Debian's Mosquitto.
    Mosquitto,
    /// rumqttd with its own TLS listener, of the package tests/rumqttd-target.
    Rumqttd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Wakemqd, Self::Bare, Self::Mosquitto, Self::Rumqttd];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wakemqd => "wakemqd",
            Self::Bare => "bare",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
        }
    }

    /// Tells why it cannot be measured on this machine, if it cannot.
    pub fn missing(self, ground: &Ground) -> Option<String> {
        match self {
            Self::Wakemqd | Self::Bare => None,
            Self::Mosquitto => mosquitto::missing(),
            Self::Rumqttd => ground.rumqttd.as_ref().err().cloned(),
        }
    }

    /// Returns what it is called with.
    fn command(self, ground: &Ground, address: SocketAddr, way: Way, dir: &Path) -> Result<Command> {
        match self {
            Self::Wakemqd => Ok(wakemqd::command(ground, address, dir)),
            Self::Bare => bare(ground, address, way),
            Self::Mosquitto => mosquitto::command(ground, address, dir),
            Self::Rumqttd => rumqttd::command(ground, address, dir),
        }
    }
}

fn bare(ground: &Ground, address: SocketAddr, way: Way) -> Result<Command> {
    let [certificate, key] = ground.certificate();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--address", &address.to_string()]);
    command.arg("--certificate").arg(certificate).arg("--key").arg(key);
    match way {
        Way::Mqtt => {}
        Way::Websocket | Way::Poll | Way::PollH2 => {
            command.arg("--http");
        }
    }
    Ok(command)
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// Where it listens, after a restart too.
    pub address: SocketAddr,
    way: Way,
    process: Running,
    dir: TempDir,
}

impl Target {
    /// Starts a server for a transport, and waits until it listens; WakeMQ limits the rate of admissions as it does by default, or
    /// not at all.
    pub async fn start(ground: &Ground, kind: Kind, way: Way, limited: bool) -> Result<Self> {
        let address = free_address()?;
        let dir = match kind {
            Kind::Wakemqd => wakemqd::prepare(ground, address, limited)?,
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => ground.setting.tempdir()?,
        };
        let process = Self::launch(ground, kind, address, way, dir.path()).await?;
        Ok(Self { kind, address, way, process, dir })
    }

    async fn launch(
        ground: &Ground,
        kind: Kind,
        address: SocketAddr,
        way: Way,
        dir: &Path,
    ) -> Result<Running> {
        let mut process = Running::start(kind.name(), kind.command(ground, address, way, dir)?)?;
        match kind {
            Kind::Wakemqd | Kind::Bare => {
                process.line("listening ").await?;
            }
            // Not asked by dialling: there are servers that a connection without a word confuses.
            Kind::Mosquitto | Kind::Rumqttd => {
                eventually(&format!("{} to listen on {address}", kind.name()), async || {
                    process.check()?;
                    Ok(proc::listens(address.port())?.then_some(()))
                })
                .await?;
            }
        }
        Ok(process)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Kills it: SIGKILL. Then starts it again at the same address, and waits until it listens.
    pub async fn kill_and_start(&mut self, ground: &Ground) -> Result<()> {
        self.process.kill().await?;
        self.process = Self::launch(ground, self.kind, self.address, self.way, self.dir.path()).await?;
        Ok(())
    }

    /// Returns the administrator's profile, of WakeMQ.
    pub fn profile(&self) -> Result<Profile> {
        wakemqd::profile(self.dir.path())
    }

    /// Returns where it listens for administrators, of WakeMQ.
    pub async fn admin(&mut self) -> Result<SocketAddr> {
        self.process.line("admin ").await?.parse().context("no address")
    }

    /// Ends it, and waits until all that it held is gone.
    pub async fn end(self) -> Result<()> {
        self.process.end().await
    }
}
