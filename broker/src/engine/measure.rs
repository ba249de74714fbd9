//! What is read at the moment when somebody looks at the metrics.

use super::Engine;

impl Engine {
    /// Writes all metrics as text, see [`Metrics::encode`](crate::metrics::Metrics::encode).
    pub fn measure(&self) -> Result<String, std::fmt::Error> {
        let metrics = &self.metrics;
        for (transport, agents) in self.registry.agents_by_transport() {
            metrics.agents_by_transport.of(transport).set(i64::try_from(agents).unwrap_or(i64::MAX));
        }
        metrics.agents_connected.set(i64::try_from(self.registry.agents_connected()).unwrap_or(i64::MAX));
        metrics.power_attempts.set(i64::try_from(self.power_attempts()).unwrap_or(i64::MAX));
        let sources = self.throttle.lock().sources(self.clock.mono_ms());
        metrics.throttled_sources.set(i64::try_from(sources).unwrap_or(i64::MAX));
        metrics.encode()
    }
}
