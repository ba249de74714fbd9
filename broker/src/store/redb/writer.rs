//! The one writer: runs all that waits in one transaction, and flushes once for all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::redb::Durability;
use tokio::time::Instant;

use super::database::Shared;
use super::errors::failed;
use super::queue::{Queued, Taken};
use super::tables::Draft;
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::store::claims::Effect;

/// Runs batches until the queue is closed.
pub(super) fn run(shared: &Shared) {
    while let Some(taken) = shared.queue.take() {
        run_batch(shared, taken);
    }
}

/// Runs what was taken as one batch and answers the jobs.
pub(super) fn run_batch(shared: &Shared, mut taken: Taken) {
    let mut effects = Vec::new();
    let unwritable = shared.recover().err();
    // A panic in the database, or in us, must not end all writing; the transaction is rolled back by it. Only where a
    // file rots under it the database may panic again as it closes its tables, which ends the process: the next start
    // finds the damage.
    let result = catch_unwind(AssertUnwindSafe(|| write(shared, &mut taken, unwritable, &mut effects)))
        .unwrap_or_else(|_| Err(StoreError::Damaged("a batch ended in a panic; see the log".into())));
    if result.is_err() {
        // Nobody knows what reached the medium.
        shared.forget_snapshot();
    }
    shared.claims.resolve(effects, result.is_ok());
    if result.is_err() {
        shared.note_failure();
        shared.observer.failed();
        // Before the answers, so that those who go on by reading find it readable.
        if let Err(error) = shared.recover() {
            tracing::warn!(%error, "the store cannot be written");
        }
    }
    if let (Err(error), agents @ 1..) = (&result, taken.sightings.len()) {
        tracing::warn!(%error, agents, "when agents were last seen could not be written");
    }
    for Queued { job, .. } in taken.jobs {
        job.answer(result.clone());
    }
}

/// Runs jobs, and writes sightings after them, in one transaction; where nothing changes, or nothing can be written, nothing is.
fn write(
    shared: &Shared,
    taken: &mut Taken,
    unwritable: Option<StoreError>,
    effects: &mut Vec<Effect>,
) -> Result<(), StoreError> {
    shared.with_database(|database| {
        let mut txn = database.begin_write().map_err(failed)?;
        txn.set_durability(Durability::Immediate).map_err(failed)?;
        // Two phases, so that a damaged file is told from an interrupted commit, and a fast way back after a crash.
        txn.set_quick_repair(true);
        let mut draft = Draft::new(&txn);
        let Taken { jobs, sightings } = taken;
        let result = Batch::run(&mut draft, &shared.claims, effects, |batch| {
            jobs.iter_mut().try_for_each(|queued| queued.job.run(batch))?;
            sightings.iter().try_for_each(|(sighting, _)| sighting.write(batch))
        });
        drop(draft);
        match (result, unwritable) {
            (Ok(true), None) => {
                let begun = Instant::now();
                txn.commit().map_err(failed)?;
                // Before the marks of what it changed are taken off.
                shared.forget_snapshot();
                shared.observer.flushed(taken.len(), begun.elapsed());
                Ok(())
            }
            (Ok(true), Some(error)) => {
                txn.abort().map_err(failed)?;
                Err(error)
            }
            (result, _) => {
                txn.abort().map_err(failed)?;
                result.map(drop)
            }
        }
    })
}
