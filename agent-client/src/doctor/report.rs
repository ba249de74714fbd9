//! What an examination found, as it is written in JSON.

use std::time::Duration;

use serde::Serialize;
use wakemq_link::{Learned, Step};
use wakemq_protocol::AgentId;

/// Time limit of each step.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A way leads to the broker.
    Reached,
    /// None does.
    Unreachable,
    /// The broker does not know the agent.
    NotAllowed,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whose ways they are; none where it is not enrolled.
    pub agent: Option<AgentId>,
    /// Whether the agent runs at present.
    pub running: bool,
    /// The proxy that there is.
    pub proxy: Option<ProxyReport>,
    /// Whether somebody else answers in the broker's place.
    pub portal: String,
    /// Every way, the best first.
    pub ways: Vec<WayReport>,
    /// The best way that works.
    pub best: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// The same in words.
    pub verdict: String,
    /// What to change, if anything is to be.
    pub advice: Vec<String>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProxyReport {
    /// Where it is, without credentials.
    pub url: String,
    /// Who named it: `settings`, or a variable of the environment.
    pub from: String,
    /// When it is tried: first, last or only.
    pub order: String,
    /// Whether it is told who asks.
    pub credentials: bool,
}

/// One way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayReport {
    /// As it is remembered: `websocket broker.example:443 proxied`.
    pub way: String,
    /// Whether it leads to the broker.
    pub works: bool,
    /// How far it was gone.
    pub steps: Vec<StepReport>,
    /// Who opens TLS on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intercepted_by: Option<String>,
    /// Whether the agent came by it last, in this network.
    pub last_used: bool,
    /// What the agent has learned of the heartbeat that this network bears on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Learned>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// Which: name, tcp, proxy, tls, door or poll.
    pub step: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was found, or what is wrong.
    pub found: String,
}

impl StepReport {
    /// Makes the report of a step.
    pub fn new(step: &Step) -> Self {
        let (ok, found) = match &step.found {
            Ok(found) => (true, found),
            Err(why) => (false, why),
        };
        let ms = u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX);
        Self { step: step.stage.as_str(), ok, ms, found: found.clone() }
    }
}
