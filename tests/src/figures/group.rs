//! A wake of a whole group: how long until its first, middle and last agent have it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use wakemq_protocol::{GroupPath, Kind, Submission, Topic, to_json};
use wakemq_publisher::{Management, new_command_id};

use super::client::{Dialer, Lean};
use super::fleet::Fleet;
use super::report::Report;
use super::server::{Data, Server};
use super::shipped::Shipped;
use super::times::Times;
use super::{Setting, progress};
use crate::descriptors;
use crate::raw::{Login, Version, publish};
use crate::wait::within;

/// Descriptors that this process needs at most.
const DESCRIPTORS: u64 = 12_000;

const FIGURE: &str = "group";
/// Wakes of the whole group, one after another.
const WAKES: usize = 3;
/// How often the counts are asked for.
const LOOK: Duration = Duration::from_millis(50);

/// Measures.
pub async fn measure(setting: &Setting, shipped: &Shipped) -> Result<Report> {
    let mut report =
        Report::new("group: one wake of all connected agents, durable, over TLS, from the call on");
    let count = setting.pick(10_000, 1_000);
    descriptors::raise(DESCRIPTORS)?;
    let server = Server::start(shipped, Data::init(shipped, setting).await?).await?;
    progress(FIGURE, &format!("connecting {count} agents"));
    let mut fleet = Fleet::connect(&server, &server.import(count).await?).await?;
    let mut operator = operator(&server).await?;
    let mut management = Management::new(&server.profile()?)?;
    let mut rates = Vec::new();
    for wake in 1..=WAKES {
        progress(FIGURE, &format!("wake {wake} of {WAKES}"));
        let found = one(&mut fleet, &mut operator, &mut management, count).await?;
        if wake == WAKES {
            // The first ones warm up what the broker's allocator and caches need.
            report.add("accepted: PUBACK", found.accepted.as_secs_f64() * 1e3, "ms");
            report.add("first agent has it", found.times.at(0.0) / 1e3, "ms");
            report.add("half of the agents have it", found.times.at(0.5) / 1e3, "ms");
            report.add("last agent has it", found.times.at(1.0) / 1e3, "ms");
            report.add("all acknowledgements durable", found.recorded.as_secs_f64() * 1e3, "ms");
        }
        rates.push(count as f64 / (found.times.at(1.0) / 1e6));
    }
    report.add("delivered, last wake", rates.last().copied().unwrap_or_default(), "agents/s");
    report.add("delivered, first wake", rates.first().copied().unwrap_or_default(), "agents/s");
    report.note(format!(
        "{count} agents are connected and subscribed, and share one process on the same machine with their TLS; each \
         acknowledges at once, and the broker writes each acknowledgement while it delivers to the others"
    ));
    Ok(report)
}

struct Found {
    accepted: Duration,
    times: Times,
    recorded: Duration,
}

async fn one(
    fleet: &mut Fleet,
    operator: &mut Lean,
    management: &mut Management,
    count: usize,
) -> Result<Found> {
    let id = new_command_id().context("no random numbers")?;
    let submission = Submission { id: Some(id), ..Submission::new(Kind::Wake) };
    let topic = Topic::GroupCommands(GroupPath::root()).to_string();
    let called = Instant::now();
    operator.send(&publish(Version::V5, 1, &topic, &to_json(&submission), &[])).await?;
    operator.next().await?.puback()?;
    let accepted = called.elapsed();
    let mut times = Times::new()?;
    for _ in 0..count {
        let received = within("a delivery", fleet.received()).await??;
        ensure!(received.id == id, "another command was delivered");
        times.record(received.at.saturating_duration_since(called))?;
    }
    loop {
        let counts = management.command(id).await?.counts.context("no counts")?;
        if counts.acknowledged == count as u64 {
            return Ok(Found { accepted, times, recorded: called.elapsed() });
        }
        sleep(LOOK).await;
    }
}

/// Connects the administrator over MQTT.
pub async fn operator(server: &Server) -> Result<Lean> {
    let profile = server.profile()?;
    let mut lean = Dialer::new(server.address, &server.data.ca())?.dial(None).await?;
    let name = format!("op:{}", profile.operator);
    lean.enter(&Login::new(Version::V5, &name, profile.secret.expose())).await?;
    Ok(lean)
}
