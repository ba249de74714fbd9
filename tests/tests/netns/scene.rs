//! A broker and its endpoints, in a network of their own.

use std::net::SocketAddr;

use anyhow::Result;
use tempfile::TempDir;
use wakemq_publisher::Management;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, init_for};
use wakemq_tests::operator::Wakemq;

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
        let mut network = Network::new()?;
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let address = Segment::Broker.address(2);
        init_for(&data, &address, config).await?;
        let broker = BrokerProcess::start_at(&data, SocketAddr::new(address.parse()?, 8883)).await?;
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

    pub(crate) fn management(&self) -> Result<Management> {
        self.broker.management()
    }

    pub(crate) fn wakemq(&self) -> Wakemq {
        Wakemq::admin(&self.broker)
    }
}
