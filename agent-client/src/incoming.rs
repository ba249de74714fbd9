//! A command in the hands of its handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{OwnedPermit, Sender};
use wakemq_protocol::limits::DETAIL_MAX;
use wakemq_protocol::{Command, Receipt, ReceiptState};

/// A command to carry out; it ends with [`done`](Self::done), [`failed`](Self::failed) or
/// [`refused`](Self::refused), and counts as failed if it is dropped without.
#[derive(Debug)]
pub struct Incoming {
    command: Command,
    /// Room for the one result, so that ending a command never has to wait.
    permit: Option<OwnedPermit<Receipt>>,
    progress: Sender<Receipt>,
    /// Counts the results that handlers have given.
    given: Arc<AtomicU64>,
}

impl Incoming {
    pub(crate) fn new(
        command: Command,
        permit: OwnedPermit<Receipt>,
        progress: Sender<Receipt>,
        given: Arc<AtomicU64>,
    ) -> Self {
        Self { command, permit: Some(permit), progress, given }
    }

    /// Returns the command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Ends the command as handled.
    pub fn done(mut self, detail: Option<String>) {
        self.end(ReceiptState::Done, detail);
    }

    /// Ends the command as one that could not be handled.
    pub fn failed(mut self, reason: impl Into<String>) {
        self.end(ReceiptState::Failed, Some(reason.into()));
    }

    /// Ends the command as one that would not be handled.
    pub fn refused(mut self, reason: impl Into<String>) {
        self.end(ReceiptState::Refused, Some(reason.into()));
    }

    /// Reports progress. It is sent if there is a connection with room for it, and never kept.
    pub fn progress(&self, detail: impl Into<String>) {
        let receipt = receipt(&self.command, ReceiptState::Progress, Some(detail.into()));
        if self.progress.try_send(receipt).is_err() {
            tracing::debug!(id = %self.command.id, "progress dropped: no room");
        }
    }

    /// Lets go of the command without a result: it is given out again when the agent starts next.
    pub fn leave(mut self) {
        self.permit = None;
    }

    fn end(&mut self, state: ReceiptState, detail: Option<String>) {
        if let Some(permit) = self.permit.take() {
            self.given.fetch_add(1, Ordering::SeqCst);
            permit.send(receipt(&self.command, state, detail));
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.end(ReceiptState::Failed, Some("the handler ended without a result".into()));
    }
}

/// Makes a receipt whose detail keeps its limit.
pub(crate) fn receipt(command: &Command, state: ReceiptState, detail: Option<String>) -> Receipt {
    let detail = detail.map(|mut text| {
        let end = (0..=text.len().min(DETAIL_MAX)).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or(0));
        text
    });
    Receipt { id: command.id, state, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn command() -> Command {
        serde_json::from_str(
            r#"{"id":"0197c1b2-0000-7000-8000-000000000001","kind":"wake","slot":"wake","ttl":60,
                "priority":"normal","reason":null,"issued":"2026-11-22T01:00:00Z","by":"op:console"}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let long = receipt(&command(), ReceiptState::Done, Some("x".to_owned() + &"\u{20ac}".repeat(3000)));
        assert_eq!(long.detail.unwrap().len(), 4096);
    }

    #[tokio::test]
    async fn a_dropped_command_has_failed_and_one_that_is_left_has_no_result() {
        let (results, mut ended) = mpsc::channel(2);
        let (progress, _kept) = mpsc::channel(1);
        let incoming = |permit| Incoming::new(command(), permit, progress.clone(), Arc::default());
        incoming(results.clone().reserve_owned().await.unwrap()).leave();
        drop(incoming(results.clone().reserve_owned().await.unwrap()));
        drop(results);
        assert_eq!(ended.recv().await.unwrap().state, ReceiptState::Failed);
        assert_eq!(ended.recv().await, None);
    }
}
