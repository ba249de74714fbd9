//! What a person wants to know who asks why an agent does not come, or why it comes by that way: every way to the
//! broker step by step, without disturbing an agent that runs.

mod advice;
mod report;

use std::path::Path;

use wakemq_link::ladder::Way;
use wakemq_link::{Fault, Ladder, Memory, Portal, ProxySource, Step, WayDialer, probe_portal};
use wakemq_protocol::{AgentId, Secret};

use crate::state_dir::{is_locked, read_identity, read_memory};
use crate::{AgentError, CaSource, Passage, network};

pub use report::{Outcome, ProxyReport, Report, StepReport, WayReport};

/// Examines the ways of one agent, or of an endpoint that is not enrolled yet.
#[derive(Debug)]
pub struct Doctor {
    agent: Option<AgentId>,
    secret: Option<Secret>,
    ladder: Ladder,
    dialer: WayDialer,
    passage: Passage,
    memory: Memory,
    is_running: bool,
}

/// What is told while an examination goes on.
#[derive(Debug)]
pub enum Finding<'a> {
    /// What the probe for a captive portal found.
    Portal(&'a Portal),
    /// A way is begun.
    Way(&'a Way),
    /// A step of it is done.
    Step(&'a Step),
}

impl Doctor {
    /// Examines the agent of a state directory, which may run meanwhile. `change` may put other settings in place of
    /// those that it was enrolled with.
    ///
    /// # Errors
    /// If there is no identity, or it cannot be used.
    pub fn of_state<E: From<AgentError>>(
        state: &Path,
        change: impl FnOnce(&mut Passage) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut identity = read_identity(state).map_err(AgentError::from)?;
        change(&mut identity.passage)?;
        Ok(Self {
            ladder: identity.ladder().map_err(AgentError::from)?,
            dialer: identity.dialer().map_err(AgentError::from)?,
            passage: identity.passage,
            agent: Some(identity.agent),
            secret: Some(identity.secret),
            memory: read_memory(state),
            is_running: is_locked(state),
        })
    }

    /// Examines the ways to a broker where no agent is enrolled.
    ///
    /// # Errors
    /// If the certificate authority or the passage cannot be used.
    pub fn of_server(server: Ladder, ca: &CaSource, passage: Passage) -> Result<Self, AgentError> {
        Ok(Self {
            agent: None,
            secret: None,
            dialer: passage.dialer(ca)?,
            passage,
            ladder: server,
            memory: Memory::default(),
            is_running: false,
        })
    }

    /// Examines every way, the best first, and says what to change.
    pub async fn examine(&self, mut tell: impl FnMut(Finding<'_>)) -> Report {
        let dialer = self.dialer.clone().with_attempt_limit(report::STEP_LIMIT);
        let ways = dialer.proxy().ways(&self.ladder);
        let portal = match ways.iter().find(|way| way.rung.is_https()).or(ways.iter().next()) {
            Some(way) => probe_portal(&dialer, &way.rung).await,
            None => Portal::Unreachable("there is no way".to_owned()),
        };
        tell(Finding::Portal(&portal));
        let key = network::present().map(|present| present.key);
        let remembered = key.as_ref().and_then(|key| self.memory.way(key));
        let mut reports = Vec::new();
        let mut faults = Vec::new();
        for way in ways.iter() {
            tell(Finding::Way(way));
            let mut steps = Vec::new();
            let examined = dialer
                .examine(way, self.secret.as_ref(), |step| {
                    tell(Finding::Step(&step));
                    steps.push(StepReport::new(&step));
                })
                .await;
            faults.push(examined.fault);
            let heartbeat = key.as_ref().and_then(|key| self.memory.heartbeat(key, &way.to_string()));
            reports.push(WayReport {
                way: way.to_string(),
                works: examined.fault.is_none(),
                steps,
                intercepted_by: examined.tls.and_then(|tls| tls.intercepted_by()),
                last_used: remembered == Some(&*way.to_string()),
                heartbeat: heartbeat.cloned(),
            });
        }
        let advised = advice::advise(&ways, &reports, &faults, &portal, self.agent.is_some());
        Report {
            agent: self.agent.clone(),
            running: self.is_running,
            proxy: self.proxy(),
            portal: portal.to_string(),
            best: reports.iter().find(|report| report.works).map(|report| report.way.clone()),
            outcome: outcome(&faults),
            verdict: advised.verdict,
            advice: advised.advice,
            ways: reports,
        }
    }

    /// Returns whose ways are examined.
    pub fn agent(&self) -> Option<&AgentId> {
        self.agent.as_ref()
    }

    /// Tells whether the agent runs at present.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Returns through which proxy ways go.
    pub fn proxy(&self) -> Option<ProxyReport> {
        let settings = self.dialer.proxy();
        let url = settings.url()?;
        Some(ProxyReport {
            url: url.to_string(),
            from: match settings.source() {
                ProxySource::Explicit => "settings".to_owned(),
                ProxySource::Environment(variable) => variable.to_owned(),
            },
            order: self.passage.order.to_string(),
            credentials: url.credentials().is_some(),
        })
    }
}

fn outcome(faults: &[Option<Fault>]) -> Outcome {
    if faults.contains(&Some(Fault::NotAllowed)) {
        Outcome::NotAllowed
    } else if faults.contains(&None) {
        Outcome::Reached
    } else {
        Outcome::Unreachable
    }
}
