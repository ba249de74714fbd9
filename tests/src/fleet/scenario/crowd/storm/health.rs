//! Whether WakeMQ stays answerable: its health and its metrics are asked for again and again, each over a connection
//! of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wakemq_link::http::Method;

use crate::broker::http;
use crate::figures::report::Report;
use crate::figures::times::Times;
use crate::fleet::ground::Ground;
use crate::fleet::target::Target;

/// Between two questions.
const REST: Duration = Duration::from_millis(100);

/// One who asks.
pub(super) struct Health {
    asking: JoinHandle<Result<Answers>>,
    stop: oneshot::Sender<()>,
}

/// How long answers took.
pub(super) struct Answers {
    health: Times,
    metrics: Times,
}

impl Health {
    /// Begins to ask.
    pub(super) async fn start(ground: &Ground, target: &mut Target) -> Result<Self> {
        let (address, admin, ca) = (target.address, target.admin().await?, ground.ca());
        let (stop, stopped) = oneshot::channel();
        Ok(Self { asking: tokio::spawn(ask(address, admin, ca, stopped)), stop })
    }

    /// Stops, and returns what was answered.
    ///
    /// # Errors
    /// If a question was not answered, or badly.
    pub(super) async fn stop(self) -> Result<Answers> {
        // One who has ended by itself has failed, and says so below.
        self.stop.send(()).ok();
        self.asking.await?.context("the broker did not stay answerable")
    }
}

impl Answers {
    pub(super) fn tell(&self, report: &mut Report, name: &str) {
        self.health.tell(report, &format!("{name}: /healthz meanwhile, with a connection of its own"));
        self.metrics.tell(report, &format!("{name}: /metrics meanwhile, with a connection of its own"));
    }
}

async fn ask(
    address: SocketAddr,
    admin: SocketAddr,
    ca: PathBuf,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Answers> {
    let mut answers = Answers { health: Times::new()?, metrics: Times::new()? };
    while stopped.try_recv().is_err() {
        answers.health.record(get(&ca, address, "/healthz").await?)?;
        answers.metrics.record(get(&ca, admin, "/metrics").await?)?;
        sleep(REST).await;
    }
    Ok(answers)
}

async fn get(ca: &Path, address: SocketAddr, path: &str) -> Result<Duration> {
    let began = Instant::now();
    let (status, _) = http(ca, address, None)?.request(Method::GET, path, None).await.context("no answer")?;
    ensure!(status.is_success(), "{path}: {status}");
    Ok(began.elapsed())
}
