//! Benchmarks: what the program `figures` measures, and how it is told.
//!
//! What many agents cost and how they fare is measured by [`fleet`](crate::fleet), with what is here.
//!
//! The programs that are measured as processes are built alone, as they are shipped: features that the tests of
//! other packages want would change their size and their memory. Unlike the tests, benchmarks let real time pass.
//! Nothing here judges a time by failing; a figure that misses its goal is shown as such.

pub mod child;
pub mod client;
pub mod daemon;
pub mod events;
pub mod fleet;
pub mod flush;
pub mod import;
pub mod proc;
pub mod report;
pub mod server;
pub mod shipped;
pub mod slow;
pub mod times;
pub mod wake;

use std::path::PathBuf;

/// What all measurements are told.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Whether to be done soon, with fewer agents and shorter.
    pub quick: bool,
    /// Where data directories are made; the system's place for temporary files otherwise.
    pub dir: Option<PathBuf>,
    /// Which repetition it is, from 1 on.
    pub round: u32,
}

impl Setting {
    /// Makes a directory that is removed when dropped.
    pub fn tempdir(&self) -> std::io::Result<tempfile::TempDir> {
        match &self.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        }
    }

    /// Chooses between what the whole and the quick run use.
    pub fn pick<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

/// Tells on standard error how far a measurement has come.
pub fn progress(figure: &str, words: &str) {
    eprintln!("figures: {figure}: {words}");
}
