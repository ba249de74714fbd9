//! Many sessions in one process, whose heap is counted: a part of the benchmark `fleet`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use peak_alloc::PeakAlloc;
use rustix::process::{Signal, set_parent_process_death_signal};
use wakemq_tests::fleet::million;

/// The system's allocator, counted; a program of its own, so that nothing else that is measured pays for it.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("hint: this is a part of `cargo fleet -- million enrolled`");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the benchmark's life")?;
    let mut args: Vec<_> = std::env::args().skip(1).collect();
    let enrolled = args.first().is_some_and(|first| first == "enrolled");
    if enrolled {
        args.remove(0);
    }
    let (dir, numbers) = args.split_first().context("usage: million [enrolled] DIR NUMBER…")?;
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|number| number.parse())
        .collect::<Result<_, _>>()
        .context("no number of agents")?;
    let heap = || ALLOCATOR.current_usage();
    match (enrolled, &*numbers) {
        (true, &[enrolled, connected]) => {
            million::enrolled::run(dir.as_ref(), enrolled, connected, &heap).await
        }
        (true, _) => bail!("how many are enrolled, and how many connected?"),
        (false, sizes) => {
            ensure!(sizes.is_sorted(), "the sizes are not in order");
            million::run(dir.as_ref(), sizes, &heap).await
        }
    }
}
