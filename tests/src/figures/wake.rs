//! How long a wake-up takes, from the publisher's call to the agent.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::interval;
use wakemq_broker::store::{
    self, Actor, Admin, AdminOp, Delivery, Durability, NewCommand, Store, Submitted, Target,
};
use wakemq_protocol::{AgentId, CommandId, GroupPath, Kind, SecretHash, Submission, Timestamp};
use wakemq_publisher::{Publisher, Verdict, Wanted, new_command_id};

use super::fleet::Fleet;
use super::report::Report;
use super::server::{Data, Server};
use super::shipped::Shipped;
use super::times::Times;
use super::{Setting, progress};
use crate::wait::within;

const FIGURE: &str = "wake";
const AGENTS: usize = 1_000;
/// Between two submissions of the second part.
const PACE: Duration = Duration::from_millis(10);
/// As in the default configuration.
const CACHE_BYTES: usize = 64 << 20;
/// What a flush of the file system is measured with.
const PAGE: [u8; 4096] = [0x5A; 4096];

/// Measures.
pub async fn measure(setting: &Setting, shipped: &Shipped) -> Result<Report> {
    let mut report = Report::new(
        "wake: from the publisher's call to the agent's receipt of the PUBLISH, durable, over TLS",
    );
    let agents = AGENTS;
    let server = Server::start(shipped, Data::init(shipped, setting).await?).await?;
    progress(FIGURE, &format!("connecting {agents} agents"));
    let mut fleet = Fleet::connect(&server, &server.import(agents).await?).await?;
    let publisher = within("the publisher's connection", Publisher::connect(&server.profile()?)).await??;
    let mut flush = Flush::new(setting, &fleet.agents).await?;

    let count = setting.pick(AGENTS, 200);
    progress(FIGURE, &format!("{count} wakes one after another"));
    let one = one_by_one(&mut fleet, &publisher, &mut flush, count).await?;
    one.delivered.tell(&mut report, "one after another: call to delivery");
    one.accepted.tell(&mut report, "one after another: call to PUBACK");
    flush.commit.tell(&mut report, "one submission to a store beside it (a commit)");
    flush.sync.tell(&mut report, "one fdatasync of a page beside it");
    let beyond = one.delivered.at(0.5) - flush.commit.at(0.5);
    report.add("one after another: delivery less a commit, of the medians", beyond, "us");

    let count = setting.pick(2_000, 300);
    progress(FIGURE, &format!("{count} wakes, one each {} ms", PACE.as_millis()));
    let paced = paced(&mut fleet, &publisher, count).await?;
    paced.delivered.tell(&mut report, "100 a second: call to delivery");
    paced.accepted.tell(&mut report, "100 a second: call to PUBACK");
    publisher.close().await;
    report.note(format!(
        "{agents} agents and the publisher (the library) are in one process, the broker as shipped in another; \
         each agent sends its PUBACK at once and no receipt"
    ));
    report.note(
        "one after another: the next wake follows when the broker has told that the one before is acknowledged, \
         and after one commit and one fdatasync beside it on the same file system",
    );
    Ok(report)
}

/// What was found in one part.
struct Found {
    delivered: Times,
    accepted: Times,
}

fn wake() -> Result<(CommandId, Submission)> {
    let id = new_command_id().context("no random numbers")?;
    Ok((id, Submission { id: Some(id), ..Submission::new(Kind::Wake) }))
}

async fn one_by_one(
    fleet: &mut Fleet,
    publisher: &Publisher,
    flush: &mut Flush,
    count: usize,
) -> Result<Found> {
    let mut found = Found { delivered: Times::new()?, accepted: Times::new()? };
    for agent in fleet.order().take(count) {
        let (id, submission) = wake()?;
        let called = Instant::now();
        let submitting = async {
            let submitted = publisher.submit(&agent, submission).await?;
            Ok::<_, anyhow::Error>((submitted, called.elapsed()))
        };
        let (submitted, receipt) =
            within("a wake", async { tokio::try_join!(submitting, fleet.received()) }).await??;
        let (mut submitted, accepted) = submitted;
        ensure!(receipt.id == id, "another command was delivered");
        found.delivered.record(receipt.at - called)?;
        found.accepted.record(accepted)?;
        let verdict = submitted.wait(Wanted::Acknowledged, Duration::from_secs(10)).await?;
        ensure!(verdict == Verdict::Reached, "a wake ended as {:?}", submitted.outcome());
        flush.take().await?;
    }
    Ok(found)
}

async fn paced(fleet: &mut Fleet, publisher: &Publisher, count: usize) -> Result<Found> {
    let mut found = Found { delivered: Times::new()?, accepted: Times::new()? };
    let mut called = HashMap::new();
    let mut submitting = JoinSet::new();
    let mut agents = fleet.order().take(count);
    let mut ticks = interval(PACE);
    let mut left = count;
    let mut sent_all = false;
    while left > 0 || !submitting.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if !sent_all => match agents.next() {
                Some(agent) => {
                    let (id, submission) = wake()?;
                    let publisher = publisher.clone();
                    let now = Instant::now();
                    called.insert(id, now);
                    submitting.spawn(async move {
                        let submitted = publisher.submit(&agent, submission).await?;
                        Ok::<_, anyhow::Error>((submitted.id(), now.elapsed()))
                    });
                }
                None => sent_all = true,
            },
            Some(accepted) = submitting.join_next() => found.accepted.record(accepted??.1)?,
            receipt = within("the deliveries", fleet.received()), if left > 0 => {
                let receipt = receipt??;
                let called = called.remove(&receipt.id).context("a command that nobody published")?;
                found.delivered.record(receipt.at - called)?;
                left -= 1;
            }
        }
    }
    Ok(found)
}

/// What making something durable costs on this file system, without anything around it.
pub struct Flush {
    store: Arc<dyn Store>,
    file: Arc<File>,
    agents: Vec<AgentId>,
    /// What commits took.
    pub commit: Times,
    /// What fdatasyncs took.
    pub sync: Times,
    _dir: TempDir,
}

impl Flush {
    /// Makes a store like the broker's, with as many agents.
    pub async fn new(setting: &Setting, agents: &[AgentId]) -> Result<Self> {
        let dir = setting.tempdir()?;
        let path = dir.path().join("store");
        let opening = path.clone();
        let store = tokio::task::spawn_blocking(move || {
            store::create(&opening)?;
            store::open(&opening, CACHE_BYTES, now())
        });
        let store = store.await??;
        let create = |(number, agent): (usize, &AgentId)| {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let (agent, group) = (agent.clone(), "test".parse()?);
            Ok(Admin { op: AdminOp::CreateAgent { agent, group, secret: SecretHash(secret) }, actor: None })
        };
        let ops = agents.iter().enumerate().map(create).collect::<Result<Vec<_>>>()?;
        store.write(ops, Durability::Flushed, now()).await?;
        let file = Arc::new(File::create_new(dir.path().join("page"))?);
        // A file that grows would flush its length too.
        file.write_all_at(&PAGE, 0)?;
        file.sync_all()?;
        let agents = agents.to_vec();
        Ok(Self { store, file, agents, commit: Times::new()?, sync: Times::new()?, _dir: dir })
    }

    /// Measures one commit, of a command for the next agent, and one fdatasync.
    pub async fn take(&mut self) -> Result<()> {
        let (id, submission) = wake()?;
        let command = NewCommand {
            id,
            actor: Actor { by: "op:admin".into(), address: None },
            scope: GroupPath::root(),
            target: Target::Agent(self.agents.pop().context("more commits than agents")?),
            submission: Submission { id: None, ..submission },
            expires: Timestamp::from_unix_ms(now().unix_ms() + 86_400_000),
            delivery: Delivery::Inbox,
        };
        let began = Instant::now();
        let submitted = self.store.submit(vec![command], now()).await?;
        self.commit.record(began.elapsed())?;
        ensure!(
            matches!(submitted[..], [Submitted::Accepted { .. }]),
            "the store took nothing: {submitted:?}"
        );

        let file = self.file.clone();
        let syncing = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            file.write_all_at(&PAGE, 0)?;
            file.sync_data()?;
            Ok::<_, std::io::Error>(began.elapsed())
        });
        self.sync.record(syncing.await??)
    }
}

/// The store is told the time; any will do.
fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_790_000_000_000)
}
