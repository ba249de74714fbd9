//! The benchmark of many agents: what the program `fleet` measures, and how.
//!
//! A target is a process of its own; so is the load, as many processes as it takes, which are this program again
//! ([`load`]). Both are told apart in all that is read of them ([`sample`]). Every target is put under the same
//! load, with the same certificate and the same cipher suite, in turn in each round; whoever comes first changes
//! from round to round. Like the figures, nothing here judges a time by failing.

pub mod bare;
pub mod clock;
pub mod crew;
pub mod found;
pub mod ground;
pub mod load;
pub mod million;
pub mod outcome;
pub mod plot;
pub mod sample;
pub mod scenario;
pub mod svg;
pub mod target;
pub mod way;
pub mod words;

use std::sync::LazyLock;
use std::time::Instant;

/// Descriptors that each process of a run may hold at most.
pub const DESCRIPTORS: u64 = 20_000;

/// Tells on standard error how far a run has come, and after how many seconds.
pub fn progress(scenario: &str, words: &str) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("fleet: {:4} s: {scenario}: {words}", BEGAN.elapsed().as_secs());
}
