//! Agents come and leave at a steady rate: does memory creep?

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::{MissedTickBehavior, interval};

use super::{With, begin, end};
use crate::figures::proc;
use crate::figures::report::Goal;
use crate::fleet::found::Found;
use crate::fleet::ground::Ground;
use crate::fleet::plot::Plot;
use crate::fleet::progress;
use crate::fleet::sample::slope;
use crate::fleet::target::Kind;
use crate::fleet::words::{Event, Order};

/// How many come a second.
const RATE: u32 = 300;
/// For how many milliseconds each stays.
const STAY_MS: u64 = 1_000;
/// How often memory is read.
const LOOK: Duration = Duration::from_millis(500);
/// Memory at the end in proportion to a quarter of the time.
const GOAL: f64 = 1.05;

/// Agents that are parked all the time, and agents that come and leave in turn.
fn parked_and_coming(quick: bool) -> [usize; 2] {
    if quick { [500, 1_000] } else { [2_000, 4_000] }
}

/// Returns how many agents are needed.
pub(super) fn agents(quick: bool) -> usize {
    parked_and_coming(quick).iter().sum()
}

pub(super) async fn round(ground: &Ground, targets: &[Kind]) -> Result<Found> {
    let [parked, coming] = parked_and_coming(ground.setting.quick);
    let time = ground.setting.pick(Duration::from_secs(120), Duration::from_secs(8));
    let mut found = Found::new("churn: agents come and leave at a steady rate");
    for &kind in targets {
        let name = kind.name();
        progress("churn", &format!("{name}: {RATE} a second, for {} s", time.as_secs()));
        let (mut target, mut crew) = begin(ground, kind, With::default()).await?;
        crew.connect(parked).await.context(name)?;
        let member = crew.hire()?;
        crew.order(member, Order::Churn(parked, coming, RATE, STAY_MS)).await?;
        let (mut left, mut points) = (0_u64, Vec::new());
        let began = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while began.elapsed() < time {
            tokio::select! {
                event = crew.next() => if let Event::Left(_) = event.context(name)? {
                    left += 1;
                },
                _ = looks.tick() => {
                    let resident = proc::memory(target.pid())?.resident as f64;
                    points.push((began.elapsed().as_secs_f64(), resident / 1e6));
                }
            }
        }
        target.check()?;
        end(target, crew).await?;
        // What a server needs for so many at a time, it needs from a quarter of the time on.
        let steady = &points[points.len() / 4..];
        let (first, last) = (steady.first().context("no reading")?.1, steady.last().context("no reading")?.1);
        let report = &mut found.report;
        report.add(format!("{name}: came and left"), left as f64 / time.as_secs_f64(), "agents/s");
        report.add(format!("{name}: resident after a quarter of the time"), first, "MB");
        report.add(format!("{name}: resident at the end"), last, "MB");
        let what = format!("{name}: resident, end / quarter");
        match kind {
            Kind::Wakemqd => report.add_with_goal(what, last / first, "", Goal::AtMost(GOAL)),
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => report.add(what, last / first, ""),
        }
        let each = slope(steady) * 1e6 / f64::from(RATE);
        report.add(format!("{name}: memory that each left behind, from then on"), each, "bytes");
        found.curve(Plot::Churn, kind, points);
    }
    found.report.note(format!(
        "{parked} agents are parked all the time; the others say goodbye after {STAY_MS} ms, each of {coming} in turn, \
         with a full handshake each time"
    ));
    Ok(found)
}
