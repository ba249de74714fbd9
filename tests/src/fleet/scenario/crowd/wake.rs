//! A wake of one agent among all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::publisher::Publisher;
use super::{Crowd, Finding};
use crate::figures::report::Goal;
use crate::figures::times::Times;
use crate::figures::wake::Flush;
use crate::fleet::found::Found;
use crate::fleet::target::Kind;
use crate::fleet::words::Event;
use crate::wait::within;

/// Between two wakes: what the one before left to be written is written.
const REST: Duration = Duration::from_millis(3);

/// Quantiles that have a goal.
const QUANTILES: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];

pub(super) async fn run(crowd: &mut Crowd<'_>, finding: &mut Finding) -> Result<()> {
    let (kind, ground) = (crowd.kind(), crowd.ground);
    let count = ground.setting.pick(1_000, 200);
    let mut order: Vec<usize> = (0..crowd.crew.connected()).collect();
    fastrand::shuffle(&mut order);
    order.truncate(count);
    let mut publisher = Publisher::connect(ground, &crowd.target).await?;
    let mut flush = match kind {
        Kind::Wakemqd => Some(Flush::new(&ground.setting, &ground.agents()[..count]).await?),
        Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => None,
    };
    let (mut delivered, mut accepted) = (Times::new()?, Times::new()?);
    crowd.crew.drain()?;
    for number in order {
        let agent = ground.agents().get(number).context("there is no such agent")?;
        let called = publisher.wake(agent).await?;
        let delivery = async {
            loop {
                if let Event::Got(of, at) = crowd.crew.next().await?
                    && of == number
                {
                    return Ok(at);
                }
            }
        };
        let both = async { tokio::try_join!(publisher.acknowledged(), delivery) };
        let (at, got) = within("a wake", both).await??;
        accepted.record(at.since(called))?;
        delivered.record(got.since(called))?;
        sleep(REST).await;
        if let Some(flush) = &mut flush {
            flush.take().await?;
        }
    }
    let name = kind.name();
    finding.found.times(kind, "publish to delivery", &delivered);
    accepted.tell(&mut finding.found.report, &format!("{name}: publish to PUBACK"));
    if let Some(flush) = &flush {
        flush.sync.tell(&mut finding.found.report, "one fdatasync of a page beside it");
        flush.commit.tell(&mut finding.found.report, "one flush beside it: a commit of such a store");
    }
    for (at, (_, quantile)) in QUANTILES.iter().enumerate() {
        finding.compared[at].note(kind, delivered.at(*quantile));
        if let Some(flush) = &flush {
            finding.flushes[at] = Some((flush.sync.at(*quantile), flush.commit.at(*quantile)));
        }
    }
    Ok(())
}

pub(super) fn conclude(finding: Finding) -> Found {
    let Finding { mut found, compared, flushes } = finding;
    for (at, (name, _)) in QUANTILES.iter().enumerate() {
        let [ours, plain] = [Kind::Wakemqd, Kind::Mosquitto].map(|kind| compared[at].of(kind));
        if let (Some(ours), Some(plain), Some((sync, commit))) = (ours, plain, flushes[at]) {
            let what = format!("{name}: wakemqd / (mosquitto + one flush)");
            found.report.add_with_goal(what, ours / (plain + commit), "", Goal::AtMost(1.0));
            let what = format!("{name}: wakemqd / (mosquitto + one fdatasync)");
            found.report.add(what, ours / (plain + sync), "");
        }
    }
    found.report.note(
        "one after another; wakemqd's are durable before they are accepted and delivered, the others write nothing \
         to disk. A flush is what the design calls so, one durable commit of WakeMQ's own store: it and an fdatasync of \
         a page, which is for information, are measured beside wakemqd's wakes, after each, on the same file system",
    );
    found
}
