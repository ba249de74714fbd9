//! The server is killed under its agents and started again: until the last is back, and what it answers meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::publisher::Publisher;
use super::{Crowd, Finding, compare_memory};
use crate::figures::report::Goal;
use crate::figures::times::Times;
use crate::fleet::clock::Moment;
use crate::fleet::found::Found;
use crate::fleet::plot::Plot;
use crate::fleet::sample::Sample;
use crate::fleet::target::Kind;
use crate::fleet::words::{Arrival, Event};

mod health;

use health::Health;

/// How often an agent that is back is woken.
const WAKE_EACH: Duration = Duration::from_millis(100);
/// The time until all are back, in proportion to what nobody could be below.
const GOAL_TIME: f64 = 1.5;
/// How many points the curve has.
const POINTS: usize = 200;

pub(super) async fn run(crowd: &mut Crowd<'_>, finding: &mut Finding) -> Result<()> {
    let (kind, name) = (crowd.kind(), crowd.kind().name());
    let before = Sample::settled(&crowd.target, &crowd.crew).await?;
    crowd.crew.drain()?;
    let advised = crowd.crew.return_secs() as f64;
    let killed = Moment::now();
    crowd.target.kill_and_start(crowd.ground).await?;
    let listening = Moment::now().since(killed);
    let back = match kind {
        Kind::Wakemqd => {
            let health = Health::start(crowd.ground, &mut crowd.target).await?;
            let (back, wakes) = watch_and_wake(crowd, killed).await?;
            health.stop().await?.tell(&mut finding.found.report, name);
            wakes.tell(&mut finding.found.report, &format!("{name}: wake of one that is back, meanwhile"));
            back
        }
        Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => watch(crowd, killed).await?,
    };
    let after = Sample::settled(&crowd.target, &crowd.crew).await?;
    let last = back.last().copied().unwrap_or_default();
    let [times, advice] = &mut finding.compared;
    times.note(kind, last);
    advice.note(kind, advised);
    let report = &mut finding.found.report;
    report.add(format!("{name}: it listens again"), listening.as_secs_f64() * 1e3, "ms");
    report.add(format!("{name}: advised to come back within"), advised, "s");
    report.add(format!("{name}: half of the agents are back"), back[back.len() / 2], "s");
    report.add(format!("{name}: the last agent is back"), last, "s");
    let cpu_us = after.cpu.as_secs_f64() * 1e6 / back.len() as f64;
    report.add(format!("{name}: CPU for each of them, the start included"), cpu_us, "us");
    report.add(format!("{name}: resident before"), before.memory.resident as f64 / 1e6, "MB");
    compare_memory(report, kind, &before, &after);
    let point = |at: usize| (back[at], (at + 1) as f64);
    let mut points: Vec<_> = (0..back.len()).step_by((back.len() / POINTS).max(1)).map(point).collect();
    points.extend(back.len().checked_sub(1).map(point));
    finding.found.curve(Plot::Storm, kind, points);
    Ok(())
}

/// Who is back, and after how many seconds.
struct Back {
    killed: Moment,
    who: HashSet<usize>,
    after: Vec<f64>,
}

impl Back {
    fn new(killed: Moment) -> Self {
        Self { killed, who: HashSet::new(), after: Vec::new() }
    }

    /// Takes in an arrival. Who is lost once more and comes again counts as back the first time.
    fn note(&mut self, arrival: Arrival) {
        if arrival.at > self.killed && self.who.insert(arrival.number) {
            self.after.push(arrival.at.since(self.killed).as_secs_f64());
        }
    }

    fn sorted(mut self) -> Vec<f64> {
        self.after.sort_by(f64::total_cmp);
        self.after
    }
}

/// Waits until all are back; returns after how many seconds each was.
async fn watch(crowd: &mut Crowd<'_>, killed: Moment) -> Result<Vec<f64>> {
    let mut back = Back::new(killed);
    while back.who.len() < crowd.crew.connected() {
        if let Event::Up(arrival) = crowd.crew.next().await? {
            back.note(arrival);
        }
    }
    Ok(back.sorted())
}

/// Does the same, and wakes one after another of those that are back.
async fn watch_and_wake(crowd: &mut Crowd<'_>, killed: Moment) -> Result<(Vec<f64>, Times)> {
    let mut publisher = Publisher::connect(crowd.ground, &crowd.target).await?;
    let mut back = Back::new(killed);
    let (mut wakes, mut waiting, mut latest) = (Times::new()?, None, None);
    let mut ticks = interval(WAKE_EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while back.who.len() < crowd.crew.connected() || waiting.is_some() {
        tokio::select! {
            event = crowd.crew.next() => match event? {
                Event::Up(arrival) => {
                    back.note(arrival);
                    latest = Some(arrival.number);
                }
                Event::Got(number, at) => {
                    if let Some((_, called)) = waiting.take_if(|(of, _)| *of == number) {
                        wakes.record(at.since(called))?;
                    }
                }
                Event::Lost(number) => {
                    // Its wake waits for it in its inbox, and says nothing of the broker.
                    waiting.take_if(|(of, _)| *of == number);
                }
                Event::Pongs(_) | Event::Muted | Event::Left(_) | Event::Closed(_) | Event::Failed(_) => {}
            },
            acknowledged = publisher.acknowledged() => {
                acknowledged?;
            }
            _ = ticks.tick() => if let (None, Some(number)) = (waiting, latest.take()) {
                waiting = Some((number, publisher.wake(&crowd.ground.agents()[number]).await?));
            },
        }
    }
    Ok((back.sorted(), wakes))
}

pub(super) fn conclude(finding: Finding) -> Found {
    let Finding { mut found, compared: [times, advice], .. } = finding;
    let [ours, bare] = [Kind::Wakemqd, Kind::Bare].map(|kind| times.of(kind));
    if let (Some(ours), Some(bare), Some(advised)) = (ours, bare, advice.of(Kind::Wakemqd)) {
        let what = "last one back: wakemqd / the longer of the bare handshakes and the advised time";
        found.report.add_with_goal(what, ours / bare.max(advised), "", Goal::AtMost(GOAL_TIME));
    }
    found.report.note(
        "wakemqd's agents come back at a random moment of the time that it advised; the others give no advice, and \
         their agents come at once, 32 of each load process at a time, and again after 0.5 to 1.5 s",
    );
    found
}
