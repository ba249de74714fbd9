//! A million sessions in one process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::time::timeout;

use crate::figures::child::Running;
use crate::figures::proc;
use crate::figures::report::Goal;
use crate::fleet::found::Found;
use crate::fleet::ground::Ground;
use crate::fleet::plot::Plot;
use crate::fleet::progress;
use crate::fleet::sample::slope;
use crate::fleet::target::Kind;

/// The program whose heap is counted.
pub(super) const PROGRAM: &str = "million";

const SIZES: [usize; 8] = [10_000, 20_000, 50_000, 100_000, 200_000, 400_000, 700_000, 1_000_000];
const SIZES_QUICK: [usize; 4] = [2_000, 4_000, 7_000, 10_000];
/// What a session needs of this machine's memory, generously.
const BYTES_A_SESSION: u64 = 10_000;
/// By how much the cost of a session may differ from the mean, from the first size on.
const GOAL: f64 = 0.1;
/// How long the next size may take.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn round(ground: &Ground) -> Result<Found> {
    let mut found = Found::new("million: sessions in one process, over streams in memory");
    let mut sizes = if ground.setting.quick { SIZES_QUICK.to_vec() } else { SIZES.to_vec() };
    let room = usize::try_from(proc::available_memory()? / BYTES_A_SESSION)?;
    if sizes.iter().any(|size| *size > room) {
        sizes.retain(|size| *size <= room);
        found.report.note(format!("this machine has memory for {room} sessions, and so there were no more"));
    }
    let dir = ground.setting.tempdir()?;
    let mut command = Command::new(ground.shipped.program(PROGRAM)?);
    command.arg(dir.path().join("data")).args(sizes.iter().map(usize::to_string));
    let mut process = Running::start("million", command)?;
    let mut points = Vec::new();
    let mut resident = 0;
    for size in std::iter::once(0).chain(sizes.iter().copied()) {
        progress("million", &format!("{size} sessions"));
        let line = timeout(LIMIT, process.long_line(&format!("heap {size} "))).await;
        let line =
            line.with_context(|| format!("{size} sessions took more than {} s", LIMIT.as_secs()))??;
        let (heap, all) = line.split_once(' ').context("no heap and resident memory")?;
        resident = all.parse::<u64>()?;
        points.push((size as f64, heap.parse::<u64>()? as f64));
    }
    process.end().await?;
    let steady = &points[1..];
    let each = slope(steady);
    let (first, last) = (steady.first().context("no size")?, steady.last().context("no size")?);
    let report = &mut found.report;
    report.add("sessions", last.0, "");
    report.add("heap of a session", each, "bytes");
    report.add("heap in all", last.1 / 1e6, "MB");
    report.add("resident in all", resident as f64 / 1e6, "MB");
    let between = |pair: &[(f64, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0);
    let off = steady.windows(2).map(|pair| (between(pair) / each - 1.0).abs()).fold(0.0, f64::max);
    report.add("cost of one more between two sizes: the farthest from that", off * 100.0, "%");
    let whole = |point: &(f64, f64)| (point.1 - points[0].1) / point.0;
    let reference = whole(first);
    let off = steady.iter().map(|point| (whole(point) / reference - 1.0).abs()).fold(0.0, f64::max);
    let what = format!("heap for each session, the farthest from that of {} sessions", first.0);
    report.add_with_goal(what, off * 100.0, "%", Goal::AtMost(GOAL * 100.0));
    report.note(
        "real handshakes and logins, door, engine and registry as in wakemqd, and a store on disk with a cache of \
         1 MiB; the clients vanish when they are subscribed. The heap is counted as it was asked for, without what \
         the allocator adds; the kernel's sockets, of which there are none, are not in it",
    );
    let megabytes = steady.iter().map(|(sessions, bytes)| (*sessions, bytes / 1e6));
    found.curve(Plot::Million, Kind::Wakemqd, megabytes.collect());
    Ok(found)
}
