//! Where cases are run: a broker within the test, a witness that must not be disturbed, and what is counted.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wakemq_broker::registry::Live;
use wakemq_protocol::{AgentId, Kind, Submission};
use wakemq_publisher::{Publisher, Verdict as Reached, Wanted};
use wakemq_tests::broker::client_tls;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Client, Login, Packet, Version};
use wakemq_tests::wait::{LIMIT, eventually, within};

use crate::case::{AGENT, AGENT_SECRET, Case, Codes, End, OPERATOR_SECRET, Role, Said, TARGET};
use crate::packet::ping;

/// How many bytes a stream holds: more than any case sends, so that nobody waits for the other to read.
const STREAM_BYTES: usize = 512 * 1024;
/// How long a case may take. A broker that hangs takes longer than any machine is slow.
const CASE_LIMIT: Duration = Duration::from_secs(20);
/// How many cases run at a time, each with an agent of its own.
pub(crate) const WORKERS: usize = 8;
/// After how many cases the witness is woken.
const WITNESS_EVERY: usize = 250;
const WITNESS: &str = "witness";

/// A broker and what is needed to attack it.
pub(crate) struct Range {
    broker: InProcessBroker,
    connector: TlsConnector,
    operator_secret: String,
    agents: Vec<(String, String)>,
    witness: tokio::sync::Mutex<Witness>,
    dialled: AtomicU32,
}

/// An agent and a publisher whose wakes must come through all the time.
struct Witness {
    agent: Client,
    publisher: Publisher,
    slowest: Duration,
    wakes: usize,
}

/// What is held for connections.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    live: Live,
    timers: usize,
    tasks: usize,
    door: usize,
    engine: usize,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) cases: usize,
    pub(crate) failures: Vec<String>,
}

impl Range {
    pub(crate) async fn open() -> Result<Self> {
        let broker = InProcessBroker::start(Injected::default()).await?;
        let names: Vec<_> = (0..WORKERS).map(|n| format!("bad-agent-{n:03}")).collect();
        ensure!(names[0] == AGENT);
        let wanted: Vec<_> = names.iter().map(String::as_str).chain([TARGET, WITNESS]).collect();
        let made = broker.import(&wanted).await?;
        let secret = |name: &str| {
            let found = made.iter().find(|(id, _)| id.as_str() == name);
            found.map(|(_, secret)| secret.expose().to_owned()).context("an agent was not made")
        };
        let agents =
            names.iter().map(|name| Ok((name.clone(), secret(name)?))).collect::<Result<Vec<_>>>()?;
        let operator_secret = broker.profile()?.secret.expose().to_owned();
        ensure!(operator_secret.len() == OPERATOR_SECRET.len() && agents[0].1.len() == AGENT_SECRET.len());
        let connector = TlsConnector::from(client_tls(&broker.ca_path(), &["mqtt"])?);
        let mut agent = broker.dial().await?;
        agent.enter(&Login::new(Version::V5, WITNESS, &secret(WITNESS)?)).await?;
        agent.subscribe(&format!("wake/v1/agents/{WITNESS}/commands"), 1).await?;
        let publisher = broker.publisher().await?;
        let witness = Witness { agent, publisher, slowest: Duration::ZERO, wakes: 0 };
        let witness = tokio::sync::Mutex::new(witness);
        Ok(Self { broker, connector, operator_secret, agents, witness, dialled: AtomicU32::new(0) })
    }

    /// Opens a connection over an in-memory stream; the task is the broker's side of it.
    async fn dial(&self) -> Result<(Client, JoinHandle<()>)> {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        // Each connection from an address of its own: a source of many wrong secrets is answered later and later.
        let number = self.dialled.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::from(0x0A00_0000 + number), 1));
        let task = tokio::spawn(self.broker.broker.door().clone().serve(theirs, address));
        let name = ServerName::try_from("localhost")?;
        let tls =
            timeout(CASE_LIMIT, self.connector.connect(name, ours)).await.context("a TLS handshake")??;
        Ok((Client::on(tls, Version::V5), task))
    }

    /// Puts a worker's own identity in place of the one in the cases' bytes.
    fn personal(&self, worker: usize, bytes: &[u8]) -> Vec<u8> {
        let (agent, secret) = &self.agents[worker];
        let mut bytes = bytes.to_vec();
        for (from, to) in [(AGENT, agent), (AGENT_SECRET, secret), (OPERATOR_SECRET, &self.operator_secret)] {
            let (from, to) = (from.as_bytes(), to.as_bytes());
            let mut at = 0;
            while at + from.len() <= bytes.len() {
                if bytes[at..].starts_with(from) {
                    bytes[at..at + to.len()].copy_from_slice(to);
                    at += from.len();
                } else {
                    at += 1;
                }
            }
        }
        bytes
    }

    /// Runs one case; the error says what was wrong.
    pub(crate) async fn run(&self, worker: usize, case: &Case) -> Result<()> {
        let (mut client, task) = self.dial().await?;
        let seen = timeout(CASE_LIMIT, self.attack(worker, case, &mut client)).await;
        let seen = seen.unwrap_or_else(|_| bail!("the broker neither answers nor closes"));
        drop(client);
        // Whatever was sent, the broker's side ends with the connection, and not by a panic.
        let ended = timeout(CASE_LIMIT, task).await.context("the connection's task does not end");
        ended?.context("the connection's task panicked")?;
        seen
    }

    async fn attack(&self, worker: usize, case: &Case, client: &mut Client) -> Result<()> {
        if case.peer.connected {
            let user = String::from_utf8(self.personal(worker, case.peer.role.user().as_bytes()))?;
            let secret = match case.peer.role {
                Role::Agent => &self.agents[worker].1,
                Role::Operator => &self.operator_secret,
            };
            client.enter(&Login::new(case.peer.version, &user, secret)).await?;
        } else {
            client.speak(answered_in(case));
        }
        // A broker that closes early does not take all of it, and what it said is what counts.
        client.send(&self.personal(worker, &case.bytes)).await.ok();
        let verdict = &case.verdict;
        let ping_ends = verdict.end == End::Alive;
        match verdict.end {
            End::Alive => client.send(&ping()).await?,
            End::Waits | End::Any => client.finish().await?,
            End::Leaves | End::Closes(_) | End::Refuses(..) | End::Drops | End::Either(..) => {}
        }
        let pongs = verdict.said.iter().filter(|said| **said == Said::Pong).count() + usize::from(ping_ends);
        let mut heard = VecDeque::new();
        let mut pongs_heard = 0;
        while pongs_heard < pongs || !ping_ends {
            match client.next().await? {
                // Responses and events come when they come.
                Some(Packet::Publish { .. }) => {}
                Some(packet) => {
                    pongs_heard += usize::from(packet == Packet::PingResp);
                    heard.push_back(packet);
                }
                None if ping_ends => bail!("closed, after {heard:?}"),
                None => break,
            }
        }
        if verdict.end == End::Any {
            return Ok(());
        }
        for (at, said) in verdict.said.iter().enumerate() {
            let packet = heard.pop_front();
            ensure!(packet.as_ref().is_some_and(|packet| fits(said, packet)), "answer {at} is {packet:?}");
        }
        if ping_ends {
            ensure!(heard.pop_front() == Some(Packet::PingResp), "no PINGRESP");
        }
        let rest: Vec<_> = heard.into();
        ensure!(ends(case.peer.version, &verdict.end, &rest), "at the end came {rest:?}");
        Ok(())
    }

    /// Runs cases, several at a time, and wakes the witness now and then.
    pub(crate) async fn run_all(self: &Arc<Self>, cases: Vec<Case>) -> Result<Report> {
        let count = cases.len();
        let cases = Arc::new(Mutex::new(cases.into_iter().enumerate()));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..WORKERS {
            let (range, cases, failures) = (self.clone(), cases.clone(), failures.clone());
            workers.spawn(async move {
                loop {
                    let Some((number, case)) = cases.lock().next() else { return Ok::<_, anyhow::Error>(()) };
                    if let Err(error) = range.run(worker, &case).await {
                        failures.lock().push(format!(
                            "{}\n    sent {}\n    right is {}\n    but: {error:#}",
                            case.reproducer(),
                            shortened(&case.bytes),
                            shortened_text(&format!("{:?}", case.verdict)),
                        ));
                    }
                    if number % WITNESS_EVERY == 0 {
                        range.wake().await?;
                    }
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        self.wake().await?;
        let failures = std::mem::take(&mut *failures.lock());
        Ok(Report { cases: count, failures })
    }

    /// Wakes the witness, and fails unless it comes through.
    pub(crate) async fn wake(&self) -> Result<()> {
        let mut witness = self.witness.lock().await;
        let witness = &mut *witness;
        let began = Instant::now();
        let agent: AgentId = WITNESS.parse()?;
        let submitted = witness.publisher.submit(&agent, Submission::new(Kind::Wake));
        let mut sent = within("the witness's wake to be accepted", submitted).await??;
        let (packet_id, _) = witness.agent.command().await.context("the witness was disturbed")?;
        witness.slowest = witness.slowest.max(began.elapsed());
        witness.wakes += 1;
        witness.agent.acknowledge(packet_id).await?;
        ensure!(sent.wait(Wanted::Acknowledged, LIMIT).await? == Reached::Reached, "not acknowledged");
        Ok(())
    }

    /// Returns how often the witness was woken, and how long the slowest wake took.
    pub(crate) async fn witnessed(&self) -> (usize, Duration) {
        let witness = self.witness.lock().await;
        (witness.wakes, witness.slowest)
    }

    /// Counts what is held at the moment.
    pub(crate) fn held(&self) -> Held {
        let broker = &self.broker.broker;
        Held {
            live: broker.engine().registry().live(),
            timers: broker.door().timers_set(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            door: Arc::strong_count(broker.door()),
            engine: Arc::strong_count(broker.engine()),
        }
    }

    /// Waits until no more is held than before.
    pub(crate) async fn settled(&self, before: &Held) -> Result<()> {
        let seen = eventually("what connections held to be given back", async || {
            Ok((self.held() == *before).then_some(()))
        });
        seen.await.with_context(|| format!("before: {before:?}, now: {:?}", self.held()))
    }
}

/// The version in which the answers of a first packet are to be read.
fn answered_in(case: &Case) -> Version {
    fn of(end: &End) -> Option<Version> {
        match end {
            End::Refuses(version, _) => Some(*version),
            End::Either(one, other) => of(one).or_else(|| of(other)),
            End::Alive | End::Waits | End::Leaves | End::Closes(_) | End::Drops | End::Any => None,
        }
    }
    // A changed level changes the version; it stands behind the name.
    let let_in = case.verdict.said.contains(&Said::Welcome);
    let level = case.bytes.windows(5).find(|window| window.starts_with(b"MQTT")).map(|window| window[4]);
    match (of(&case.verdict.end), level) {
        (Some(version), _) => version,
        (None, Some(4)) if let_in => Version::V4,
        (None, Some(5)) if let_in => Version::V5,
        _ => case.peer.version,
    }
}

fn fits(said: &Said, packet: &Packet) -> bool {
    match (said, packet) {
        (Said::Welcome, Packet::ConnAck { code: 0, .. }) | (Said::Pong, Packet::PingResp) => true,
        (Said::PubAck(id, codes), Packet::PubAck { packet_id, code, .. }) => {
            packet_id == id && codes.contains(code)
        }
        (Said::SubAck(id, wanted), Packet::SubAck { packet_id, codes, .. }) => {
            let each = |(wanted, code): (&Codes, &u8)| wanted.contains(code);
            packet_id == id && wanted.len() == codes.len() && wanted.iter().zip(codes).all(each)
        }
        (Said::UnsubAck(id, n), Packet::UnsubAck { packet_id, codes }) => {
            packet_id == id && *n == codes.len()
        }
        (
            Said::Welcome | Said::Pong | Said::PubAck(..) | Said::SubAck(..) | Said::UnsubAck(..),
            Packet::ConnAck { .. }
            | Packet::Publish { .. }
            | Packet::PubAck { .. }
            | Packet::SubAck { .. }
            | Packet::UnsubAck { .. }
            | Packet::PingResp
            | Packet::Disconnect { .. },
        ) => false,
    }
}

/// Tells whether the last packets before the close are right.
fn ends(version: Version, end: &End, rest: &[Packet]) -> bool {
    match (end, rest) {
        (End::Either(one, other), _) => ends(version, one, rest) || ends(version, other, rest),
        (End::Any, _) | (End::Alive | End::Waits | End::Leaves | End::Drops, []) => true,
        (End::Closes(codes), []) => version == Version::V4 && !codes.is_empty(),
        (End::Closes(codes), [Packet::Disconnect { code, properties }]) => {
            // People are told why, and agents when to return.
            codes.contains(code)
                && properties.reason().is_some()
                && properties.user("wakemq-return").is_some()
        }
        (End::Refuses(_, codes), [Packet::ConnAck { code, .. }]) => codes.contains(code),
        (End::Alive | End::Waits | End::Leaves | End::Drops | End::Closes(_) | End::Refuses(..), _) => false,
    }
}

fn shortened(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().take(160).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 160 { format!("{hex}… ({} bytes)", bytes.len()) } else { hex }
}

fn shortened_text(text: &str) -> String {
    text.chars().take(300).collect()
}
