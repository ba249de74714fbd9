//! When agents are told to come back.

use std::sync::{Arc, OnceLock};

use wakemq_core::admission;

use crate::engine::Engine;

/// Tells within how many seconds an agent is to come back after a lost connection.
pub struct Returning {
    engine: Arc<Engine>,
    least_secs: u32,
    admissions_per_sec: u32,
    /// What agents are told when the broker stops: of how many there were when that began.
    last_secs: OnceLock<u32>,
}

impl Returning {
    /// Makes one that tells at least `least_secs`, and more where more agents are connected than could be let in
    /// within that time.
    pub fn new(engine: Arc<Engine>, least_secs: u32, admissions_per_sec: u32) -> Self {
        Self { engine, least_secs, admissions_per_sec, last_secs: OnceLock::new() }
    }

    /// Returns within how many seconds.
    pub fn secs(&self) -> u32 {
        match self.last_secs.get() {
            Some(secs) => *secs,
            None => self.of_present(),
        }
    }

    /// Stays with what is told now: from here on agents leave.
    pub fn settle(&self) {
        self.last_secs.get_or_init(|| self.of_present());
    }

    fn of_present(&self) -> u32 {
        let agents = self.engine.registry().agents_connected();
        admission::return_secs(self.least_secs, agents, self.admissions_per_sec)
    }
}
