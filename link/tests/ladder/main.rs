//! The ladder and the heartbeat against a simulated world: ten thousand runs, each from a seed of its own. A run that
//! fails prints its seed; `LADDER_SEED=361` repeats that one alone.

mod agent;
mod oracle;
mod scenario;
mod world;

use std::collections::BTreeMap;

use fastrand::Rng;

use scenario::Scenario;
use world::World;

/// How many runs there are.
const RUNS: u64 = 10_000;
/// What happens in the runs, and in how many at least: a simulator that never gets there proves nothing.
const SORTS: [(&str, usize); 14] = [
    // How they end.
    ("mqtt directly", 3_000),
    ("mqtt through the proxy", 3_000),
    ("websocket directly", 200),
    ("websocket through the proxy", 200),
    ("poll directly", 30),
    ("poll through the proxy", 30),
    ("kept", 5),
    ("no way works", 1_000),
    ("offline", 200),
    ("heartbeat settled", 7_000),
    ("heartbeat still looked for", 5),
    // What they have gone through.
    ("moved", 1_000),
    ("resumed soon", 500),
    ("silence noticed", 1_000),
];

#[test]
fn the_agent_ends_connected_by_the_best_way_that_works_and_never_tries_too_often() {
    let mut sorts: BTreeMap<String, usize> = BTreeMap::new();
    let only = std::env::var("LADDER_SEED").ok().map(|seed| seed.parse().expect("LADDER_SEED is a number"));
    for seed in only.map_or(0..RUNS, |seed| seed..seed + 1) {
        let result = std::panic::catch_unwind(|| {
            let mut rng = Rng::with_seed(seed);
            let scenario = Scenario::draw(&mut rng);
            World::new(&scenario, rng).finish()
        });
        match result {
            Ok(said) => said.into_iter().for_each(|sort| *sorts.entry(sort).or_default() += 1),
            Err(why) => {
                eprintln!("seed {seed}: {:?}", Scenario::draw(&mut Rng::with_seed(seed)));
                std::panic::resume_unwind(why);
            }
        }
    }
    if only.is_none() {
        for (sort, least) in SORTS {
            let count = sorts.remove(sort).unwrap_or(0);
            assert!(count >= least, "{sort}: {count} runs instead of {least} at least");
        }
        assert!(sorts.is_empty(), "sorts that nobody expects: {sorts:#?}");
    }
}
