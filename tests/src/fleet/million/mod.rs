//! A broker in this process and more sessions than there are descriptors: real handshakes and logins over streams in
//! memory, the real door, engine and registry. The clients vanish once they are subscribed, and what is left on the
//! heap is the broker's.

pub mod crowd;
pub mod enrolled;
pub mod stream;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::Wol;
use wakemq_broker::door::Limits;
use wakemq_broker::engine::Advertise;
use wakemq_broker::init::{self, CA, CERTIFICATE, KEY, STORE};
use wakemq_broker::metrics::Metrics;
use wakemq_broker::server::{Broker, Settings};
use wakemq_broker::store::{self, Admin, AdminOp, AdminOutcome, Durability, Store};
use wakemq_broker::transport::server_config::server_config;
use wakemq_protocol::{AgentId, GroupPath, Secret, SecretHash, SecretKind, Topic};

use self::stream::stream;
use crate::figures::client::{Dialer, agent_login};
use crate::figures::proc;

/// The store's cache: small, since it is full after some thousands of agents and is no part of a session.
const CACHE_BYTES: usize = 1 << 20;
/// Agents that are enrolled in one write.
const BATCH: usize = 5_000;
/// Handshakes at a time.
const DIALS: usize = 64;
/// How long the heap must stay the same to count as settled, how nearly, and how long that is waited for.
const LOOK: Duration = Duration::from_millis(200);
const SAME_LOOKS: usize = 5;
const LOOKS_MAX: usize = 150;
const SAME_BYTES: usize = 64 << 10;
const SAME_BYTES_A_SESSION: usize = 8;

/// How agents are enrolled.
#[derive(Clone, Copy)]
struct Plan {
    cache_bytes: usize,
    group: fn(usize) -> Result<GroupPath>,
}

/// Connects as many sessions as each of `sizes` says, and prints `heap SESSIONS BYTES RESIDENT` for each and for none.
pub async fn run(dir: &Path, sizes: &[usize], heap: &dyn Fn() -> usize) -> Result<()> {
    let all = sizes.last().copied().unwrap_or_default();
    let plan = Plan { cache_bytes: CACHE_BYTES, group: |_| Ok("test".parse()?) };
    let (broker, store, clock) = start(dir, plan.cache_bytes).await?;
    enrol(&*store, &clock, all, plan).await?;
    let dialer = dialer(dir)?;
    tell(0, heap).await?;
    let mut before = 0;
    for &size in sizes {
        let numbers: Vec<_> = (before..size).collect();
        connect(&broker, &dialer, &numbers).await?;
        before = size;
        let connected = broker.engine().registry().agents_connected();
        ensure!(connected == size, "{connected} of {size} agents are connected");
        tell(size, heap).await?;
    }
    Ok(())
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

fn dialer(dir: &Path) -> Result<Dialer> {
    Dialer::new(address(), &dir.join(CA))
}

/// Connects agents.
async fn connect(broker: &Broker, dialer: &Dialer, numbers: &[usize]) -> Result<()> {
    let mut dialling = JoinSet::new();
    let mut numbers = numbers.iter();
    loop {
        while dialling.len() < DIALS
            && let Some(&number) = numbers.next()
        {
            let (socket, client) = stream();
            tokio::spawn(broker.door().clone().serve(socket, address()));
            dialling.spawn(arrive(dialer.clone(), client, number));
        }
        match dialling.join_next().await {
            Some(arrived) => arrived?.context("an agent was not let in")?,
            None => return Ok(()),
        }
    }
}

async fn start(dir: &Path, cache_bytes: usize) -> Result<(Broker, Arc<dyn Store>, Clock)> {
    let clock = Clock::start();
    initialise(dir, &clock).await?;
    let metrics = Arc::new(Metrics::new());
    let (path, now, observer) = (dir.join(STORE), clock.now(), metrics.clone());
    let opening =
        tokio::task::spawn_blocking(move || store::open_observed(&path, cache_bytes, now, observer));
    let store = opening.await??;
    let broker = start_on(dir, store.clone(), clock.clone(), metrics).await?;
    Ok((broker, store, clock))
}

async fn initialise(dir: &Path, clock: &Clock) -> Result<()> {
    let plan = init::Plan { data: dir.to_owned(), hosts: vec!["127.0.0.1".parse()?], ports: vec![8883] };
    Ok(init::initialise(&plan, clock.now()).await?)
}

/// Starts a broker on a store, with the certificates of a directory.
async fn start_on(dir: &Path, store: Arc<dyn Store>, clock: Clock, metrics: Arc<Metrics>) -> Result<Broker> {
    let settings = Settings {
        listeners: Vec::new(),
        admin: Vec::new(),
        tls: server_config(&dir.join(CERTIFICATE), &dir.join(KEY))?,
        store,
        clock,
        advertise: Advertise { endpoints: Vec::new(), ca: None },
        limits: Limits { admissions_per_sec: 1_000_000, admission_burst: 1_000_000, ..Limits::default() },
        wol: Wol::default(),
        metrics,
    };
    Ok(Broker::start(settings).await?)
}

async fn enrol(store: &dyn Store, clock: &Clock, count: usize, plan: Plan) -> Result<()> {
    for first in (0..count).step_by(BATCH) {
        let some = first..count.min(first + BATCH);
        let ops = some.map(|number| {
            let (agent, secret) = agent(number)?;
            let op = AdminOp::CreateAgent { agent, group: (plan.group)(number)?, secret: hash(&secret)? };
            Ok(Admin { op, actor: None })
        });
        let outcomes = store.write(ops.collect::<Result<_>>()?, Durability::Lazy, clock.now()).await?;
        let bad = outcomes.iter().find(|outcome| **outcome != AdminOutcome::Done);
        ensure!(bad.is_none(), "an agent was not enrolled: {bad:?}");
    }
    Ok(())
}

/// Returns an agent, and a secret that needs no memory.
fn agent(number: usize) -> Result<(AgentId, Secret)> {
    let mut random = [0; 32];
    random[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Ok((format!("a{number}").parse()?, Secret::from_random(SecretKind::Agent, &random)))
}

/// As a store knows a secret.
fn hash(secret: &Secret) -> Result<SecretHash> {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.expose().as_bytes());
    Ok(SecretHash(digest.as_ref().try_into()?))
}

async fn arrive(dialer: Dialer, client: stream::Client, number: usize) -> Result<()> {
    let (agent, secret) = agent(number)?;
    let mut lean = dialer.over(client).await?;
    lean.enter(&agent_login(&agent, &secret)?).await?;
    lean.subscribe(&Topic::AgentCommands(agent).to_string()).await
}

/// Waits until the heap has settled, and returns what it is.
///
/// # Errors
/// If it does not settle.
pub async fn heap_settles(sessions: usize, heap: &dyn Fn() -> usize) -> Result<usize> {
    let near = SAME_BYTES + sessions * SAME_BYTES_A_SESSION;
    let (mut last, mut same) = (heap(), 0);
    for _ in 0..LOOKS_MAX {
        sleep(LOOK).await;
        let now = heap();
        same = if now.abs_diff(last) <= near { same + 1 } else { 0 };
        if same == SAME_LOOKS {
            return Ok(now);
        }
        last = now;
    }
    bail!("the heap with {sessions} sessions does not settle")
}

/// Prints a reading, once the heap has settled.
async fn tell(sessions: usize, heap: &dyn Fn() -> usize) -> Result<()> {
    let settled = heap_settles(sessions, heap).await?;
    let resident = proc::memory(std::process::id())?.resident;
    writeln!(std::io::stdout(), "heap {sessions} {settled} {resident}").context("standard output")
}
