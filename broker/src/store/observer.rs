//! What a store tells of its work to whoever watches it.

use std::time::Duration;

/// Is told what a store does; nothing that takes long may be done in it.
pub trait Observer: Send + Sync + 'static {
    /// A batch is durable: how many calls it answers, and how long the flush took.
    fn flushed(&self, calls: usize, took: Duration);

    /// A batch could not be written.
    fn failed(&self);
}

/// Nobody watches.
impl Observer for () {
    fn flushed(&self, _: usize, _: Duration) {}
    fn failed(&self) {}
}
