//! All connections are reset under the living server, again and again: does memory come back?

use anyhow::Result;

use super::{Crowd, Finding, compare_memory};
use crate::fleet::found::Found;
use crate::fleet::progress;
use crate::fleet::sample::Sample;

/// How often.
const TIMES: usize = 5;

pub(super) async fn run(crowd: &mut Crowd<'_>, finding: &mut Finding) -> Result<()> {
    let (kind, name) = (crowd.kind(), crowd.kind().name());
    let before = Sample::settled(&crowd.target, &crowd.crew).await?;
    let mut slowest = 0_f64;
    for time in 1..=TIMES {
        progress("flap", &format!("{name}: {time} of {TIMES}"));
        slowest = slowest.max(crowd.crew.reset().await?.took.as_secs_f64());
    }
    let after = Sample::settled(&crowd.target, &crowd.crew).await?;
    let report = &mut finding.found.report;
    report.add(format!("{name}: resident before"), before.memory.resident as f64 / 1e6, "MB");
    report.add(format!("{name}: resident after"), after.memory.resident as f64 / 1e6, "MB");
    compare_memory(report, kind, &before, &after);
    report.add(format!("{name}: until all were back, the slowest time"), slowest, "s");
    Ok(())
}

pub(super) fn conclude(finding: Finding) -> Found {
    let mut found = finding.found;
    found.report.note("the agents come back at once, 32 of each load process at a time");
    found
}
