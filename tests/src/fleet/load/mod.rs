//! A load process: many lean agents, told what to do on standard input.
//!
//! It keeps no clock of its own but the machine's, and tells every arrival and every delivery with its moment, so
//! that one who watches several load processes can put them in order.

mod agent;
mod churn;
mod mute;
mod parked;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite, kx_group};
use tokio::sync::{Semaphore, mpsc, watch};
use wakemq_protocol::{AgentId, Secret};

use super::DESCRIPTORS;
use super::way::Way;
use super::words::{Event, Order};
use crate::broker::roots;
use crate::descriptors;
use crate::figures::client::Dialer;

/// Agents that share a source address: one address has not enough ports for all.
const AGENTS_AN_ADDRESS: usize = 1_000;
/// Events that wait to be written; whoever has one more waits.
const EVENTS: usize = 8_192;
/// Orders that wait.
const ORDERS: usize = 16;
/// Most events that are written at once.
const EVENTS_AT_ONCE: usize = 1_024;

/// What a load process is told at its start.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The CA to trust.
    pub ca: PathBuf,
    /// Lines of an agent and its secret.
    pub agents: PathBuf,
    /// By which transport agents come. By others than MQTT they are parked, and do nothing else.
    pub way: Way,
    /// A topic to which each agent subscribes beside its own.
    pub also: Option<String>,
    /// Whether agents come back when their connection is lost; otherwise that is a failure.
    pub returns: bool,
    /// How many connect at a time.
    pub dials: usize,
}

/// What all agents of a process share.
struct Shared {
    dialer: Dialer,
    address: SocketAddr,
    agents: Vec<(AgentId, Secret)>,
    way: Way,
    also: Option<String>,
    returns: bool,
    dials: Semaphore,
    standing: watch::Sender<Standing>,
    events: mpsc::Sender<Event>,
}

/// What holds for all agents at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    /// How often all connections were to be reset so far.
    resets: u64,
    /// How often heartbeats are sent.
    ping: Option<Duration>,
    /// Whether no more agents are to come.
    calm: bool,
}

impl Shared {
    async fn tell(&self, event: Event) {
        // Whoever reads the events has gone only if the process ends.
        self.events.send(event).await.ok();
    }
}

/// Runs until standard input ends.
pub async fn run(load: Load) -> Result<()> {
    descriptors::raise(DESCRIPTORS)?;
    let text = std::fs::read_to_string(&load.agents)?;
    let (events, told) = mpsc::channel(EVENTS);
    let shared = Arc::new(Shared {
        dialer: dialer(&load)?,
        address: load.address,
        agents: text.lines().map(agent_and_secret).collect::<Result<_>>()?,
        way: load.way,
        also: load.also,
        returns: load.returns,
        dials: Semaphore::new(load.dials),
        standing: watch::Sender::default(),
        events,
    });
    let (ordered, orders) = mpsc::channel(ORDERS);
    std::thread::spawn(move || read(&ordered));
    let writer = tokio::task::spawn_blocking(move || write(told));
    tokio::select! {
        ended = obey(&shared, orders) => ended,
        ended = writer => ended?,
    }
}

/// Offers one cipher suite and one group, so that every target spends the same on cryptography.
fn dialer(load: &Load) -> Result<Dialer> {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![kx_group::X25519],
        ..ring::default_provider()
    };
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(&load.ca)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![load.way.alpn().into()];
    Dialer::with(Arc::new(config), load.address)
}

fn agent_and_secret(line: &str) -> Result<(AgentId, Secret)> {
    let (agent, secret) = line.split_once(' ').context("no line of agent and secret")?;
    Ok((agent.parse()?, secret.parse()?))
}

/// Reads orders for as long as there are any; the end of the channel is that of standard input.
fn read(ordered: &mpsc::Sender<Result<Order>>) {
    for line in std::io::stdin().lines() {
        let order = line.context("standard input").and_then(|line| line.parse());
        if ordered.blocking_send(order).is_err() {
            return;
        }
    }
}

async fn obey(shared: &Arc<Shared>, mut orders: mpsc::Receiver<Result<Order>>) -> Result<()> {
    while let Some(order) = orders.recv().await {
        match order? {
            Order::Connect(first, count) => {
                for number in first..first + count {
                    match shared.way {
                        Way::Mqtt => tokio::spawn(agent::live(shared.clone(), number)),
                        Way::Websocket | Way::Poll | Way::PollH2 => {
                            tokio::spawn(parked::live(shared.clone(), number))
                        }
                    };
                }
            }
            Order::Reset => shared.standing.send_modify(|standing| standing.resets += 1),
            Order::Ping(ms) => {
                shared.standing.send_modify(|standing| standing.ping = Some(Duration::from_millis(ms)));
            }
            Order::Mute(count) => mute::hold(shared, count),
            Order::Churn(first, count, rate, stay) => {
                tokio::spawn(churn::run(shared.clone(), first..first + count, rate, stay));
            }
            Order::Calm => shared.standing.send_modify(|standing| standing.calm = true),
        }
    }
    Ok(())
}

/// Writes what the agents tell, as much at once as there is.
fn write(mut events: mpsc::Receiver<Event>) -> Result<()> {
    let mut some = Vec::new();
    while events.blocking_recv_many(&mut some, EVENTS_AT_ONCE) > 0 {
        let lines: String = some.drain(..).map(|event| format!("{event}\n")).collect();
        std::io::stdout().write_all(lines.as_bytes()).context("standard output")?;
    }
    Ok(())
}

/// Returns the address from which an agent dials.
fn source(number: usize) -> Result<Ipv4Addr> {
    let block = number / AGENTS_AN_ADDRESS;
    Ok(Ipv4Addr::new(127, 1, u8::try_from(block / 250)?, u8::try_from(1 + block % 250)?))
}
