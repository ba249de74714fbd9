//! A broker and its endpoints, in a network of their own.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use wakemq_protocol::Reach;
use wakemq_publisher::{Management, Wanted};
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, init_for};
use wakemq_tests::operator::Wakemq;
use wakemq_tests::wait::eventually;
use wakemq_tests::waking::wake;

use crate::host::Host;
use crate::network::{Network, Segment};

/// A test's world.
pub(crate) struct Scene {
    pub(crate) broker: BrokerProcess,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    _data: TempDir,
}

impl Scene {
    /// Makes the network, a broker with `config` added to its configuration, and an endpoint for each name.
    pub(crate) async fn new(config: &str, hosts: &[(&str, Segment)]) -> Result<Self> {
        let address = Segment::Broker.address(2);
        let network = Network::new()?;
        Self::on(network, SocketAddr::new(address.parse()?, 8883), &[], config, hosts).await
    }

    /// Does the same in a network that is there, with a broker of certain doors. Agents are told its first one.
    pub(crate) async fn on(
        mut network: Network,
        door: SocketAddr,
        others: &[SocketAddr],
        config: &str,
        hosts: &[(&str, Segment)],
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        init_for(&data, &host_text(door.ip()), config).await?;
        let broker = BrokerProcess::start_with_doors(&data, door, others).await?;
        let names: Vec<_> = hosts.iter().map(|(name, _)| *name).collect();
        let secrets = broker.import(&names).await?;
        let mut made = Vec::new();
        for (((name, segment), (id, secret)), number) in hosts.iter().zip(secrets).zip(10..) {
            let home = Home::imported(&broker, &id, &secret)?;
            let namespace = network.host(name, *segment, number)?;
            made.push(Host { namespace, segment: *segment, number, home });
        }
        Ok(Self { broker, hosts: made, network, _data: dir })
    }

    /// Makes a network with one endpoint `pc-1` on subnet A, and a broker at a host of its own subnet that listens on
    /// the ports 8883 and 443; the agent is told the host alone, and so tries both.
    pub(crate) async fn with_both_ports(host: &str) -> Result<Self> {
        let host = host.parse()?;
        let doors = [8883, 443].map(|port| SocketAddr::new(host, port));
        let network = Network::new()?;
        let scene = Self::on(network, doors[0], &doors[1..], "", &[("pc-1", Segment::A)]).await?;
        scene.hosts[0].home.set_endpoints(vec![host_text(host)])?;
        Ok(scene)
    }

    pub(crate) fn management(&self) -> Result<Management> {
        self.broker.management()
    }

    /// Waits until the broker knows by which way an endpoint came, and that is as it should be.
    pub(crate) async fn reach(
        &self,
        host: usize,
        what: &str,
        good: impl Fn(&Reach) -> bool,
    ) -> Result<Reach> {
        let mut management = self.management()?;
        let mut last = None;
        let found = eventually(what, async || {
            last = management.agent(self.hosts[host].id()).await?.facts.and_then(|facts| facts.reach);
            Ok(last.clone().filter(|reach| good(reach)))
        })
        .await;
        found.with_context(|| format!("it came by {last:?}"))
    }

    /// Wakes an endpoint, waits until it has said that this is done, and prints how long it took.
    pub(crate) async fn wake(&self, host: usize, story: &str) -> Result<()> {
        wake(&self.broker.publisher().await?, self.hosts[host].id(), Wanted::Done, story).await
    }

    pub(crate) fn wakemq(&self) -> Wakemq {
        Wakemq::admin(&self.broker)
    }
}

/// Writes an address as an endpoint without a port.
fn host_text(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}
