//! Many sessions in one process, whose heap is counted: a part of the benchmark `fleet`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
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
            eprintln!("hint: this is a part of `cargo fleet million`");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the benchmark's life")?;
    let mut sizes = Vec::new();
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().context("usage: million DIR SIZE…")?;
    for size in args {
        sizes.push(size.to_string_lossy().parse().context("no number of sessions")?);
    }
    ensure!(sizes.is_sorted(), "the sizes are not in order");
    million::run(dir.as_ref(), &sizes, &|| ALLOCATOR.current_usage()).await
}
