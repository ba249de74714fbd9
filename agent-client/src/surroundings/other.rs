//! Systems on which nothing is noticed.

use tokio::sync::mpsc::Sender;

use super::Noticed;
use crate::facts::Clocks;

/// Are not known.
pub(crate) fn clocks() -> Option<Clocks> {
    None
}

/// Notices nothing.
pub(super) async fn watch(to: Sender<Noticed>) {
    to.closed().await;
}
