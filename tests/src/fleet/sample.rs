//! What a target and its load use at a moment.

use std::time::Duration;

use anyhow::Result;

use super::crew::Crew;
use super::target::Target;
use crate::figures::proc::{self, Memory, SocketMemory};

/// A reading.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// How many agents are connected.
    pub agents: usize,
    /// Memory of the target.
    pub memory: Memory,
    /// Memory of the kernel for sockets of the whole machine.
    pub sockets: SocketMemory,
    /// CPU time of the target so far.
    pub cpu: Duration,
    /// CPU time of the load so far.
    pub load_cpu: Duration,
    /// Resident memory of the load, in bytes.
    pub load_resident: u64,
}

impl Sample {
    /// Reads, once the memory of the target has settled.
    pub async fn settled(target: &Target, crew: &Crew) -> Result<Self> {
        let memory = proc::settled_memory(target.pid()).await?;
        Self::with(memory, target, crew)
    }

    /// Reads at once.
    pub fn now(target: &Target, crew: &Crew) -> Result<Self> {
        Self::with(proc::memory(target.pid())?, target, crew)
    }

    fn with(memory: Memory, target: &Target, crew: &Crew) -> Result<Self> {
        Ok(Self {
            agents: crew.connected(),
            memory,
            sockets: proc::socket_memory()?,
            cpu: proc::cpu(target.pid())?,
            load_cpu: crew.cpu()?,
            load_resident: crew.resident()?,
        })
    }
}

/// Returns by how much `y` grows for each `x`, by least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(1.0, 5.0), (2.0, 7.0), (5.0, 13.0)]) - 2.0).abs() < 1e-9);
    }
}
