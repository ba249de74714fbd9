//! Random steps on a store, beside a model of it.

use super::fixture::Bench;

/// What should be so; it takes every step along with the store.
pub(super) trait Walker {
    /// A step.
    type Act;

    async fn begin(bench: &Bench) -> Self;

    async fn step(&mut self, bench: &Bench, act: &Self::Act);

    /// What must hold at any time.
    async fn check(&self, bench: &Bench);
}

/// Takes steps; on a disk, where that takes its time, what must hold is looked at only in the end.
pub(super) fn walk<W: Walker>(acts: &[W::Act], on_disk: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let bench = if on_disk { Bench::on_disk().await } else { Bench::in_memory().await };
        let mut walker = W::begin(&bench).await;
        for act in acts {
            walker.step(&bench, act).await;
            if !on_disk {
                walker.check(&bench).await;
            }
        }
        walker.check(&bench).await;
    });
}
