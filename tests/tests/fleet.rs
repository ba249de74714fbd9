//! The command line of the benchmark of many agents; what it measures takes too long for here.

use std::process::Command;

use anyhow::Result;

#[test]
fn what_cannot_be_measured_is_a_usage_error_that_says_what_can() -> Result<()> {
    let fleet = |line: &[&str]| Command::new(env!("CARGO_BIN_EXE_fleet")).args(line).output();
    for line in [&["parkk"][..], &["park", "--targets", "nginx"], &["park", "--rounds", "0"], &[]] {
        assert_eq!(fleet(line)?.status.code(), Some(2), "{line:?}");
    }
    let told = fleet(&["parkk"])?.stderr;
    assert!(String::from_utf8_lossy(&told).contains("all, park, admit"));
    Ok(())
}
