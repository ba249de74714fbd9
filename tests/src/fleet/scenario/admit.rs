//! What it costs to let an agent in, and how many a second are let in.

use anyhow::{Context as _, Result};

use super::{With, begin, end};
use crate::figures::report::Goal;
use crate::fleet::found::{ByTarget, Found};
use crate::fleet::ground::Ground;
use crate::fleet::progress;
use crate::fleet::sample::Sample;
use crate::fleet::target::Kind;

/// CPU in proportion to the bare handshake, and to Mosquitto.
const GOAL_OF_BARE: f64 = 1.25;
const GOAL_OF_MOSQUITTO: f64 = 0.5;

/// How many agents are let in, those included that come before it counts.
pub(super) fn agents(quick: bool) -> usize {
    if quick { 1_500 } else { 8_000 }
}

/// Agents that come first: what is allocated and faulted in once belongs to none of those that count.
fn before(quick: bool) -> usize {
    if quick { 500 } else { 2_000 }
}

pub(super) async fn round(ground: &Ground, targets: &[Kind]) -> Result<Found> {
    let (first, all) = (before(ground.setting.quick), agents(ground.setting.quick));
    let more = (all - first) as f64;
    let mut found = Found::new("admit: TLS handshake, CONNECT and SUBSCRIBE of an agent");
    let mut cpu = ByTarget::default();
    for &kind in targets {
        let name = kind.name();
        progress("admit", &format!("{name}: {all} agents"));
        let (mut target, mut crew) = begin(ground, kind, With::default()).await?;
        crew.connect(first).await.context(name)?;
        let before = Sample::now(&target, &crew)?;
        let coming = crew.connect(all).await.context(name)?;
        let after = Sample::now(&target, &crew)?;
        target.check()?;
        end(target, crew).await?;
        let each_us = (after.cpu - before.cpu).as_secs_f64() * 1e6 / more;
        let load_us = (after.load_cpu - before.load_cpu).as_secs_f64() * 1e6 / more;
        cpu.note(kind, each_us);
        let report = &mut found.report;
        report.add(format!("{name}: CPU to admit an agent"), each_us, "us");
        report.add(format!("{name}: CPU of the load for it"), load_us, "us");
        let rate = more / coming.took.as_secs_f64();
        report.add(format!("{name}: admitted, the load on the same machine"), rate, "agents/s");
        coming.each.tell(report, &format!("{name}: dialling to SUBACK"));
    }
    cpu.ratio(&mut found.report, "CPU to admit", Kind::Bare, Goal::AtMost(GOAL_OF_BARE));
    cpu.ratio(&mut found.report, "CPU to admit", Kind::Mosquitto, Goal::AtMost(GOAL_OF_MOSQUITTO));
    found.report.note(
        "wakemqd looks up each agent's secret and tells its presence; mosquitto and rumqttd let anybody in, bare \
         looks at nothing",
    );
    Ok(found)
}
