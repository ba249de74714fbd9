//! What happens around the agent: the machine resumes, the network changes. One module for each operating system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use system::clocks;

/// Notices that may wait. The watch waits with further ones: none of them says more than the first.
const NOTICES_MAX: usize = 4;

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// The wall clock was set, as it also is when the machine resumes.
    ClockSet,
    /// Links or addresses changed.
    NetworkChanged,
}

/// A task that watches, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(Option<JoinHandle<()>>);

impl Watch {
    /// Starts to watch, within a tokio runtime.
    pub(crate) fn start() -> (Self, mpsc::Receiver<Noticed>) {
        let (to, noticed) = mpsc::channel(NOTICES_MAX);
        (Self(Some(tokio::spawn(system::watch(to)))), noticed)
    }

    /// Watches nothing: a test says what happens.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
