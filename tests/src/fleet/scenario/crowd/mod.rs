//! Scenarios of one target with all its agents connected: they take place one after another, on the same agents.

mod flap;
mod group;
mod publisher;
mod storm;
mod wake;

use anyhow::{Context as _, Result};

use super::{Scenario, With, begin, end};
use crate::figures::report::{Goal, Report};
use crate::fleet::crew::Crew;
use crate::fleet::found::{ByTarget, Found};
use crate::fleet::ground::Ground;
use crate::fleet::progress;
use crate::fleet::sample::Sample;
use crate::fleet::target::{Kind, Target};

/// Memory after something in proportion to before.
const GOAL_MEMORY: f64 = 1.1;
/// To what agents of other servers than WakeMQ subscribe too, for a command to all of them.
const TOPIC_OF_ALL: &str = "fleet/all";

/// Returns how many agents are connected.
pub(super) fn agents(quick: bool) -> usize {
    if quick { 1_500 } else { 15_000 }
}

/// What a crowd goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Storm,
    Flap,
    Wake,
    Group,
}

impl Act {
    /// The order matters: what is said of memory comes before commands fill the broker's caches.
    pub(super) const IN_ORDER: [Self; 4] = [Self::Storm, Self::Flap, Self::Wake, Self::Group];

    /// Returns the scenario of which it is the substance.
    pub(super) fn scenario(self) -> Scenario {
        match self {
            Self::Storm => Scenario::Storm,
            Self::Flap => Scenario::Flap,
            Self::Wake => Scenario::Wake,
            Self::Group => Scenario::Group,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Storm => "storm: the server is killed under its agents, and started again",
            Self::Flap => "flap: all connections are reset under the living server, five times",
            Self::Wake => "wake: one of all agents, from the publish to the delivery",
            Self::Group => "group: one command for all agents, from the publish to the deliveries",
        }
    }

    fn conclude(self, finding: Finding) -> Found {
        match self {
            Self::Storm => storm::conclude(finding),
            Self::Flap => flap::conclude(finding),
            Self::Wake => wake::conclude(finding),
            Self::Group => group::conclude(finding),
        }
    }
}

/// A target and its agents.
struct Crowd<'a> {
    ground: &'a Ground,
    target: Target,
    crew: Crew,
}

/// What one scenario has found so far, and what of it will be compared.
struct Finding {
    found: Found,
    compared: [ByTarget; 2],
    /// What a flush of the file system took meanwhile, in the same order, and what a commit of a store.
    flushes: [Option<(f64, f64)>; 2],
}

impl Finding {
    fn new(title: &'static str) -> Self {
        Self { found: Found::new(title), compared: Default::default(), flushes: [None; 2] }
    }
}

pub(super) async fn round(
    ground: &Ground,
    targets: &[Kind],
    asked: &[Scenario],
) -> Result<Vec<(Scenario, Found)>> {
    let asked = Act::IN_ORDER.into_iter().filter(|act| asked.contains(&act.scenario()));
    let mut findings: Vec<_> = asked.map(|act| (act, Finding::new(act.title()))).collect();
    for &kind in targets {
        let mine = findings.iter_mut().filter(|(act, _)| act.scenario().targets().contains(&kind));
        let mine: Vec<_> = mine.collect();
        if mine.is_empty() {
            continue;
        }
        let name = kind.name();
        let count = agents(ground.setting.quick);
        progress("agents", &format!("{name}: connecting {count}"));
        let also = match kind {
            Kind::Wakemqd | Kind::Bare => None,
            Kind::Mosquitto | Kind::Rumqttd => Some(TOPIC_OF_ALL.to_owned()),
        };
        let (target, mut crew) =
            begin(ground, kind, With { also, returns: true, limited: true, ..With::default() }).await?;
        crew.connect(count).await.context(name)?;
        let mut crowd = Crowd { ground, target, crew };
        for (act, finding) in mine {
            let scenario = act.scenario().name();
            progress(scenario, name);
            let done = crowd.run(*act, finding).await.and_then(|()| crowd.target.check());
            match (done, kind) {
                (Ok(()), _) => {}
                (Err(error), Kind::Wakemqd | Kind::Bare) => {
                    return Err(error.context(format!("{scenario}: {name}")));
                }
                (Err(error), Kind::Mosquitto | Kind::Rumqttd) => {
                    progress(scenario, &format!("{name} did not go through it: {error:#}"));
                    finding.found.report.note(format!("{name} did not go through it: {error:#}"));
                    break;
                }
            }
        }
        end(crowd.target, crowd.crew).await?;
    }
    let concluded = findings.into_iter().map(|(act, finding)| (act.scenario(), act.conclude(finding)));
    Ok(concluded.collect())
}

impl Crowd<'_> {
    fn kind(&self) -> Kind {
        self.target.kind
    }

    async fn run(&mut self, act: Act, finding: &mut Finding) -> Result<()> {
        match act {
            Act::Storm => storm::run(self, finding).await,
            Act::Flap => flap::run(self, finding).await,
            Act::Wake => wake::run(self, finding).await,
            Act::Group => group::run(self, finding).await,
        }
    }
}

/// Tells how much memory there is after something against before, for which wakemqd has a goal.
fn compare_memory(report: &mut Report, kind: Kind, before: &Sample, after: &Sample) {
    let ratio = after.memory.resident as f64 / before.memory.resident as f64;
    let what = format!("{}: resident, after / before", kind.name());
    match kind {
        Kind::Wakemqd => report.add_with_goal(what, ratio, "", Goal::AtMost(GOAL_MEMORY)),
        Kind::Bare | Kind::Mosquitto | Kind::Rumqttd => report.add(what, ratio, ""),
    }
}
