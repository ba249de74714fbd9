//! Progress: one line on standard error, only if that is a terminal.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::output::stderr_is_watched;

/// How often the line changes at most.
const INTERVAL: Duration = Duration::from_millis(100);
/// What fits on a terminal of the usual width; a line that wraps could not be taken away again.
const WIDTH_MAX: usize = 79;

/// One line that is written over and over.
pub(crate) struct Progress {
    watched: bool,
    shown: bool,
    next: Instant,
}

impl Progress {
    /// Makes the line; it first appears after a moment, so that what is quick shows none.
    pub(crate) fn new() -> Self {
        Self { watched: stderr_is_watched(), shown: false, next: Instant::now() + 3 * INTERVAL }
    }

    /// Shows the line if it is time.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        if !self.watched || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        self.shown = true;
        let line: String = line().chars().take(WIDTH_MAX).collect();
        self.write(&format!("\r\x1b[K{line}"));
    }

    /// Waits until the line may change again; for ever where nobody watches.
    pub(crate) async fn due(&self) {
        if self.watched { tokio::time::sleep_until(self.next).await } else { std::future::pending().await }
    }

    /// Takes the line away, so that others can write.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            self.write("\r\x1b[K");
        }
    }

    /// Takes the line away if standard output is about to be written.
    pub(crate) fn clear_if(&mut self, writes: bool) {
        if writes {
            self.clear();
        }
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr();
        // Progress that cannot be shown is no progress lost.
        _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
