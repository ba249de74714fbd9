//! The way in: at what rate connections pass, how many handshakes there are at a time, and what becomes of those for
//! whom there is no room.
//!
//! Everything here happens before any cryptography. Nothing grows with those who come too fast: who waits holds its
//! turn as one number, for at most half of what is left of its handshake's time limit, and so there are never more who
//! wait than the rate lets in within that time. Who would wait longer is closed, after a random moment so that a herd
//! does not come back in step; and at once where too many are waiting to be closed already, since each of them holds a
//! descriptor.
//!
//! One source, see [`Source`], cannot keep others out. Who comes faster than its share of the rate waits for at most half
//! as long as others, so that the second half of the queue is theirs; and only a share of all places may be held by
//! connections of one source that have not said who they are. While the queue is short one source may take all the
//! rate: agents behind one address come back as fast as others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use wakemq_core::admission::Admission;
use wakemq_core::{Shares, Source};

use super::listener::{Place, Places};
use super::{Limits, Serves};
use crate::metrics::{Label as _, Metrics, Refused, Waited};

/// How long one that is turned away stays open, in milliseconds.
const LINGER_MS: std::ops::RangeInclusive<u64> = 100..=3_000;
/// Most connections that are turned away and still open.
const LINGERING_MAX: usize = 512;
/// Of so many connections that may be open, one place is for such a one.
const LINGERING_SHARE: usize = 8;
/// Of so many sources there is room in the table of unknown ones when nobody is unknown.
const KEPT: usize = 1_000;
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
    /// None if each source may take all.
    shares: Option<Mutex<Shares>>,
    unknown: Arc<UnknownOnes>,
    handshakes: Semaphore,
    lingering: Arc<Places>,
    told: Mutex<[Told; Refused::ALL.len()]>,
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        let share = limits.source_share_percent;
        let shares = || {
            let [per_sec, burst] = [limits.admissions_per_sec, limits.admission_burst]
                .map(|whole| u32::try_from(share_of(whole.into(), share)).unwrap_or(u32::MAX));
            Mutex::new(Shares::new(per_sec, burst))
        };
        let unknown_max =
            usize::try_from(share_of(limits.max_connections as u64, share)).unwrap_or(usize::MAX);
        Self {
            opened: Instant::now(),
            shares: (share < 100).then(shares),
            unknown: Arc::new(UnknownOnes { max: unknown_max, by_source: Mutex::default() }),
            admission: Mutex::new(Admission::new(limits.admissions_per_sec, limits.admission_burst)),
            handshakes: Semaphore::new(limits.handshakes_in_progress),
            lingering: Places::new(lingering_max(limits.max_connections)),
            told: Mutex::default(),
        }
    }

    /// Waits for a connection's turn, and for room among the handshakes; its own is to end by `deadline`.
    pub(super) async fn pass(
        &self,
        address: SocketAddr,
        deadline: Instant,
        metrics: &Metrics,
    ) -> Result<SemaphorePermit<'_>, Refused> {
        let now = Instant::now();
        // As long again is left for the handshake itself.
        let mut patience = deadline.saturating_duration_since(now) / 2;
        let now_ns = ns(now - self.opened);
        let shares = self.shares.as_ref();
        let within = shares.is_none_or(|shares| shares.lock().arrive(address.ip().into(), now_ns));
        if !within {
            patience /= 2;
        }
        let arrived = self.admission.lock().arrive(now_ns, ns(patience));
        let Some(wait_ns) = arrived else {
            return Err(if within { Refused::OverRate } else { Refused::OverShare });
        };
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

    /// Counts a connection as one that has not said who it is, for as long as what is returned lives; `None` if its
    /// source has as many as it may. Administrators' doors have places of their own.
    pub(super) fn unknown(&self, address: SocketAddr, serves: Serves) -> Option<Unknown> {
        match serves {
            Serves::Clients => UnknownOnes::enter(&self.unknown, address.ip().into()),
            Serves::Admin => Some(Unknown(None)),
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

/// How many connections of each source there are that have not said who they are.
#[derive(Debug)]
struct UnknownOnes {
    /// Most of one source.
    max: usize,
    /// There are no more of them than connections.
    by_source: Mutex<HashMap<Source, usize>>,
}

impl UnknownOnes {
    fn enter(this: &Arc<Self>, source: Source) -> Option<Unknown> {
        let mut by_source = this.by_source.lock();
        let count = by_source.get(&source).copied().unwrap_or_default();
        if count >= this.max {
            return None;
        }
        by_source.insert(source, count + 1);
        Some(Unknown(Some((this.clone(), source))))
    }
}

/// Counts a connection of HTTP as one that has not said who it is, until a request of it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stranger(Arc<Mutex<Option<Unknown>>>);

impl Stranger {
    pub(super) fn new(unknown: Unknown) -> Self {
        Self(Arc::new(Mutex::new(Some(unknown))))
    }

    /// Somebody has given a secret that is right.
    pub(crate) fn is_known(&self) {
        self.0.lock().take();
    }
}

/// A connection that has not said who it is, and counts as one.
#[derive(Debug)]
pub(super) struct Unknown(Option<(Arc<UnknownOnes>, Source)>);

impl Drop for Unknown {
    fn drop(&mut self) {
        let Some((all, source)) = &self.0 else { return };
        let mut by_source = all.by_source.lock();
        match by_source.get_mut(source) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                by_source.remove(source);
            }
        }
        if by_source.is_empty() && by_source.capacity() > KEPT {
            // What a storm of connections needed is given back when it is over.
            *by_source = HashMap::new();
        }
    }
}

/// Returns a share of something, at least one.
fn share_of(whole: u64, percent: u8) -> u64 {
    (whole * u64::from(percent) / 100).max(1)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
