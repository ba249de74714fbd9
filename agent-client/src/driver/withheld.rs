//! Signs of life while an acknowledgement is withheld.

use std::time::Duration;

use tokio::time::Instant;
use wakemq_link::AnySession;

/// How often the broker is shown that this end lives: it takes one for dead that was sent a command and says nothing for
/// 20 s.
const SIGN: Duration = Duration::from_secs(8);

/// When the broker is to be shown that this end lives, though it does not acknowledge what it was sent: the journal has
/// no room for it, or cannot be written.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    due: Option<Instant>,
}

impl Withheld {
    /// Notes whether something waits for its acknowledgement. A poll shows nothing: there it is the broker that waits.
    pub(super) fn look<S>(&mut self, is_waiting: bool, session: &AnySession<S>) {
        self.due = match session {
            AnySession::Mqtt(_) if is_waiting => self.due.or_else(|| Some(Instant::now() + SIGN)),
            AnySession::Mqtt(_) | AnySession::Poll(_) => None,
        };
    }

    /// Returns when it is time.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells whether it is time, and begins anew if so.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|at| at <= now);
        if due {
            self.due = Some(now + SIGN);
        }
        due
    }
}
