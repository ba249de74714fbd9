//! Power: who may relay for whom, the rules of an attempt, and ten thousand simulated ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test fails on any action but the one that it expects")]

mod attempt;
mod explain;
mod fixture;
mod neighbours;
mod oracle;
mod resume;
mod run;
mod scenario;
mod simulator;
