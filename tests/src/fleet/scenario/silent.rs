//! TCP connections that never say a word, while agents come.

use anyhow::{Context as _, Result};

use super::{With, begin, end};
use crate::figures::report::Goal;
use crate::fleet::crew::Crew;
use crate::fleet::found::Found;
use crate::fleet::ground::Ground;
use crate::fleet::progress;
use crate::fleet::sample::Sample;
use crate::fleet::target::{Kind, Target};
use crate::fleet::words::{Event, Order};

/// The rate of admission among the mute ones, in proportion to the rate without them: unchanged, as far as such
/// rates are the same twice.
const GOAL: f64 = 0.9;

/// Agents that come first, and then those that come without and among mute connections.
fn agents_in_turn(quick: bool) -> [usize; 3] {
    if quick { [200, 700, 1_200] } else { [1_000, 4_500, 8_000] }
}

/// Returns how many agents are needed.
pub(super) fn agents(quick: bool) -> usize {
    agents_in_turn(quick)[2]
}

fn mute(quick: bool) -> usize {
    if quick { 1_000 } else { 10_000 }
}

pub(super) async fn round(ground: &Ground, targets: &[Kind]) -> Result<Found> {
    let quick = ground.setting.quick;
    let ([first, second, third], mute) = (agents_in_turn(quick), mute(quick));
    let mut found = Found::new("silent: TCP connections that never say a word, while agents come");
    for &kind in targets {
        let name = kind.name();
        progress("silent", &format!("{name}: {mute} mute connections"));
        let (mut target, mut crew) = begin(ground, kind, With::default()).await?;
        crew.connect(first).await.context(name)?;
        let without = admit(&target, &mut crew, second).await.context(name)?;
        let before = Sample::now(&target, &crew)?;
        let member = crew.hire()?;
        crew.order(member, Order::Mute(mute)).await?;
        while crew.next().await.context(name)? != Event::Muted {}
        let muted = Sample::now(&target, &crew)?;
        let among = admit(&target, &mut crew, third).await.context(name)?;
        target.check()?;
        end(target, crew).await?;
        let report = &mut found.report;
        report.add(format!("{name}: admitted without mute connections"), without.rate, "agents/s");
        report.add(format!("{name}: admitted among mute connections"), among.rate, "agents/s");
        let what = format!("{name}: rate of admission, among / without");
        match kind {
            Kind::Wakemqd => {
                report.add_with_goal(what, among.rate / without.rate, "", Goal::AtLeast(GOAL));
            }
            Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => {
                report.add(what, among.rate / without.rate, "");
            }
        }
        report.add(format!("{name}: CPU to admit, without"), without.cpu_us, "us");
        report.add(format!("{name}: CPU to admit, among"), among.cpu_us, "us");
        let more = muted.memory.resident as f64 - before.memory.resident as f64;
        report.add(format!("{name}: resident memory for each mute connection"), more / mute as f64, "bytes");
    }
    found.report.note(format!(
        "{mute} connections are kept open; those that the server closes are opened anew at once, which is part of the \
         load. wakemqd closes a connection that says nothing after 10 s, bare never does. rumqttd could not be measured: \
         its listener waits for the first mute connection, and admits nobody any more"
    ));
    Ok(found)
}

struct Admitted {
    rate: f64,
    cpu_us: f64,
}

async fn admit(target: &Target, crew: &mut Crew, up_to: usize) -> Result<Admitted> {
    let more = (up_to - crew.connected()) as f64;
    let before = Sample::now(target, crew)?;
    let coming = crew.connect(up_to).await?;
    let after = Sample::now(target, crew)?;
    Ok(Admitted {
        rate: more / coming.took.as_secs_f64(),
        cpu_us: (after.cpu - before.cpu).as_secs_f64() * 1e6 / more,
    })
}
