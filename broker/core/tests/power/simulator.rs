//! Ten thousand attempts, each from a seed of its own.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::oracle;
use crate::run::Run;
use crate::scenario::Scenario;

/// How many runs there are.
const RUNS: u64 = 10_000;
/// How often each sort of verdict comes at least: a simulator that never gets there proves nothing.
const OF_EACH: usize = 20;

#[test]
fn every_verdict_is_true_and_nobody_is_asked_who_may_not_be() {
    let mut sorts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..RUNS {
        let result = std::panic::catch_unwind(|| {
            let mut rng = Rng::with_seed(seed);
            let scenario = Scenario::draw(&mut rng);
            let record = Run::new(&scenario, rng).finish();
            oracle::judge(&scenario, &record)
        });
        match result {
            Ok(sort) => *sorts.entry(sort).or_default() += 1,
            Err(why) => {
                eprintln!("seed {seed}: {:?}", Scenario::draw(&mut Rng::with_seed(seed)));
                std::panic::resume_unwind(why);
            }
        }
    }
    assert_eq!(sorts.len(), 15, "{sorts:?}");
    assert!(sorts.values().all(|&count| count >= OF_EACH), "{sorts:?}");
}
