//! What 100,000 imported agents cost, most of whom are away, and a wake of all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wakemq_broker::init::STORE;
use wakemq_protocol::{GroupPath, Kind, Submission, Topic, to_json};
use wakemq_publisher::new_command_id;

use super::fleet::Fleet;
use super::proc::settled_memory;
use super::report::Report;
use super::server::{Data, Server};
use super::shipped::Shipped;
use super::{Setting, progress};
use crate::raw::{Version, publish};
use crate::wait::within;

const FIGURE: &str = "import";
/// Agents that are connected when all are woken.
const CONNECTED: usize = 10;

/// Measures.
pub async fn measure(setting: &Setting, shipped: &Shipped) -> Result<Report> {
    let mut report = Report::new("import: a broker that knows 100,000 agents, ten of which are connected");
    let count = setting.pick(100_000, 5_000);
    let server = Server::start(shipped, Data::init(shipped, setting).await?).await?;
    let empty = settled_memory(server.process.pid()).await?.own;
    progress(FIGURE, &format!("importing {count} agents"));
    let began = Instant::now();
    let imported = server.import(count).await?;
    report.add("imported", count as f64 / began.elapsed().as_secs_f64(), "agents/s");
    let after = settled_memory(server.process.pid()).await?.own;
    report.add("own memory, empty", empty as f64 / 1e6, "MB");
    report.add("own memory after the import", after as f64 / 1e6, "MB");
    report.add("store after the import", store_size(server.data.path())?, "MB");

    progress(FIGURE, "starting again");
    let Server { data, process, .. } = server;
    process.end().await?;
    let began = Instant::now();
    let server = Server::start(shipped, data).await?;
    report.add("start until it listens", began.elapsed().as_secs_f64() * 1e3, "ms");
    let mut fleet = Fleet::connect(&server, &imported[..CONNECTED]).await?;
    let mut operator = server.operator().await?;
    let before = settled_memory(server.process.pid()).await?.own;
    report.add("own memory after the start", before as f64 / 1e6, "MB");
    let store = store_size(server.data.path())?;

    progress(FIGURE, "waking all");
    let (accepted, delivered) = wake_all(&mut fleet, &mut operator).await?;
    report.add("wake of all: PUBACK", accepted.as_secs_f64() * 1e3, "ms");
    report.add("wake of all: the ten have it", delivered.as_secs_f64() * 1e3, "ms");
    let after = settled_memory(server.process.pid()).await?.own;
    report.add("wake of all: own memory more", (after as f64 - before as f64) / 1e3, "kB");
    report.add("wake of all: store more", (store_size(server.data.path())? - store) * 1e3, "kB");
    report.note("own memory is RssAnon: the store's cache (64 MiB at most) is part of it");
    Ok(report)
}

async fn wake_all(fleet: &mut Fleet, operator: &mut super::client::Lean) -> Result<(Duration, Duration)> {
    let id = new_command_id().context("no random numbers")?;
    let submission = Submission { id: Some(id), ..Submission::new(Kind::Wake) };
    let topic = Topic::GroupCommands(GroupPath::root()).to_string();
    let called = Instant::now();
    operator.send(&publish(Version::V5, 1, &topic, &to_json(&submission), &[])).await?;
    operator.next().await?.puback()?;
    let accepted = called.elapsed();
    let mut last = called;
    for _ in 0..CONNECTED {
        let received = within("a delivery", fleet.received()).await??;
        ensure!(received.id == id, "another command was delivered");
        last = last.max(received.at);
    }
    Ok((accepted, last - called))
}

/// Returns the size of the store's file, in MB.
fn store_size(data: &Path) -> Result<f64> {
    Ok(std::fs::metadata(data.join(STORE))?.len() as f64 / 1e6)
}
