//! What reaches the agent's task besides its connection.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use wakemq_protocol::Receipt;

use crate::relay::Relays;
use crate::surroundings::Noticed;

/// What the agent's owner, its relay jobs and its surroundings tell the task.
pub(crate) struct Inputs {
    pub(crate) results: mpsc::Receiver<Receipt>,
    pub(crate) progress: mpsc::Receiver<Receipt>,
    pub(crate) shutdown: oneshot::Receiver<()>,
    pub(crate) noticed: mpsc::Receiver<Noticed>,
    pub(crate) relays: Relays,
}

pub(super) enum Input {
    Result(Receipt),
    Progress(Receipt),
    /// A relay job has ended.
    Relayed(Receipt),
    Noticed(Noticed),
    /// It is time to try again what failed.
    Retry,
    Shutdown,
}

impl Inputs {
    /// Waits for the next input; may be dropped and called again, but not after `Shutdown`.
    pub(super) async fn next(&mut self, retry_at: Option<Instant>) -> Input {
        let retry = async {
            match retry_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(receipt) = self.results.recv() => Input::Result(receipt),
            Some(receipt) = self.progress.recv() => Input::Progress(receipt),
            receipt = self.relays.next() => Input::Relayed(receipt),
            Some(noticed) = self.noticed.recv() => Input::Noticed(noticed),
            _ = &mut self.shutdown => Input::Shutdown,
            () = retry => Input::Retry,
        }
    }
}
