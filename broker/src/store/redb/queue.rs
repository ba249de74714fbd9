//! The queue in front of the writer.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::StoreError;
use crate::store::batch::Job;

/// How many jobs may wait, or be in the running batch; more wait outside, without a thread.
const JOBS_MAX: usize = 1024;
/// How many lazy jobs may wait for a flush that others need.
const LAZY_MAX: usize = 256;
/// How long a lazy job waits at most.
const LAZY_WAIT: Duration = Duration::from_secs(1);

/// Jobs for the writer, which takes all that there are at once.
pub(super) struct Queue {
    room: Arc<Semaphore>,
    state: Mutex<State>,
    /// Woken when there is something to do at once, or the first lazy job.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Queued>,
    urgent: bool,
    closed: bool,
}

/// A job and its place in the queue, which it keeps until it is answered.
pub(super) struct Queued {
    pub(super) job: Box<dyn Job>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Queued {
    /// A job that did not wait.
    pub(super) fn alone(job: Box<dyn Job>) -> Self {
        Self { job, _place: None }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(JOBS_MAX)), state: Mutex::default(), arrived: Condvar::new() }
    }
}

impl Queue {
    /// Puts a job in, as soon as there is room.
    pub(super) async fn put(&self, job: Box<dyn Job>, lazy: bool) -> Result<(), StoreError> {
        let place = self.room.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.jobs.push(Queued { job, _place: Some(place) });
        state.urgent |= !lazy || state.jobs.len() >= LAZY_MAX;
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes all of them; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Queued>> {
        let mut state = self.state.lock();
        while !state.urgent && !state.closed {
            if state.jobs.is_empty() {
                self.arrived.wait(&mut state);
            } else if self.arrived.wait_for(&mut state, LAZY_WAIT).timed_out() {
                break;
            }
        }
        state.urgent = false;
        let jobs = std::mem::take(&mut state.jobs);
        (!jobs.is_empty() || !state.closed).then_some(jobs)
    }

    /// Takes no more jobs; those inside are still run.
    pub(super) fn close(&self) {
        self.room.close();
        self.state.lock().closed = true;
        self.arrived.notify_one();
    }
}
