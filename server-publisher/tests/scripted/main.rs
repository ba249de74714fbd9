//! Library and program against a broker that does what each test tells it, over real TLS.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod fake;
mod groups;
mod manage;
mod power;
mod program;
mod publisher;
mod watch;
