//! What heartbeats cost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::{With, begin, end};
use crate::fleet::found::Found;
use crate::fleet::ground::Ground;
use crate::fleet::progress;
use crate::fleet::sample::Sample;
use crate::fleet::target::Kind;
use crate::fleet::words::{Event, Order};

/// For how many agents with which heartbeat the share of a processor is told.
const AGENTS: f64 = 100_000.0;
const HEARTBEAT_SECS: f64 = 480.0;
/// How long nothing is sent, to see what a server does by itself.
const QUIET: Duration = Duration::from_secs(3);

/// Returns how many agents are connected.
pub(super) fn agents(quick: bool) -> usize {
    if quick { 1_000 } else { 10_000 }
}

pub(super) async fn round(ground: &Ground, targets: &[Kind]) -> Result<Found> {
    let count = agents(ground.setting.quick);
    let period = ground.setting.pick(Duration::from_secs(10), Duration::from_secs(2));
    let mut found = Found::new("idle: CPU of connections on which nothing but heartbeats moves");
    for &kind in targets {
        let name = kind.name();
        progress("idle", &format!("{name}: {count} agents, a heartbeat each {} s", period.as_secs()));
        let (mut target, mut crew) = begin(ground, kind, With::default()).await?;
        crew.connect(count).await.context(name)?;
        // What admissions left to be done is done by the time that memory has settled.
        let before = Sample::settled(&target, &crew).await?;
        sleep(QUIET).await;
        let quiet = Sample::now(&target, &crew)?.cpu - before.cpu;
        crew.order_all(Order::Ping(u64::try_from(period.as_millis())?)).await?;
        // The first heartbeats are spread over one period; the next period counts.
        count_pongs(&mut crew, period).await.context(name)?;
        let before = Sample::now(&target, &crew)?;
        let pongs = count_pongs(&mut crew, period).await.context(name)?;
        let after = Sample::now(&target, &crew)?;
        target.check()?;
        end(target, crew).await?;
        let each = (after.cpu - before.cpu).as_secs_f64() / pongs as f64;
        let report = &mut found.report;
        let what = format!("{name}: CPU while nothing is sent");
        report.add(what, quiet.as_secs_f64() * 1e3 / QUIET.as_secs_f64(), "ms/s");
        report.add(format!("{name}: CPU for a heartbeat"), each * 1e6, "us");
        let share = each * AGENTS / HEARTBEAT_SECS * 100.0;
        report.add(
            format!("{name}: {AGENTS} agents, a heartbeat each {HEARTBEAT_SECS} s"),
            share,
            "% of a CPU",
        );
    }
    found.report.note("bare is not measured: it answers no heartbeat");
    Ok(found)
}

async fn count_pongs(crew: &mut crate::fleet::crew::Crew, time: Duration) -> Result<u64> {
    crew.drain()?;
    let began = Instant::now();
    let mut pongs = 0;
    while began.elapsed() < time {
        if let Event::Pongs(more) = crew.next().await? {
            pongs += more;
        }
    }
    Ok(pongs)
}
