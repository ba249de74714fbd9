//! What the broker counts, in one typed place, and how it is shown to Prometheus.
//!
//! Every metric is a field of [`Metrics`], every value of a label a variant of an enum in `labels`, and all of them
//! are there from the start: what has not happened yet is 0 and not missing. Counting is one atomic addition, so it
//! may be done anywhere. A test in `tests/` moves each of them.

mod labels;
mod series;
mod store;

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use wakemq_protocol::{CommandState, News, Transport};

pub use labels::{
    Admitted, Connection, Dropped, Ended, GroupChange, Label, PollEnd, PowerVerdict, PublishRefused,
    ReceiptFate, Refused, StatusClass, SubmissionRefused, Waited, WrongSecret,
};
pub use series::{Counters, Gauges};

/// The content type of [`Metrics::encode`]: OpenMetrics text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Connections that are open.
    pub connections: Gauges<Connection>,
    /// Connections that were let in.
    pub admissions: Counters<Admitted>,
    /// Connections that were not.
    pub refusals: Counters<Refused>,
    /// Connections that had to wait before their TLS handshake.
    pub admission_waits: Counters<Waited>,
    /// Wrong secrets, over MQTT or HTTP.
    pub wrong_secrets: Counters<WrongSecret>,
    /// Sources of wrong secrets that are remembered; set at each look.
    pub throttled_sources: Gauge,
    /// How connections that had been let in ended.
    pub disconnections: Counters<Ended>,
    /// Agents found to be two machines with one secret.
    pub cloned_identities: Counter,
    /// Agents that are connected; set at each look.
    pub agents_connected: Gauge,
    /// The same by how they speak; set at each look.
    pub agents_by_transport: Gauges<Transport>,
    /// How often an agent published and subscribed more often than it may in a second and was not read from until it was over.
    pub agent_pauses: Counter,
    /// Changes of state of commands at single agents.
    pub command_changes: Counters<CommandState>,
    /// Changes of state of commands for groups as a whole.
    pub group_command_changes: Counters<GroupChange>,
    /// Publications that were refused in their PUBACK.
    pub publishes_refused: Counters<PublishRefused>,
    /// Commands that the engine did not accept.
    pub submissions_refused: Counters<SubmissionRefused>,
    /// Receipts of agents.
    pub receipts: Counters<ReceiptFate>,
    /// Attempts to switch an endpoint on that run; set at each look.
    pub power_attempts: Gauge,
    /// How attempts to switch an endpoint on ended.
    pub power_verdicts: Counters<PowerVerdict>,
    /// How often an agent was asked to send magic packets.
    pub relays_asked: Counter,
    /// Magic packets that the broker has sent itself.
    pub wol_packets: Counter,
    /// Events that were given to the bus.
    pub events_published: Counter,
    /// Events that did not get onto the bus.
    pub events_dropped: Counters<Dropped>,
    /// Events that an operator lost because it read too slowly.
    pub operator_events_lost: Counter,
    /// How often the bus was built anew.
    pub bus_rebuilds: Counter,
    /// Operators' links to the bus; set at each look.
    pub bus_links: Gauge,
    /// Whether the bus runs; set at each look.
    pub bus_healthy: Gauge,
    /// Calls that share one flush of the store.
    pub store_batch_calls: Histogram,
    /// How long a flush of the store takes, in seconds.
    pub store_flush: Histogram,
    /// Batches that the store could not write.
    pub store_failures: Counter,
    /// Whether the last batch of the store could be written.
    pub store_healthy: Gauge,
    /// Lines that were written into the audit trail.
    pub audit_lines: Counter,
    /// Answers over HTTP.
    pub http_requests: Counters<StatusClass>,
    /// How long polls ended.
    pub polls: Counters<PollEnd>,
}

impl Metrics {
    /// Makes all metrics, each at 0; what is healthy is so until somebody finds otherwise.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("wakemq");
        let r = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program", build);
        let metrics = Self {
            connections: Gauges::new(r, "connections", "Connections that are open"),
            admissions: Counters::new(r, "admissions", "Connections that were let in"),
            refusals: Counters::new(r, "refusals", "Connections that were not let in"),
            admission_waits: Counters::new(
                r,
                "admission_waits",
                "Connections that had to wait before their TLS handshake, by what for",
            ),
            wrong_secrets: Counters::new(
                r,
                "wrong_secrets",
                "Wrong secrets, over MQTT or HTTP, by when they were answered",
            ),
            throttled_sources: gauge(r, "throttled_sources", "Sources of wrong secrets that are remembered"),
            disconnections: Counters::new(
                r,
                "disconnections",
                "Ends of MQTT connections that had been let in",
            ),
            cloned_identities: counter(
                r,
                "cloned_identities",
                "Takeovers by which an agent was found to be two machines",
            ),
            agents_connected: gauge(r, "agents_connected", "Agents that are connected"),
            agents_by_transport: Gauges::new(
                r,
                "agents_by_transport",
                "Agents that are connected, by how they speak",
            ),
            agent_pauses: counter(
                r,
                "agent_pauses",
                "Seconds in which an agent published and subscribed more often than it may",
            ),
            command_changes: Counters::new(
                r,
                "command_changes",
                "Changes of state of commands at single agents",
            ),
            group_command_changes: Counters::new(
                r,
                "group_command_changes",
                "Changes of state of commands for groups as a whole",
            ),
            publishes_refused: Counters::new(
                r,
                "publishes_refused",
                "Publications that were refused in their PUBACK",
            ),
            submissions_refused: Counters::new(
                r,
                "submissions_refused",
                "Commands that the engine did not accept, over MQTT or HTTP",
            ),
            receipts: Counters::new(r, "receipts", "Receipts of agents"),
            power_attempts: gauge(r, "power_attempts", "Attempts to switch an endpoint on that run"),
            power_verdicts: Counters::new(r, "power_verdicts", "How attempts to switch an endpoint on ended"),
            relays_asked: counter(r, "relays_asked", "How often an agent was asked to send magic packets"),
            wol_packets: counter(r, "wol_packets", "Magic packets that the broker has sent itself"),
            events_published: counter(r, "events_published", "Events that were given to the bus"),
            events_dropped: Counters::new(r, "events_dropped", "Events that did not get onto the bus"),
            operator_events_lost: counter(
                r,
                "operator_events_lost",
                "Events that an operator lost because it read too slowly",
            ),
            bus_rebuilds: counter(
                r,
                "bus_rebuilds",
                "How often the event bus was built anew because it had died",
            ),
            bus_links: gauge(r, "bus_links", "Links of operators to the event bus"),
            bus_healthy: gauge(r, "bus_healthy", "1 if the event bus runs"),
            store_batch_calls: histogram(r, "store_batch_calls", "Calls that share one flush of the store"),
            store_flush: flush_histogram(r),
            store_failures: counter(r, "store_failures", "Batches that the store could not write"),
            store_healthy: gauge(r, "store_healthy", "1 if the last batch of the store could be written"),
            audit_lines: counter(r, "audit_lines", "Lines that were written into the audit trail"),
            http_requests: Counters::new(
                r,
                "http_requests",
                "Answers over HTTP by the class of their status",
            ),
            polls: Counters::new(r, "polls", "Long polls by what they were answered"),
            registry,
        };
        metrics.bus_healthy.set(1);
        metrics.store_healthy.set(1);
        metrics
    }

    /// Counts a change of a command's state.
    pub(crate) fn count_news(&self, news: &News) {
        match news {
            // A late receipt is told, and changes no state.
            News::Agent(update) if update.outcome.late.is_some() => {}
            // Nor does a step on the way.
            News::Agent(update) if update.step_on_the_way().is_some() => {}
            News::Agent(update) => {
                self.command_changes.of(update.outcome.state).inc();
            }
            News::Group(update) => {
                if let Some(change) = GroupChange::of(update.state) {
                    self.group_command_changes.of(change).inc();
                }
            }
        }
    }

    /// Writes all of them as OpenMetrics text, see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// 1 to 1,024 calls: the store's queue holds no more.
fn histogram(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(1.0, 2.0, 11));
    registry.register(name, help, histogram.clone());
    histogram
}

/// 128 us, about a fast device's, to 4 s, which only a broken one takes.
fn flush_histogram(registry: &mut Registry) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(0.000_128, 2.0, 16));
    let help = "How long a flush of the store takes";
    registry.register_with_unit("store_flush_duration", help, Unit::Seconds, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_label_is_there_from_the_start() {
        let metrics = Metrics::new();
        let text = metrics.encode().unwrap();
        for line in [
            "wakemq_refusals_total{reason=\"wrong_secret\"} 0",
            "wakemq_command_changes_total{state=\"superseded\"} 0",
            "wakemq_connections{kind=\"handshaking\"} 0",
            "wakemq_http_requests_total{status=\"5xx\"} 0",
            "wakemq_store_healthy 1",
            "wakemq_store_flush_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains(&format!("wakemq_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
        assert!(text.ends_with("# EOF\n"));

        metrics.refusals.of(Refused::WrongSecret).inc();
        metrics.connections.of(Connection::Agent).inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("wakemq_refusals_total{reason=\"wrong_secret\"} 1\n"));
        assert!(text.contains("wakemq_refusals_total{reason=\"not_tls\"} 0\n"));
        assert!(text.contains("wakemq_connections{kind=\"agent\"} 1\n"));
    }
}
