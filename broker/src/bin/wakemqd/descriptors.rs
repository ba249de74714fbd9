//! The limit of open descriptors: every connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wakemq_broker::door::descriptors;

/// Descriptors for everything but connections: the store, the listeners, the log, the runtime.
const RESERVE: u64 = 64;

/// Raises the limit as far as this process may, and returns how many of `wanted` connections fit below it.
pub(crate) fn make_room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open descriptors could not be raised");
            limit.current
        }
    };
    let fit = fitting(wanted, current);
    if fit < wanted {
        tracing::warn!(
            max_connections = wanted,
            descriptors = current,
            connections = fit,
            "the limit of open descriptors is too low for max_connections; raise it (LimitNOFILE= in the service's \
             unit, or `ulimit -Hn`), or lower max_connections in [limits]"
        );
    }
    fit
}

/// Returns how many of `wanted` connections fit below a limit; at least one.
fn fitting(wanted: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    let room = usize::try_from(limit.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    let (mut fit, mut too_many) = (1, wanted.min(room).saturating_add(1));
    while fit + 1 < too_many {
        let middle = fit + (too_many - fit) / 2;
        if descriptors(middle) <= room { fit = middle } else { too_many = middle }
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(fitting(1000, None), 1000);
        let enough = RESERVE + descriptors(1000) as u64;
        assert!(enough > RESERVE + 1000, "some are for administrators and for those who are turned away");
        assert_eq!(fitting(1000, Some(enough)), 1000);
        assert_eq!(fitting(1000, Some(u64::MAX)), 1000);
        assert_eq!(fitting(1000, Some(enough - 1)), 999);
        assert_eq!(fitting(usize::MAX, Some(enough)), 1000);
        assert_eq!(fitting(1000, Some(10)), 1);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        make_room(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
