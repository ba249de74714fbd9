//! The scenarios.

mod admit;
mod crowd;
mod park;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::crew::{Crew, Plan};
use super::found::Found;
use super::ground::Ground;
use super::target::{Kind, Target};

/// A scenario, which measures one or several targets in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// Memory for each parked agent: the slope over several sizes.
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
}

impl Scenario {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 6] = [Self::Park, Self::Admit, Self::Storm, Self::Flap, Self::Wake, Self::Group];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Admit => "admit",
            Self::Storm => "storm",
            Self::Flap => "flap",
            Self::Wake => "wake",
            Self::Group => "group",
        }
    }

    /// Returns the targets that it can measure. rumqttd's listener may be dead for good after connections were
    /// reset under it, and bare knows no commands.
    pub fn targets(self) -> &'static [Kind] {
        match self {
            Self::Park | Self::Admit => &Kind::ALL,
            Self::Storm | Self::Flap => &[Kind::Wakemqd, Kind::Bare, Kind::Mosquitto],
            Self::Wake | Self::Group => &[Kind::Wakemqd, Kind::Mosquitto, Kind::Rumqttd],
        }
    }

    /// Returns how many agents it needs.
    pub fn agents(self, quick: bool) -> usize {
        match self {
            Self::Park => park::sizes(quick)[3],
            Self::Admit => admit::agents(quick),
            Self::Storm | Self::Flap | Self::Wake | Self::Group => crowd::agents(quick),
        }
    }

    /// Returns with which others it takes place on the same agents.
    fn sitting(self) -> Sitting {
        match self {
            Self::Park => Sitting::Park,
            Self::Admit => Sitting::Admit,
            Self::Storm | Self::Flap | Self::Wake | Self::Group => Sitting::Crowd,
        }
    }
}

/// What takes place on the same agents, or alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sitting {
    /// [`Scenario::Park`]
    Park,
    /// [`Scenario::Admit`]
    Admit,
    /// Those with all agents connected.
    Crowd,
}

impl Sitting {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 3] = [Self::Park, Self::Admit, Self::Crowd];

    /// Measures one round of those of its scenarios that are asked for.
    pub async fn round(
        self,
        ground: &Ground,
        targets: &[Kind],
        asked: &[Scenario],
    ) -> Result<Vec<(Scenario, Found)>> {
        if !asked.iter().any(|scenario| scenario.sitting() == self) {
            return Ok(Vec::new());
        }
        let alone = |scenario: Scenario, found| Ok(vec![(scenario, found)]);
        match self {
            Self::Park => alone(Scenario::Park, park::round(ground, targets).await.context("park")?),
            Self::Admit => alone(Scenario::Admit, admit::round(ground, targets).await.context("admit")?),
            Self::Crowd => crowd::round(ground, targets, asked).await,
        }
    }
}

/// Starts a target, and a crew that has no process yet.
async fn begin(ground: &Ground, kind: Kind, with: With) -> Result<(Target, Crew)> {
    let target = Target::start(ground, kind).await.with_context(|| kind.name())?;
    let With { also, returns } = with;
    let plan = Plan {
        address: target.address,
        ca: ground.ca(),
        agents: ground.agents_file().to_owned(),
        also,
        returns,
    };
    Ok((target, Crew::new(plan)))
}

/// What a crew's agents do beside the usual.
#[derive(Debug, Clone, Default)]
struct With {
    also: Option<String>,
    returns: bool,
}

/// Ends the target first: the ends of its connections are no failures of the load, which is ended next.
async fn end(target: Target, crew: Crew) -> Result<()> {
    target.end().await?;
    crew.end().await
}
