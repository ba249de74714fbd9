//! What the store tells of itself.

use std::time::Duration;

use super::Metrics;
use crate::store::Observer;

impl Observer for Metrics {
    fn flushed(&self, calls: usize, took: Duration) {
        self.store_batch_calls.observe(calls as f64);
        self.store_flush.observe(took.as_secs_f64());
        self.store_healthy.set(1);
    }

    fn failed(&self) {
        self.store_failures.inc();
        self.store_healthy.set(0);
    }
}
