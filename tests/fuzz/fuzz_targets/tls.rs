#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakemq_broker::fuzzing::tls(data));
