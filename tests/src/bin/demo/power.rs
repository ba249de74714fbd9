//! Switching an endpoint on: on loopback and a port of the demo's own, so that no packet leaves the machine.
//!
//! The agents are told what hardware to tell of; the sleeper's adapter is a socket that waits for the packet.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::sleep;
use wakemq_protocol::{MacAddr, MagicPacket};
use wakemq_tests::agents::{AgentProcess, Home};
use wakemq_tests::broker::BrokerProcess;
use wakemq_tests::process::Process;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::{eventually, within};

use crate::timeline::Timeline;

/// How long a boot takes here, in whole seconds: below that nobody could tell it from one that was under way.
const BOOT: Duration = Duration::from_secs(1);
/// More than any magic packet has.
const DATAGRAM_MAX: usize = 256;

/// What the demo pretends: one network, on loopback.
pub(crate) struct Lan {
    /// Where sleepers listen.
    wire: UdpSocket,
}

/// An endpoint of it.
pub(crate) struct Machine {
    pub(crate) home: Home,
    mac: MacAddr,
}

impl Lan {
    pub(crate) async fn new() -> Result<Self> {
        Ok(Self { wire: UdpSocket::bind(("0.0.0.0", 0)).await? })
    }

    /// Returns what the broker's configuration says of it.
    pub(crate) fn config(&self) -> Result<String> {
        Ok(format!("[wol]\nports = [{}]\ntimeout_secs = 30\n", self.wire.local_addr()?.port()))
    }

    /// Sleeps until a packet for a machine comes; returns its length.
    async fn packet_for(&self, mac: MacAddr) -> Result<usize> {
        let mut bytes = [0; DATAGRAM_MAX];
        loop {
            let len = self.wire.recv(&mut bytes).await?;
            if MagicPacket::parse(&bytes[..len]).is_some_and(|packet| packet.mac == mac) {
                return Ok(len);
            }
        }
    }
}

impl Machine {
    pub(crate) fn new(home: Home, number: u8) -> Self {
        Self { home, mac: MacAddr::new([0x00, 0x16, 0x3e, 0, 0, number]) }
    }

    /// Runs its agent, which tells that the machine was booted so many seconds ago.
    pub(crate) fn run(&self, boot: &str, since_boot: u64) -> Result<AgentProcess> {
        let facts = json!({
            "boot_id": boot,
            "since_boot": since_boot,
            "since_resume": since_boot,
            "interfaces": [{ "name": "lo", "mac": self.mac, "medium": "wired", "addresses": ["127.0.0.1/8"] }],
        });
        let file = self.home.path("facts.json");
        std::fs::write(&file, facts.to_string())?;
        self.home.run_with(&["--declare", file.to_str().context("a path that is no text")?])
    }
}

/// Switches a machine on that is off, by its neighbours.
pub(crate) async fn switch_on(
    line: &Timeline,
    broker: &BrokerProcess,
    lan: &Lan,
    machine: &Machine,
) -> Result<AgentProcess> {
    let (id, name) = (machine.home.id(), machine.home.id().as_str());
    let mut management = broker.management()?;
    eventually("the broker to see that a machine is off", async || {
        Ok((!management.power(id).await?.connected).then_some(()))
    })
    .await?;
    line.tell("operator", format!("asks `wakemq explain {name}`:"))?;
    let mut explain = wakemq(broker, &["explain", name])?;
    let status = explain.wait_exit().await?;
    line.show(&explain)?;
    ensure!(status.success(), "{}", explain.explain(anyhow::anyhow!("{status}")));

    line.tell("operator", format!("runs `wakemq wol {name}`"))?;
    let began = Instant::now();
    let mut wol = wakemq(broker, &["wol", name, "--timeout", "30s"])?;
    let len = within("a magic packet", lan.packet_for(machine.mac)).await??;
    line.measured(name, format!("is asleep; its adapter got a packet of {len} bytes"), began.elapsed())?;
    sleep(BOOT).await;
    let agent = machine.run("demo-2", BOOT.as_secs())?;
    let status = wol.wait_exit().await?;
    line.measured("operator", format!("was told that {name} is up:"), began.elapsed())?;
    line.show(&wol)?;
    ensure!(status.success(), "{}", wol.explain(anyhow::anyhow!("{status}")));
    Ok(agent)
}

/// Runs the operator's command line as the administrator.
fn wakemq(broker: &BrokerProcess, args: &[&str]) -> Result<Process> {
    let mut command = Command::new(&Programs::get()?.wakemq);
    command.args(args).env("WAKEMQ_PROFILE", broker.profile_path());
    Process::start(format!("wakemq {}", args[0]), command)
}
