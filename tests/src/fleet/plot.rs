//! The plots of a run.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::found::Curve;
use super::svg::{Chart, Line};
use super::target::Kind;

/// A plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// Resident memory over agents.
    Memory,
    /// Latency of a wake-up over its quantile.
    Latency,
    /// How many agents a group wake has reached, over time.
    Group,
    /// How many agents are back after the target was killed, over time.
    Storm,
    /// Resident memory while agents come and go.
    Churn,
    /// Heap of a broker over the sessions that it holds.
    Million,
}

impl Plot {
    const ALL: [Self; 6] =
        [Self::Memory, Self::Latency, Self::Group, Self::Storm, Self::Churn, Self::Million];

    /// Returns its name, which its file has too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Latency => "latency",
            Self::Group => "group",
            Self::Storm => "storm",
            Self::Churn => "churn",
            Self::Million => "million",
        }
    }

    fn chart(self) -> Chart {
        let chart = |title, x, y| Chart { title, x, y, log_x: false, log_y: false, lines: Vec::new() };
        match self {
            Self::Memory => chart("Resident memory of the server", "parked TLS agents", "MB"),
            Self::Latency => Chart {
                log_y: true,
                ..chart(
                    "Wake-up of one agent: publish to delivery",
                    "nines of the quantile (1: 90 %, 2: 99 %, 3: 99.9 %)",
                    "ms",
                )
            },
            Self::Group => chart("One command for all agents", "s since the publish", "agents reached"),
            Self::Storm => chart("Server killed and started again", "s since the kill", "agents back"),
            Self::Churn => chart("Agents come and go at a steady rate", "s", "resident memory, MB"),
            Self::Million => {
                Chart { log_x: true, log_y: true, ..chart("Sessions in one process", "sessions", "heap, MB") }
            }
        }
    }
}

/// Writes those plots for which there are curves into a directory.
pub fn write(dir: &Path, curves: &[Curve]) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for plot in Plot::ALL {
        let mut chart = plot.chart();
        for curve in curves.iter().filter(|curve| curve.plot == plot) {
            let line =
                Line { name: curve.name.clone(), colour: colour(curve.kind), points: curve.points.clone() };
            chart.lines.push(line);
        }
        if !chart.lines.is_empty() {
            let path = dir.join(format!("{}.svg", plot.name()));
            std::fs::write(&path, chart.svg()).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Told apart by those who see fewer colours too.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Wakemqd => "#0072b2",
        Kind::Bare => "#7f7f7f",
        Kind::Mosquitto => "#d55e00",
        Kind::Rumqttd => "#009e73",
    }
}
