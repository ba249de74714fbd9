//! One command for all agents.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;
use wakemq_protocol::CommandId;
use wakemq_publisher::Management;

use super::publisher::Publisher;
use super::{Crowd, Finding};
use crate::figures::report::Goal;
use crate::figures::times::Times;
use crate::fleet::clock::Moment;
use crate::fleet::found::Found;
use crate::fleet::plot::Plot;
use crate::fleet::progress;
use crate::fleet::sample::Sample;
use crate::fleet::target::Kind;
use crate::fleet::words::Event;
use crate::wait::LIMIT;

/// Commands one after another. The first ones warm up what allocators and caches need; the last one counts.
const TIMES: usize = 3;
/// How often WakeMQ's counts are asked for.
const LOOK: Duration = Duration::from_millis(50);
/// Between two commands where nobody tells that one is done with.
const REST: Duration = Duration::from_millis(500);
/// How many points the curve of a command has.
const POINTS: usize = 100;

pub(super) async fn run(crowd: &mut Crowd<'_>, finding: &mut Finding) -> Result<()> {
    let (kind, name) = (crowd.kind(), crowd.kind().name());
    let mut publisher = Publisher::connect(crowd.ground, &crowd.target).await?;
    let mut management = match kind {
        Kind::Wakemqd => Some(Management::new(&crowd.target.profile()?)?),
        Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => None,
    };
    let mut last = None;
    for time in 1..=TIMES {
        progress("group", &format!("{name}: {time} of {TIMES}"));
        last = Some(one(crowd, &mut publisher, management.as_mut()).await?);
    }
    let One { accepted, mut arrivals, recorded, cpu } = last.context("no command")?;
    let count = arrivals.len();
    let mut times = Times::new()?;
    for arrival in &arrivals {
        times.record(*arrival)?;
    }
    arrivals.sort();
    let all = arrivals.last().copied().unwrap_or_default();
    let rate = count as f64 / all.as_secs_f64();
    finding.compared[0].note(kind, rate);
    let report = &mut finding.found.report;
    report.add(format!("{name}: accepted: PUBACK"), accepted.as_secs_f64() * 1e3, "ms");
    report.add(format!("{name}: first agent has it"), times.at(0.0) / 1e3, "ms");
    report.add(format!("{name}: half of the agents have it"), times.at(0.5) / 1e3, "ms");
    report.add(format!("{name}: last agent has it"), all.as_secs_f64() * 1e3, "ms");
    if let Some(recorded) = recorded {
        report.add(format!("{name}: all acknowledgements durable"), recorded.as_secs_f64() * 1e3, "ms");
    }
    report.add(format!("{name}: CPU for each agent"), cpu.as_secs_f64() * 1e6 / count as f64, "us");
    report.add(format!("{name}: delivered"), rate, "agents/s");
    let point = |at: usize| (arrivals[at].as_secs_f64(), (at + 1) as f64);
    let mut points: Vec<_> = (0..count).step_by((count / POINTS).max(1)).map(point).collect();
    points.extend(count.checked_sub(1).map(point));
    finding.found.curve(Plot::Group, kind, points);
    Ok(())
}

/// What became of one command.
struct One {
    accepted: Duration,
    arrivals: Vec<Duration>,
    recorded: Option<Duration>,
    cpu: Duration,
}

async fn one(
    crowd: &mut Crowd<'_>,
    publisher: &mut Publisher,
    management: Option<&mut Management>,
) -> Result<One> {
    let count = crowd.crew.connected();
    crowd.crew.drain()?;
    let before = Sample::now(&crowd.target, &crowd.crew)?;
    let (id, called) = publisher.wake_all().await?;
    let deliveries = async {
        let mut arrivals = Vec::with_capacity(count);
        while arrivals.len() < count {
            if let Event::Got(_, at) = crowd.crew.next().await? {
                arrivals.push(at.since(called));
            }
        }
        Ok(arrivals)
    };
    let (accepted, arrivals) = tokio::try_join!(publisher.acknowledged(), deliveries)?;
    let recorded = match management {
        Some(management) => Some(recorded(management, id, called, count).await?),
        None => {
            sleep(REST).await;
            None
        }
    };
    let cpu = Sample::now(&crowd.target, &crowd.crew)?.cpu - before.cpu;
    Ok(One { accepted: accepted.since(called), arrivals, recorded, cpu })
}

/// Waits until WakeMQ has written every acknowledgement.
async fn recorded(
    management: &mut Management,
    id: CommandId,
    called: Moment,
    count: usize,
) -> Result<Duration> {
    loop {
        let counts = management.command(id).await?.counts.context("no counts")?;
        let took = Moment::now().since(called);
        // More agents are enrolled than are connected; they have it in their inboxes.
        if counts.acknowledged >= count as u64 {
            return Ok(took);
        }
        ensure!(took < LIMIT, "{} of {count} acknowledgements are recorded", counts.acknowledged);
        sleep(LOOK).await;
    }
}

pub(super) fn conclude(finding: Finding) -> Found {
    let Finding { mut found, compared, .. } = finding;
    let goal = Goal::AtLeast(1.0);
    compared[0].ratio(&mut found.report, "delivered", Kind::Mosquitto, goal);
    found.report.note(
        "wakemqd's command is durable before it is accepted, and each acknowledgement is written while it delivers \
         to the others; for mosquitto and rumqttd it is a PUBLISH at QoS 1 to a topic that all agents subscribe to, \
         and nothing is written",
    );
    found
        .report
        .note("the agents are in load processes on the same machine, whose TLS and PUBACKs are part of it");
    found
}
