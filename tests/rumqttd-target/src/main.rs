//! rumqttd with its own TLS listener, for MQTT 5: `rumqttd-target ADDRESS CERTIFICATE KEY`.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings, TlsConfig};

/// More than the benchmark connects.
const CONNECTIONS: usize = 20_000;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context("usage: rumqttd-target ADDRESS CERTIFICATE KEY");
    let listen: SocketAddr = next()?.parse().context("no address")?;
    let tls = TlsConfig::Rustls { capath: None, certpath: next()?, keypath: next()? };
    // The figures of its own example configuration, but for how many may connect and how soon after each other.
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 20_480,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "v5".to_owned(),
        listen,
        tls: Some(tls),
        next_connection_delay_ms: 0,
        connections,
    };
    let router = RouterConfig {
        max_connections: CONNECTIONS,
        max_outgoing_packet_count: 200,
        max_segment_size: 100 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config {
        router,
        v5: Some(HashMap::from([("v5".to_owned(), server)])),
        ..Config::default()
    };
    Broker::new(config).start().context("rumqttd ended")
}
