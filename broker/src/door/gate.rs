//! The way in: at what rate connections pass, how many handshakes there are at a time, and what becomes of those for
//! whom there is no room.
//!
//! Everything here happens before any cryptography. Nothing grows with those who come too fast: who waits holds its
//! turn as one number, for at most half of what is left of its handshake's time limit, and so there are never more who
//! wait than the rate lets in within that time. Who would wait longer is closed, after a random moment so that a herd
//! does not come back in step; and at once where too many are waiting to be closed already, since each of them holds a
//! descriptor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use wakemq_core::admission::Admission;

use super::Limits;
use super::listener::{Place, Places};
use crate::metrics::{Label as _, Metrics, Refused, Waited};

/// How long one that is turned away stays open, in milliseconds.
const LINGER_MS: std::ops::RangeInclusive<u64> = 100..=3_000;
/// Most connections that are turned away and still open.
const LINGERING_MAX: usize = 512;
/// Of so many connections that may be open, one place is for such a one.
const LINGERING_SHARE: usize = 8;
/// How long nothing more is logged of connections that are turned away for the same reason.
const QUIET: Duration = Duration::from_secs(10);

/// Returns how many connections that are turned away may still be open, beyond `max_connections`.
pub(super) fn lingering_max(max_connections: usize) -> usize {
    (max_connections / LINGERING_SHARE).min(LINGERING_MAX)
}

/// What was logged of connections that are turned away for one reason.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    last: Option<Instant>,
    /// How many were turned away since.
    since: u64,
}

/// The way in.
#[derive(Debug)]
pub(super) struct Gate {
    opened: Instant,
    admission: Mutex<Admission>,
    handshakes: Semaphore,
    lingering: Arc<Places>,
    told: Mutex<[Told; Refused::ALL.len()]>,
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            opened: Instant::now(),
            admission: Mutex::new(Admission::new(limits.admissions_per_sec, limits.admission_burst)),
            handshakes: Semaphore::new(limits.handshakes_in_progress),
            lingering: Places::new(lingering_max(limits.max_connections)),
            told: Mutex::default(),
        }
    }

    /// Waits for a connection's turn, and for room among the handshakes; its own is to end by `deadline`.
    pub(super) async fn pass(
        &self,
        deadline: Instant,
        metrics: &Metrics,
    ) -> Result<SemaphorePermit<'_>, Refused> {
        let now = Instant::now();
        // As long again is left for the handshake itself.
        let patience = deadline.saturating_duration_since(now) / 2;
        let arrived = self.admission.lock().arrive(ns(now - self.opened), ns(patience));
        let Some(wait_ns) = arrived else { return Err(Refused::OverRate) };
        if wait_ns > 0 {
            metrics.admission_waits.of(Waited::Rate).inc();
            sleep_until(now + Duration::from_nanos(wait_ns)).await;
        }
        if let Ok(permit) = self.handshakes.try_acquire() {
            return Ok(permit);
        }
        metrics.admission_waits.of(Waited::Handshakes).inc();
        match timeout_at(now + patience, self.handshakes.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refused::TooManyHandshakes),
        }
    }

    /// Counts a connection that is turned away, and tells of it, though not of each.
    ///
    /// Returns the place that it may take while it lingers, if there is one.
    pub(super) fn turn_away(&self, why: Refused, address: SocketAddr, metrics: &Metrics) -> Option<Place> {
        metrics.refusals.of(why).inc();
        let mut told = self.told.lock();
        let told = &mut told[why.index()];
        told.since += 1;
        if told.last.is_none_or(|last| last.elapsed() >= QUIET) {
            let connections = std::mem::take(&mut told.since);
            told.last = Some(Instant::now());
            tracing::warn!(%address, connections, reason = why.word(), "turned away: more come than are let in");
        }
        self.lingering.take()
    }
}

/// Holds a connection that is turned away open for a random moment, or until the broker stops; then closes it.
pub(super) async fn linger<S>(io: S, place: Place, mut draining: watch::Receiver<bool>) {
    tokio::select! {
        () = sleep(Duration::from_millis(fastrand::u64(LINGER_MS))) => {}
        _ = draining.wait_for(|draining| *draining) => {}
    }
    drop(io);
    drop(place);
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
