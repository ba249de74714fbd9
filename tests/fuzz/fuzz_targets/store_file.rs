#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    // In place of the hook that ends the process at once: a panic of the database is caught and becomes an error.
    // One that nobody catches ends the process all the same; `cargo test` shows what it says.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| wakemq_broker::fuzzing::store_file(data)
);
