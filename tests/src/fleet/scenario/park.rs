//! What a parked agent costs: memory, over several numbers of them.

use anyhow::{Context as _, Result};

use super::{With, begin, end};
use crate::figures::report::Goal;
use crate::fleet::found::{ByTarget, Found};
use crate::fleet::ground::Ground;
use crate::fleet::plot::Plot;
use crate::fleet::progress;
use crate::fleet::sample::{Sample, slope};
use crate::fleet::target::Kind;

/// What a parked agent may cost, all included, in bytes.
const GOAL: f64 = 5_500.0;
/// The same, in proportion to a server with nothing behind TLS.
const GOAL_OF_BARE: f64 = 0.55;

/// Returns at how many agents memory is read.
pub(super) fn sizes(quick: bool) -> [usize; 4] {
    if quick { [500, 1_000, 1_500, 2_000] } else { [2_000, 6_000, 12_000, 18_000] }
}

pub(super) async fn round(ground: &Ground, targets: &[Kind]) -> Result<Found> {
    let sizes = sizes(ground.setting.quick);
    let mut found = Found::new("park: memory of a parked TLS agent");
    let mut resident = ByTarget::default();
    for &kind in targets {
        let name = kind.name();
        let (mut target, mut crew) = begin(ground, kind, With::default()).await?;
        let mut samples = Vec::new();
        for size in sizes {
            progress("park", &format!("{name}: {size} agents"));
            crew.connect(size).await.context(name)?;
            target.check()?;
            samples.push(Sample::settled(&target, &crew).await?);
        }
        end(target, crew).await?;
        let points = |of: fn(&Sample) -> u64| -> Vec<_> {
            samples.iter().map(|sample| (sample.agents as f64, of(sample) as f64)).collect()
        };
        let memory = points(|sample| sample.memory.resident);
        resident.note(kind, slope(&memory));
        let own = slope(&points(|sample| sample.memory.own));
        let buffers = slope(&points(|sample| sample.sockets.buffers));
        let slab = slope(&points(|sample| sample.sockets.slab));
        let load = slope(&points(|sample| sample.load_resident));
        let what = format!("{name}: resident memory an agent");
        match kind {
            Kind::Wakemqd => found.report.add_with_goal(what, slope(&memory), "bytes", Goal::AtMost(GOAL)),
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => found.report.add(what, slope(&memory), "bytes"),
        }
        found.report.add(format!("{name}: of which its own"), own, "bytes");
        found.report.add(format!("{name}: kernel's socket buffers an agent, both ends"), buffers, "bytes");
        found.report.add(format!("{name}: kernel's objects an agent, both ends"), slab, "bytes");
        found.report.add(format!("{name}: the load's own memory an agent"), load, "bytes");
        if let Some((agents, bytes)) = memory.last() {
            found.report.add(format!("{name}: resident with {agents} agents"), bytes / 1e6, "MB");
        }
        let megabytes = memory.into_iter().map(|(agents, bytes)| (agents, bytes / 1e6));
        found.curve(Plot::Memory, kind, megabytes.collect());
    }
    resident.ratio(&mut found.report, "resident memory", Kind::Bare, Goal::AtMost(GOAL_OF_BARE));
    let [a, b, c, d] = sizes;
    found.report.note(format!(
        "the slope by least squares over {a}, {b}, {c} and {d} agents, of which each did a full TLS 1.3 handshake \
         (TLS_AES_256_GCM_SHA384, X25519), CONNECT and SUBSCRIBE, and is silent since"
    ));
    found.report.note(
        "bare is tokio and tokio-rustls with the broker's TLS configuration and allocator: it answers CONNECT and \
         SUBSCRIBE with fixed bytes and parks in a read",
    );
    found.report.note(
        "kernel memory is of both ends of each connection, and in no process's resident memory; its objects are \
         all that the kernel allocated meanwhile, for whatever",
    );
    Ok(found)
}
