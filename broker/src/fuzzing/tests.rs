//! Replays what the fuzzer kept, and what it found.

#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn tls() {
    replay("tls", super::tls);
}

#[test]
fn packets() {
    replay("packets", super::packets);
}

#[test]
fn connect() {
    replay("connect", super::connect);
}

#[test]
fn config() {
    replay("config", super::config);
}

#[test]
fn store_rows() {
    replay("store_rows", super::store_rows);
}

#[test]
fn store_file() {
    replay("store_file", super::store_file);
}
