//! The scenarios.

mod admit;
mod churn;
mod crowd;
mod enrolled;
mod idle;
mod million;
mod park;
mod silent;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::crew::{Crew, Plan};
use super::found::Found;
use super::ground::Ground;
use super::target::{Kind, Target};
use super::way::Way;
use crate::figures::shipped::AGENT;
use crate::figures::{daemon, flush};

/// A scenario, which measures one or several targets in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// Memory for each parked agent: the slope over several sizes, by four transports.
    Park,
    /// Rate of admission, and CPU for each.
    Admit,
    /// The target killed and started again under 15,000 agents: until the last is back, and what it answers
    /// meanwhile.
    Storm,
    /// All connections reset under the living target, five times: memory before and after.
    Flap,
    /// A wake of one of 15,000 agents: from the publish to the delivery.
    Wake,
    /// A wake of all of 15,000 agents.
    Group,
    /// Agents come while there are 10,000 TCP connections that never say a word.
    Silent,
    /// Agents come and leave at a steady rate: whether memory creeps.
    Churn,
    /// CPU of heartbeats.
    Idle,
    /// 1,000,000 sessions in one process over streams in memory: heap of each.
    Million,
    /// 1,000,000 enrolled agents, 50,000 of them connected: a wake of all, memory, restart, lists.
    Enrolled,
    /// Submissions of 64 publishers that share one flush of 2 ms.
    Flush,
    /// The agent's daemon at rest: size, memory, threads, system calls.
    Daemon,
}

impl Scenario {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 13] = [
        Self::Park,
        Self::Admit,
        Self::Storm,
        Self::Flap,
        Self::Wake,
        Self::Group,
        Self::Silent,
        Self::Churn,
        Self::Idle,
        Self::Million,
        Self::Enrolled,
        Self::Flush,
        Self::Daemon,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Admit => "admit",
            Self::Storm => "storm",
            Self::Flap => "flap",
            Self::Wake => "wake",
            Self::Group => "group",
            Self::Silent => "silent",
            Self::Churn => "churn",
            Self::Idle => "idle",
            Self::Million => "million",
            Self::Enrolled => "enrolled",
            Self::Flush => "flush",
            Self::Daemon => "daemon",
        }
    }

    /// Returns the targets that it measures.
    ///
    /// rumqttd's listener may be dead for good after connections were reset under it, or one said nothing; bare
    /// knows no commands and no heartbeats. Where the others are no yardstick, they are spared, for the time.
    pub fn targets(self) -> &'static [Kind] {
        match self {
            Self::Park | Self::Admit => &Kind::ALL,
            Self::Storm => &[Kind::Wakemqd, Kind::Bare, Kind::Mosquitto],
            Self::Churn | Self::Million | Self::Enrolled => &[Kind::Wakemqd],
            Self::Flush | Self::Daemon => &[Kind::Wakemqd],
            Self::Flap | Self::Silent => &[Kind::Wakemqd, Kind::Bare],
            Self::Wake | Self::Group => &[Kind::Wakemqd, Kind::Mosquitto, Kind::Rumqttd],
            Self::Idle => &[Kind::Wakemqd, Kind::Mosquitto],
        }
    }

    /// Returns how many agents it needs.
    pub fn agents(self, quick: bool) -> usize {
        match self {
            Self::Park => park::sizes(quick)[3],
            Self::Admit => admit::agents(quick),
            Self::Storm | Self::Flap | Self::Wake | Self::Group => crowd::agents(quick),
            Self::Silent => silent::agents(quick),
            Self::Churn => churn::agents(quick),
            Self::Idle => idle::agents(quick),
            // They are its own.
            Self::Million | Self::Enrolled | Self::Flush | Self::Daemon => 0,
        }
    }

    /// Returns the programs that it needs beside the broker.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Million | Self::Enrolled => &[million::PROGRAM],
            Self::Daemon => &[AGENT],
            Self::Park | Self::Admit | Self::Storm | Self::Flap | Self::Wake | Self::Group => &[],
            Self::Silent | Self::Churn | Self::Idle | Self::Flush => &[],
        }
    }

    /// Returns how many rounds there are by default. What takes a minute or more for each target takes place once,
    /// so that all of them together take less than 25.
    pub fn rounds(self) -> u32 {
        match self {
            Self::Park | Self::Admit | Self::Storm | Self::Flap | Self::Wake | Self::Group | Self::Silent => {
                3
            }
            Self::Churn | Self::Idle | Self::Million | Self::Enrolled | Self::Flush | Self::Daemon => 1,
        }
    }

    /// Tells whether it takes place with all agents connected, on the same ones as the others of which that is true.
    fn is_of_crowd(&self) -> bool {
        match self {
            Self::Storm | Self::Flap | Self::Wake | Self::Group => true,
            Self::Park | Self::Admit | Self::Silent | Self::Churn | Self::Idle => false,
            Self::Million | Self::Enrolled | Self::Flush | Self::Daemon => false,
        }
    }

    /// Splits scenarios, which are in their order, into those that take place together.
    pub fn sittings(asked: &[Self]) -> impl Iterator<Item = &[Self]> {
        asked.chunk_by(|one, next| one.is_of_crowd() && next.is_of_crowd())
    }
}

/// Measures one round of scenarios that take place together.
pub async fn round(
    ground: &Ground,
    (targets, ways): (&[Kind], &[Way]),
    sitting: &[Scenario],
) -> Result<Vec<(Scenario, Found)>> {
    let mut targets = targets.to_vec();
    targets.retain(|kind| sitting.iter().any(|scenario| scenario.targets().contains(kind)));
    let Some(&scenario) = sitting.first().filter(|_| !targets.is_empty()) else { return Ok(Vec::new()) };
    let found = match scenario {
        Scenario::Park => park::round(ground, &targets, ways).await,
        Scenario::Admit => admit::round(ground, &targets).await,
        Scenario::Storm | Scenario::Flap | Scenario::Wake | Scenario::Group => {
            return crowd::round(ground, &targets, sitting).await;
        }
        Scenario::Silent => silent::round(ground, &targets).await,
        Scenario::Churn => churn::round(ground, &targets).await,
        Scenario::Idle => idle::round(ground, &targets).await,
        Scenario::Million => million::round(ground).await,
        Scenario::Enrolled => enrolled::round(ground).await,
        Scenario::Flush => flush::measure(&ground.setting).await.map(Found::from),
        Scenario::Daemon => daemon::measure(&ground.setting, &ground.shipped).await.map(Found::from),
    };
    Ok(vec![(scenario, found.context(scenario.name())?)])
}

/// Starts a target, and a crew that has no process yet.
async fn begin(ground: &Ground, kind: Kind, with: With) -> Result<(Target, Crew)> {
    let With { way, also, returns, limited } = with;
    let target = Target::start(ground, kind, way, limited).await.with_context(|| kind.name())?;
    let plan = Plan {
        address: target.address,
        ca: ground.ca(),
        agents: ground.agents_file().to_owned(),
        way,
        also,
        returns,
    };
    Ok((target, Crew::new(plan)))
}

/// What a scenario needs beside the usual.
#[derive(Debug, Clone, Default)]
struct With {
    /// By which transport agents come.
    way: Way,
    /// A topic to which agents subscribe too.
    also: Option<String>,
    /// Whether they come back.
    returns: bool,
    /// Whether WakeMQ limits the rate of admissions.
    limited: bool,
}

/// Ends the target first: the ends of its connections are no failures of the load, which is ended next.
async fn end(target: Target, crew: Crew) -> Result<()> {
    target.end().await?;
    crew.end().await
}
