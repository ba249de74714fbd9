#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakemq_broker::fuzzing::store_file(data));
