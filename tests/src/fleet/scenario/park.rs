//! What a parked agent costs, by each transport: memory, over several numbers of them.

use anyhow::{Context as _, Result};

use super::{With, begin, end};
use crate::figures::report::{Goal, Report};
use crate::fleet::found::{ByTarget, Found};
use crate::fleet::ground::Ground;
use crate::fleet::plot::Plot;
use crate::fleet::progress;
use crate::fleet::sample::{Sample, slope};
use crate::fleet::target::Kind;
use crate::fleet::way::Way;

/// What a parked agent may cost, all included, in bytes.
const GOAL: f64 = 5_500.0;
/// The same, in proportion to a server with nothing behind TLS.
const GOAL_OF_BARE: f64 = 0.55;
/// What an agent in a WebSocket may cost, in proportion to one without.
const GOAL_OF_PLAIN: f64 = 1.2;
/// What a poll may cost, in proportion to a request that waits at a server with nothing behind HTTP.
const GOAL_OF_BARE_POLL: f64 = 1.25;

/// Returns at how many agents memory is read.
pub(super) fn sizes(quick: bool) -> [usize; 4] {
    if quick { [500, 1_000, 1_500, 2_000] } else { [2_000, 6_000, 12_000, 18_000] }
}

pub(super) async fn round(ground: &Ground, targets: &[Kind], ways: &[Way]) -> Result<Found> {
    let mut found = Found::new("park: memory of a parked TLS agent");
    let mut plain = None;
    for &way in ways {
        let mut resident = ByTarget::default();
        for &kind in targets.iter().filter(|kind| way.is_served_by(**kind)) {
            let samples = samples(ground, kind, way).await?;
            resident.note(kind, tell(&mut found, (kind, way), &samples));
        }
        compare(&mut found.report, way, &resident, plain);
        if way == Way::Mqtt {
            plain = resident.of(Kind::Wakemqd);
        }
    }
    let [a, b, c, d] = sizes(ground.setting.quick);
    found.report.note(format!(
        "the slope by least squares over {a}, {b}, {c} and {d} agents, of which each did a full TLS 1.3 handshake \
         (TLS_AES_256_GCM_SHA384, X25519), CONNECT and SUBSCRIBE, and is silent since; by long poll one request was \
         answered, and the next one waits, on a connection for each agent"
    ));
    found.report.note(
        "bare is tokio and tokio-rustls with the broker's TLS configuration and allocator: it answers CONNECT and \
         SUBSCRIBE with fixed bytes and parks in a read; for a long poll hyper with its defaults, and a request that waits",
    );
    found.report.note(
        "kernel memory is of both ends of each connection, and in no process's resident memory; its objects are \
         all that the kernel allocated meanwhile, for whatever",
    );
    Ok(found)
}

/// Connects more and more agents to a target.
async fn samples(ground: &Ground, kind: Kind, way: Way) -> Result<Vec<Sample>> {
    let name = kind.name();
    let (mut target, mut crew) = begin(ground, kind, With { way, ..With::default() }).await?;
    let mut samples = Vec::new();
    for size in sizes(ground.setting.quick) {
        progress("park", &format!("{name}: {}{size} agents", way.title()));
        crew.connect(size).await.with_context(|| format!("{name}, {}", way.name()))?;
        target.check()?;
        samples.push(Sample::settled(&target, &crew).await?);
    }
    end(target, crew).await?;
    Ok(samples)
}

/// Tells what an agent costs, and returns its resident memory.
fn tell(found: &mut Found, (kind, way): (Kind, Way), samples: &[Sample]) -> f64 {
    let points = |of: fn(&Sample) -> u64| -> Vec<_> {
        samples.iter().map(|sample| (sample.agents as f64, of(sample) as f64)).collect()
    };
    let memory = points(|sample| sample.memory.resident);
    let resident = slope(&memory);
    let own = slope(&points(|sample| sample.memory.own));
    let buffers = slope(&points(|sample| sample.sockets.buffers));
    let slab = slope(&points(|sample| sample.sockets.slab));
    let load = slope(&points(|sample| sample.load_resident));
    let name = format!("{}: {}", kind.name(), way.title());
    let what = format!("{name}resident memory an agent");
    if (kind, way) == (Kind::Wakemqd, Way::Mqtt) {
        found.report.add_with_goal(what, resident, "bytes", Goal::AtMost(GOAL));
    } else {
        found.report.add(what, resident, "bytes");
    }
    found.report.add(format!("{name}of which its own"), own, "bytes");
    found.report.add(format!("{name}kernel's socket buffers an agent, both ends"), buffers, "bytes");
    found.report.add(format!("{name}kernel's objects an agent, both ends"), slab, "bytes");
    found.report.add(format!("{name}the load's own memory an agent"), load, "bytes");
    if let Some((agents, bytes)) = memory.last() {
        found.report.add(format!("{name}resident with {agents} agents"), bytes / 1e6, "MB");
    }
    if way == Way::Mqtt {
        let megabytes = memory.into_iter().map(|(agents, bytes)| (agents, bytes / 1e6));
        found.curve(Plot::Memory, kind, megabytes.collect());
    }
    resident
}

/// Tells how an agent that came by a transport compares with its counterpart; `plain` is what one by MQTT costs.
fn compare(report: &mut Report, way: Way, resident: &ByTarget, plain: Option<f64>) {
    let what = format!("{}resident memory", way.title());
    match way {
        Way::Mqtt => resident.ratio(report, &what, Kind::Bare, Goal::AtMost(GOAL_OF_BARE)),
        Way::Websocket => {
            if let (Some(ours), Some(plain)) = (resident.of(Kind::Wakemqd), plain) {
                let goal = Goal::AtMost(GOAL_OF_PLAIN);
                report.add_with_goal(format!("{what}, of that by plain MQTT"), ours / plain, "", goal);
            }
        }
        Way::Poll | Way::PollH2 => {
            resident.ratio(report, &what, Kind::Bare, Goal::AtMost(GOAL_OF_BARE_POLL));
        }
    }
}
