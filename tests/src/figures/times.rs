//! Times as a histogram.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::report::Report;

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Times, to a microsecond.
pub struct Times(Histogram<u64>);

impl Times {
    /// Makes an empty histogram.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new(3)?))
    }

    /// Notes a time.
    pub fn record(&mut self, time: Duration) -> Result<()> {
        Ok(self.0.record(u64::try_from(time.as_micros())?.max(1))?)
    }

    /// Returns a quantile, in microseconds.
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64
    }

    /// Tells the usual quantiles.
    pub fn tell(&self, report: &mut Report, what: &str) {
        for (name, quantile) in QUANTILES {
            report.add(format!("{what}, {name}"), self.at(quantile), "us");
        }
    }
}
