//! The kill test for as many rounds as wanted; see `wakemq_tests::kill`.

use std::process::ExitCode;

use clap::Parser;

/// Kills brokers and agents at random moments while commands are submitted, and accounts for every one of them.
#[derive(Debug, Parser)]
struct Args {
    /// How many rounds; each takes a few seconds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The same choices again; without it new ones.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!(
        "seed {seed}; the same again: cargo run -p wakemq-tests --bin kill -- --rounds {} --seed {seed}",
        args.rounds
    );
    match wakemq_tests::kill::run(args.rounds, seed, |line| eprintln!("{line}")).await {
        Ok(totals) => {
            eprintln!("every accepted command is accounted for: {totals:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
