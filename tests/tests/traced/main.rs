//! What can be counted of the broker from outside: system calls by `strace`, instructions by callgrind.
//!
//! `cargo test -p wakemq-tests --features interop --test traced -- --nocapture` needs the Debian packages `strace` and
//! `valgrind`, and the right to trace processes; without it the test fails. It prints what it has counted.
#![cfg(feature = "interop")]

mod instructions;
mod system_calls;
