//! The scenarios.

mod admit;
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
}

impl Scenario {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 2] = [Self::Park, Self::Admit];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Admit => "admit",
        }
    }

    /// Returns the targets that it can measure.
    pub fn targets(self) -> &'static [Kind] {
        match self {
            Self::Park | Self::Admit => &Kind::ALL,
        }
    }

    /// Returns how many agents it needs.
    pub fn agents(self, quick: bool) -> usize {
        match self {
            Self::Park => park::sizes(quick)[3],
            Self::Admit => admit::agents(quick),
        }
    }

    /// Measures one round.
    pub async fn round(self, ground: &Ground, targets: &[Kind]) -> Result<Found> {
        let found = match self {
            Self::Park => park::round(ground, targets).await,
            Self::Admit => admit::round(ground, targets).await,
        };
        found.with_context(|| self.name())
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
