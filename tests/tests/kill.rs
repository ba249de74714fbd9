//! Five rounds of the kill test. For more: `cargo run -p wakemq-tests --bin kill -- --rounds 200`.

use anyhow::Result;

#[tokio::test]
async fn five_rounds_of_sigkill_leave_every_accepted_command_accounted_for() -> Result<()> {
    let seed = fastrand::u64(..);
    println!("seed {seed}; again: cargo run -p wakemq-tests --bin kill -- --rounds 5 --seed {seed}");
    let totals = wakemq_tests::kill::run(5, seed, |line| println!("{line}")).await?;
    assert!(totals.accepted > 50 && totals.handled > 0, "too little happened to tell anything: {totals:?}");
    Ok(())
}
