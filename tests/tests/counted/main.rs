//! What the broker costs, counted and not timed: bytes of the heap for each parked agent, each parked poll and each outstanding agent, and
//! allocations for one wake-up. The broker runs in this process, and its connections over streams in memory.
//!
//! A bound stands a little above what was found. Where a change makes something dearer on purpose, its bound is raised
//! in the same commit; where it makes it much cheaper, the bound follows.

mod memory;
mod poll;
mod wake;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

/// The system's allocator, counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Keeps other tests of this process from being counted, for as long as it is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the bytes that are on the heap.
fn heap() -> usize {
    let Stats { bytes_allocated, bytes_deallocated, .. } = ALLOCATOR.stats();
    bytes_allocated - bytes_deallocated
}

/// Returns how often something was put on the heap so far, or grew there.
fn allocations() -> usize {
    let Stats { allocations, reallocations, .. } = ALLOCATOR.stats();
    allocations + reallocations
}

/// Runs a test on one thread, so that what is counted hardly depends on chance.
fn on_one_thread<T>(test: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}
