//! The agent as its owner sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use wakemq_link::mqtt::ConnectOptions;
use wakemq_link::seeker::{Seeker, SeekerOptions};
use wakemq_link::{HeartbeatSettings, ParseEndpointError, ProxyUrl};
use wakemq_protocol::limits::JOURNAL_MAX;
use wakemq_protocol::{AgentId, Command, Receipt};

use crate::driver::{Driver, Inputs};
use crate::facts::{FactsOptions, Source};
use crate::journal::Journal;
use crate::relay::Relays;
use crate::surroundings::Watch;
use crate::{
    DeclaredError, Identity, Incoming, JournalError, PassageError, ProxyChoice, StateDir, StateError, Status,
    clock, random,
};

/// Progress reports that may wait; more are dropped.
const PROGRESS_MAX: usize = 16;

/// How to run an agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    state: StateDir,
    heartbeat: HeartbeatSettings,
    probe_every: Option<Duration>,
    proxy: Option<ProxyChoice>,
    facts: FactsOptions,
}

impl AgentOptions {
    /// Makes options of an agent that relays, with the default heartbeat: 300 s where nothing is known of the network,
    /// between 60 s and 1,200 s, by steps of 240 s. The journal and what is learned of networks lie in `state`.
    pub fn new(state: StateDir) -> Self {
        let facts = FactsOptions { relay: true, ..FactsOptions::default() };
        Self { state, heartbeat: HeartbeatSettings::default(), probe_every: None, proxy: None, facts }
    }

    /// Sets how long the connection may stay quiet on a network of which nothing is known, in seconds. The bounds
    /// become wide enough for it; the broker may say otherwise.
    #[must_use]
    pub fn keep_alive_secs(mut self, secs: u16) -> Self {
        let secs = u32::from(secs);
        self.heartbeat.initial_secs = secs;
        self.heartbeat.minimum_secs = self.heartbeat.minimum_secs.min(secs);
        self.heartbeat.maximum_secs = self.heartbeat.maximum_secs.max(secs);
        self
    }

    /// Sets the interval to which the agent falls back where a network bears no longer one, in seconds.
    #[must_use]
    pub fn heartbeat_min_secs(mut self, secs: u16) -> Self {
        self.heartbeat.minimum_secs = secs.into();
        self
    }

    /// Sets the longest interval that is tried, in seconds.
    #[must_use]
    pub fn heartbeat_max_secs(mut self, secs: u16) -> Self {
        self.heartbeat.maximum_secs = secs.into();
        self
    }

    /// Sets how much longer than the last safe interval the next try is, in seconds; with 0 nothing longer is tried.
    #[must_use]
    pub fn heartbeat_step_secs(mut self, secs: u16) -> Self {
        self.heartbeat.step_secs = secs.into();
        self
    }

    /// Sets how often better ways are probed: for tests, which cannot wait for an hour.
    #[doc(hidden)]
    #[must_use]
    pub fn probe_every(mut self, interval: Duration) -> Self {
        self.probe_every = Some(interval);
        self
    }

    /// Sets a proxy, in place of what the identity says.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyUrl) -> Self {
        self.proxy = Some(ProxyChoice::Proxy(proxy));
        self
    }

    /// Sets whether the agent sends Wake-on-LAN packets for its neighbours when the broker asks it to. It does
    /// unless it is told not to.
    #[must_use]
    pub fn relay(mut self, relay: bool) -> Self {
        self.facts.relay = relay;
        self
    }

    /// Adds an interface that counts as physical though it is virtual: that of a container, say, or a bridge.
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.facts.interfaces.push(name.into());
        self
    }

    /// Sets a file whose facts replace those that are read: for hardware that the agent cannot see, and for tests.
    ///
    /// It holds a JSON object with any of `boot_id`, `resume_id`, `since_boot`, `since_resume`, `host_name`, `os`,
    /// `version` and `interfaces` in the form of the facts, and is read anew whenever these are sent.
    #[must_use]
    pub fn declare(mut self, file: impl Into<PathBuf>) -> Self {
        self.facts.declared = Some(file.into());
        self
    }
}

/// Says why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The endpoints in the identity.
    #[error("the identity's endpoints: {0}")]
    Endpoints(#[from] ParseEndpointError),
    /// The certificate authorities in the identity, or its proxy.
    #[error(transparent)]
    Passage(#[from] PassageError),
    /// The declared facts.
    #[error(transparent)]
    Declared(#[from] DeclaredError),
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] std::io::Error),
}

/// A running agent: one task on the caller's runtime, which ends when this is dropped.
#[derive(Debug)]
pub struct Agent {
    id: AgentId,
    commands: mpsc::Receiver<Command>,
    results: mpsc::Sender<Receipt>,
    progress: mpsc::Sender<Receipt>,
    /// Counts the results that handlers have given, and those of them that are in the journal.
    given: Arc<AtomicU64>,
    journalled: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent within a tokio runtime. Whether it is connected is told by [`status`](Self::status).
    ///
    /// # Errors
    /// If the journal is damaged, the identity names no usable endpoint or certificate authority, or the declared
    /// facts cannot be read.
    pub fn connect(mut identity: Identity, options: AgentOptions) -> Result<Self, AgentError> {
        if let Some(proxy) = options.proxy {
            identity.passage.proxy = proxy;
        }
        let (ladder, dialer) = (identity.ladder()?, identity.dialer()?);
        let state = options.state;
        let journal = Journal::open(&state.journal_path(), clock::now())?.locked_by(state.clone());
        let instance = random::instance()?;
        let mut facts = Source::new(instance.clone(), options.facts)?;
        for name in facts.missing() {
            tracing::warn!(name, "there is no such network interface at present");
        }
        let id = identity.agent;
        let mut connect = ConnectOptions::new(id.to_string(), id.to_string(), identity.secret);
        connect.clock = wakemq_link::Clock::System;
        connect.user_properties = vec![("instance".to_owned(), instance)];

        let seeker = Seeker::new(
            &ladder,
            dialer,
            SeekerOptions {
                connect,
                heartbeat: options.heartbeat,
                memory: state.memory(),
                unix_ms: u64::try_from(clock::now().unix_ms()).unwrap_or_default(),
                probe_ms: options
                    .probe_every
                    .map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
            },
        );

        let (command_sender, commands) = mpsc::channel(JOURNAL_MAX);
        let (results, result_receiver) = mpsc::channel(JOURNAL_MAX);
        let (progress, progress_receiver) = mpsc::channel(PROGRESS_MAX);
        let (status_sender, status) = watch::channel(Status::default());
        let (journalled_sender, journalled) = watch::channel(0);
        let (shutdown, shutdown_receiver) = oneshot::channel();
        let (watch, noticed) = Watch::start();
        let driver = Driver {
            id: id.clone(),
            resumes: facts.resumes(),
            facts,
            seeker,
            state,
            status: status_sender,
            inputs: Inputs {
                results: result_receiver,
                progress: progress_receiver,
                shutdown: shutdown_receiver,
                noticed,
                relays: Relays::default(),
            },
            intercepted_by: None,
            _watch: watch,
        };
        let task = tokio::spawn(driver.run(journal, command_sender, journalled_sender));
        Ok(Self {
            id,
            commands,
            results,
            progress,
            given: Arc::default(),
            journalled,
            status,
            shutdown: Some(shutdown),
            task,
        })
    }

    /// Returns the agent's id.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Waits for the next command; `None` once the agent has ended. May be dropped and called again.
    ///
    /// It comes only when every result that was given before is in the journal. So of commands that are handled one
    /// after another, a kill leaves only the one without a result inside which it came.
    pub async fn next_command(&mut self) -> Option<Incoming> {
        let given = self.given.load(Ordering::SeqCst);
        self.journalled.wait_for(|journalled| *journalled >= given).await.ok()?;
        let permit = self.results.clone().reserve_owned().await.ok()?;
        let command = self.commands.recv().await?;
        Some(Incoming::new(command, permit, self.progress.clone(), self.given.clone()))
    }

    /// Returns the state of connection and journal, to watch.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends the agent: results given so far are journalled and, if there is a connection, sent within two
    /// seconds, then the connection ends with DISCONNECT. Commands without a result stay in the journal.
    pub async fn shutdown(mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            // A task that has ended already needs no word.
            _ = shutdown.send(());
        }
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the agent's task did not end well");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
