//! How many submissions share one flush.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::Wol;
use wakemq_broker::door::Limits;
use wakemq_broker::engine::Advertise;
use wakemq_broker::init::{self, CA, CERTIFICATE, KEY, OPERATOR, Plan, STORE};
use wakemq_broker::server::{Broker, Settings};
use wakemq_broker::transport::server_config::server_config;
use wakemq_broker::transport::socket::listen;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{AgentId, Topic};
use wakemq_publisher::{Management, load_profile, new_command_id};

use super::client::{Dialer, KEEP_ALIVE_SECS, Lean};
use super::report::{Goal, Report};
use super::server::import_numbered;
use super::slow::{self, Flushes};
use super::{Setting, progress};
use crate::raw::{Login, Version, publish};
use crate::wait::within;

const FIGURE: &str = "flush";
/// How long a flush takes.
const FLUSH: Duration = Duration::from_millis(2);
const PUBLISHERS: usize = 64;
/// Agents of each publisher, where it has its own.
const AGENTS_EACH: usize = 50;
/// Agents where all publishers share them.
const AGENTS_SHARED: usize = 16;
/// Submissions on their way on one connection, where it does not wait for each.
const IN_FLIGHT: u16 = 32;
/// Submissions one after another, to learn how often the store flushes for one.
const ALONE: u64 = 50;
/// How long everything runs before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// What the publishers do.
struct Shape {
    name: &'static str,
    agents: usize,
    in_flight: u16,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "agents of its own, 1 in flight", agents: PUBLISHERS * AGENTS_EACH, in_flight: 1 },
    Shape { name: "agents of its own, 32 in flight", agents: PUBLISHERS * AGENTS_EACH, in_flight: IN_FLIGHT },
    Shape { name: "the same 16 agents, 1 in flight", agents: AGENTS_SHARED, in_flight: 1 },
    Shape { name: "the same 16 agents, 32 in flight", agents: AGENTS_SHARED, in_flight: IN_FLIGHT },
];

/// Measures.
pub async fn measure(setting: &Setting) -> Result<Report> {
    let mut report = Report::new("flush: submissions of 64 publishers that share an injected flush of 2 ms");
    let duration = setting.pick(Duration::from_secs(4), Duration::from_secs(1));
    for shape in &SHAPES {
        progress(FIGURE, shape.name);
        let broker = SlowBroker::start(setting, shape.agents).await?;
        let each = flushes_for_one(&broker).await?;
        let found = run(&broker, shape, duration).await?;
        let per_flush = found.submissions / found.flushes;
        let goal = Goal::AtLeast(10.0);
        report.add_with_goal(format!("{}: for each flush", shape.name), per_flush, "submissions", goal);
        report.add(format!("{}: for each commit", shape.name), per_flush * each, "submissions");
        report.add(format!("{}: rate", shape.name), found.submissions / found.secs, "submissions/s");
        report.add(format!("{}: flushes", shape.name), found.flushes / found.secs, "flushes/s");
        report.note(format!("one submission alone flushes {each} times: that is a commit"));
    }
    report.note(
        "broker, publishers and their TLS share one process; the agents are offline, so that a submission \
         supersedes the one before it for the same agent",
    );
    Ok(report)
}

/// A broker within this process, on a store whose flush is slow.
struct SlowBroker {
    broker: Broker,
    flushes: Flushes,
    dialer: Dialer,
    profile: Profile,
    agents: Vec<AgentId>,
    _dir: TempDir,
}

impl SlowBroker {
    async fn start(setting: &Setting, agents: usize) -> Result<Self> {
        let dir = setting.tempdir()?;
        let data = dir.path();
        let clock = Clock::start();
        let plan = Plan { data: data.to_owned(), hosts: vec!["127.0.0.1".parse()?], ports: vec![8883] };
        init::initialise(&plan, clock.now()).await?;
        let flushes = Flushes::default();
        let store = slow::open(data.join(STORE), FLUSH, &flushes, clock.now())?;
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        init::set_profile_endpoints(data, &[address.to_string()])?;
        let broker = Broker::start(Settings {
            listeners: vec![listener],
            admin: Vec::new(),
            tls: server_config(&data.join(CERTIFICATE), &data.join(KEY))?,
            store,
            clock,
            advertise: Advertise { endpoints: vec![address.to_string()], ca: None },
            limits: Limits::default(),
            wol: Wol::default(),
            metrics: Arc::default(),
        })
        .await?;
        let dialer = Dialer::new(address, &data.join(CA))?;
        let profile = load_profile(&data.join(OPERATOR))?;
        let imported = import_numbered(&mut Management::new(&profile)?, agents).await?;
        let agents = imported.into_iter().map(|(agent, _)| agent).collect();
        Ok(Self { broker, flushes, dialer, profile, agents, _dir: dir })
    }

    async fn publisher(&self, number: usize) -> Result<Lean> {
        let user = format!("op:{}", self.profile.operator);
        let mut login = Login::new(Version::V5, &user, self.profile.secret.expose());
        login.client_id = format!("p{number}");
        login.keep_alive = KEEP_ALIVE_SECS;
        let mut lean = self.dialer.dial(None).await?;
        lean.enter(&login).await?;
        Ok(lean)
    }

    /// Returns the agents of one publisher.
    fn agents_of(&self, number: usize) -> Vec<String> {
        let topic = |agent: &AgentId| Topic::AgentCommands(agent.clone()).to_string();
        let own = self.agents.chunks(AGENTS_EACH).nth(number).filter(|_| self.agents.len() > AGENTS_SHARED);
        own.unwrap_or(&self.agents).iter().map(topic).collect()
    }
}

/// Finds how often the store flushes for a submission that shares with none.
async fn flushes_for_one(broker: &SlowBroker) -> Result<f64> {
    let mut lean = broker.publisher(PUBLISHERS).await?;
    let topics = broker.agents_of(0);
    let before = broker.flushes.count();
    for topic in topics.iter().cycle().take(usize::try_from(ALONE)?) {
        lean.send(&publish(Version::V5, 1, topic, &payload()?, &[])).await?;
        within("a PUBACK", lean.next()).await??.puback()?;
    }
    let flushes = broker.flushes.count() - before;
    // What the broker writes by itself meanwhile is less than one in each.
    Ok((flushes as f64 / ALONE as f64).round())
}

/// What was counted.
struct Found {
    submissions: f64,
    flushes: f64,
    secs: f64,
}

async fn run(broker: &SlowBroker, shape: &Shape, duration: Duration) -> Result<Found> {
    let done = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let lean = within("a publisher's connection", broker.publisher(number)).await??;
        publishers.spawn(submit(lean, broker.agents_of(number), shape.in_flight, done.clone()));
    }
    let read = || (done.load(Ordering::Acquire), broker.flushes.count(), Instant::now());
    let counted = async {
        sleep(WARM_UP).await;
        let before = read();
        sleep(duration).await;
        (before, read())
    };
    let (before, after) = tokio::select! {
        counted = counted => counted,
        ended = publishers.join_next() => {
            ended.context("there is no publisher")???;
            anyhow::bail!("a publisher ended by itself");
        }
    };
    ensure!(after.0 > before.0 && after.1 > before.1, "nothing was submitted");
    ensure!(broker.broker.engine().registry().agents_connected() == 0, "an agent is connected");
    Ok(Found {
        submissions: (after.0 - before.0) as f64,
        flushes: (after.1 - before.1) as f64,
        secs: (after.2 - before.2).as_secs_f64(),
    })
}

/// Submits as fast as it may, for ever.
async fn submit(mut lean: Lean, topics: Vec<String>, in_flight: u16, done: Arc<AtomicU64>) -> Result<()> {
    let mut free: Vec<u16> = (1..=in_flight).collect();
    let mut topics = topics.iter().cycle();
    loop {
        let mut bytes = Vec::new();
        for packet_id in free.drain(..) {
            let topic = topics.next().context("no agents")?;
            bytes.extend(publish(Version::V5, packet_id, topic, &payload()?, &[]));
        }
        lean.send(&bytes).await?;
        let mut next = Some(lean.next().await?);
        while let Some(packet) = next {
            free.push(packet.puback()?);
            done.fetch_add(1, Ordering::AcqRel);
            next = lean.take()?;
        }
    }
}

fn payload() -> Result<Vec<u8>> {
    let id = new_command_id().context("no random numbers")?;
    Ok(serde_json::to_vec(&json!({ "id": id, "kind": "wake" }))?)
}
