//! The queue in front of the writer.
//!
//! What somebody waits for is taken at once. Sightings wait for a batch of that kind, which takes a few along, or
//! until they are due; of each agent one waits, into which later ones are merged, so that agents that come and leave
//! all the time cost a row a second at most. They have places of their own: however many wait, nobody else does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wakemq_protocol::AgentId;

use crate::store::StoreError;
use crate::store::batch::Job;
use crate::store::sighting::Sighting;

/// How many jobs may wait, or be in the running batch; more wait outside, without a thread.
const JOBS_MAX: usize = 1024;
/// How many sightings may wait, or be in the running batch; those who bring more wait outside, without a thread. With
/// facts of 8 KiB each they are 16 MiB.
const SIGHTINGS_MAX: usize = 2048;
/// With so many of them waiting they are due.
const SIGHTINGS_DUE: usize = SIGHTINGS_MAX / 2;
/// How long a sighting waits until it is due.
const SIGHTING_WAIT: Duration = Duration::from_secs(1);
/// How many sightings a batch has, so that what comes meanwhile does not wait for long: of its own, and with jobs.
const SIGHTINGS_ALONE: usize = 512;
const SIGHTINGS_ALONG: usize = 64;

/// Jobs and sightings for the writer.
pub(super) struct Queue {
    job_places: Arc<Semaphore>,
    sighting_places: Arc<Semaphore>,
    state: Mutex<State>,
    /// Woken when there is something to do at once, or a first sighting.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Queued>,
    sightings: HashMap<AgentId, (Sighting, OwnedSemaphorePermit)>,
    /// Whose sightings wait, the longest first.
    order: VecDeque<AgentId>,
    /// When they are to be written, while there are any.
    due: Option<Instant>,
    closed: bool,
}

/// A job and its place in the queue, which it keeps until it is answered.
pub(super) struct Queued {
    pub(super) job: Box<dyn Job>,
    _place: Option<OwnedSemaphorePermit>,
}

/// What the writer does in one transaction.
#[derive(Default)]
pub(super) struct Taken {
    /// Jobs, in the order in which they came.
    pub(super) jobs: Vec<Queued>,
    /// Sightings, which keep their places until they are written.
    pub(super) sightings: Vec<(Sighting, OwnedSemaphorePermit)>,
}

impl Taken {
    /// A job that did not wait.
    pub(super) fn alone(job: Box<dyn Job>) -> Self {
        Self { jobs: vec![Queued { job, _place: None }], sightings: Vec::new() }
    }

    /// Returns how many calls are in it.
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.sightings.len()
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            job_places: Arc::new(Semaphore::new(JOBS_MAX)),
            sighting_places: Arc::new(Semaphore::new(SIGHTINGS_MAX)),
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }
}

impl Queue {
    /// Puts a job in, as soon as there is room.
    pub(super) async fn put(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let place = self.job_places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.jobs.push(Queued { job, _place: Some(place) });
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a sighting in, as soon as there is room.
    pub(super) async fn see(&self, sighting: Sighting) -> Result<(), StoreError> {
        let place = self.sighting_places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let State { sightings, order, due, .. } = &mut *state;
        if let Some((waiting, _)) = sightings.get_mut(&sighting.agent) {
            waiting.merge(sighting);
            return Ok(());
        }
        order.push_back(sighting.agent.clone());
        sightings.insert(sighting.agent.clone(), (sighting, place));
        let is_first = due.is_none();
        due.get_or_insert_with(|| Instant::now() + SIGHTING_WAIT);
        if is_first || sightings.len() == SIGHTINGS_DUE {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for something to do and takes it; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.state.lock();
        while state.jobs.is_empty() && state.sightings.len() < SIGHTINGS_DUE && !state.closed {
            match state.due {
                None => self.arrived.wait(&mut state),
                Some(due) => {
                    if self.arrived.wait_until(&mut state, due.into_std()).timed_out() {
                        break;
                    }
                }
            }
        }
        let jobs = std::mem::take(&mut state.jobs);
        let max = if jobs.is_empty() { SIGHTINGS_ALONE } else { SIGHTINGS_ALONG };
        let State { sightings, order, .. } = &mut *state;
        let whose = order.drain(..max.min(order.len()));
        let sightings: Vec<_> = whose.filter_map(|agent| sightings.remove(&agent)).collect();
        if state.sightings.is_empty() {
            state.due = None;
            // What a storm of agents took is given back after it.
            state.sightings.shrink_to(SIGHTINGS_ALONG);
            state.order.shrink_to(SIGHTINGS_ALONG);
        }
        let taken = Taken { jobs, sightings };
        (taken.len() > 0 || !state.closed).then_some(taken)
    }

    /// Takes nothing more in; what is inside is still written.
    pub(super) fn close(&self) {
        self.job_places.close();
        self.sighting_places.close();
        self.state.lock().closed = true;
        self.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use wakemq_protocol::{Facts, Timestamp};

    use super::*;
    use crate::store::batch::job;

    fn sighting(agent: &str, secs: i64) -> Sighting {
        let at = Timestamp::from_unix_ms(secs * 1000);
        Sighting { agent: agent.parse().unwrap(), at, facts: None, source: None }
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn of_each_agent_one_sighting_waits() {
        let queue = Queue::default();
        let facts = Some(Facts { instance: "i".into(), ..Facts::default() });
        for one in [
            sighting("a", 1),
            Sighting { facts: facts.clone(), ..sighting("B", 2) },
            sighting("A", 3),
            sighting("b", 4),
        ] {
            assert!(poll(queue.see(one)).is_ready());
        }
        assert!(poll(queue.put(job(|_| Ok(())).0)).is_ready());
        let Taken { jobs, sightings } = queue.take().unwrap();
        assert_eq!((jobs.len(), sightings.len()), (1, 2));
        assert_eq!(sightings[0].0, sighting("a", 3));
        assert_eq!(sightings[1].0, Sighting { facts, ..sighting("b", 4) });
        queue.close();
        assert!(queue.take().is_none());
    }

    #[test]
    fn sightings_keep_nobody_else_out_and_go_along_a_few_at_a_time() {
        let queue = Queue::default();
        for number in 0..SIGHTINGS_MAX {
            assert!(poll(queue.see(sighting(&number.to_string(), 1))).is_ready());
        }
        assert!(poll(queue.see(sighting("more", 1))).is_pending(), "there is no room");
        assert!(poll(queue.put(job(|_| Ok(())).0)).is_ready());
        let along = queue.take().unwrap();
        assert_eq!((along.jobs.len(), along.sightings.len()), (1, SIGHTINGS_ALONG));
        assert!(poll(queue.see(sighting("more", 1))).is_pending(), "they are not written yet");
        drop(along);
        assert!(poll(queue.see(sighting("more", 1))).is_ready());
        let alone = queue.take().unwrap();
        assert_eq!((alone.jobs.len(), alone.sightings.len()), (0, SIGHTINGS_ALONE));
        assert_eq!(alone.sightings[0].0.agent.as_str(), SIGHTINGS_ALONG.to_string(), "the longest first");
        queue.close();
        assert!(matches!(poll(queue.see(sighting("late", 1))), Poll::Ready(Err(StoreError::Closed))));
        let mut left = 0;
        while let Some(taken) = queue.take() {
            left += taken.sightings.len();
        }
        assert_eq!(left, SIGHTINGS_MAX - SIGHTINGS_ALONG + 1 - SIGHTINGS_ALONE, "none is lost by the end");
    }

    #[test]
    fn a_sighting_is_due_in_time_whatever_comes_after_it() {
        let queue = Queue::default();
        assert!(poll(queue.see(sighting("a", 1))).is_ready());
        let due = queue.state.lock().due.unwrap();
        assert!(poll(queue.see(sighting("b", 1))).is_ready());
        assert_eq!(queue.state.lock().due, Some(due));
        queue.state.lock().due = Some(Instant::now());
        assert_eq!(queue.take().unwrap().sightings.len(), 2);
        assert_eq!(queue.state.lock().due, None);
    }
}
