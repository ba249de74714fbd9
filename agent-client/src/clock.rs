//! The wall clock, in the one place where it is read.

use std::time::{SystemTime, UNIX_EPOCH};

use wakemq_protocol::Timestamp;

/// Returns the time of the wall clock; what lies before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "this is the agent's one look at the wall clock")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
