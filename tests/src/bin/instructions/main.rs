//! Admissions and wake-ups without sockets, TLS and hashes, to be run under callgrind: sessions, engine, codec, and the
//! logic of the store, over a store in memory.
//!
//! `instructions admission|wake N` does N of them within [`counted_part`], and all else outside of it, so that
//! `--collect-atstart=no --toggle-collect='*counted_part*'` counts what they cost. `tests/traced` does so.

mod agent;
mod bench;
mod operator;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use bench::Bench;

/// Done before the count, so that what comes once, as room in tables, is behind them.
const WARM_UP: usize = 200;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("hint: usage: instructions admission|wake N");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().context("what is to be counted?")?;
    let times: usize = args.next().context("how often?")?.parse().context("no number")?;
    // Nothing here waits for anything: each future is ready when it is polled for the first time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    match what.as_str() {
        "admission" => {
            let mut bench = runtime.block_on(Bench::new(WARM_UP + times))?;
            let mut agents = Vec::with_capacity(WARM_UP + times);
            for number in 0..WARM_UP + times {
                let arriving = bench.arriving(number)?;
                agents.push(if number < WARM_UP {
                    runtime.block_on(bench.admit(arriving))?
                } else {
                    counted_part(|| runtime.block_on(bench.admit(arriving)))?
                });
            }
        }
        "wake" => {
            let mut bench = runtime.block_on(Bench::new(WARM_UP))?;
            let mut agents = Vec::with_capacity(WARM_UP);
            for number in 0..WARM_UP {
                let arriving = bench.arriving(number)?;
                agents.push(runtime.block_on(bench.admit(arriving))?);
            }
            for turn in 0..WARM_UP + times {
                let agent = &mut agents[turn % WARM_UP];
                let wake = bench.wake(agent)?;
                if turn < WARM_UP {
                    runtime.block_on(bench.carry_out(agent, &wake))?;
                } else {
                    counted_part(|| runtime.block_on(bench.carry_out(agent, &wake)))?;
                }
            }
        }
        other => bail!("{other} cannot be counted"),
    }
    Ok(())
}

/// Does what is counted; callgrind knows it by this name.
#[inline(never)]
fn counted_part<T>(part: impl FnOnce() -> T) -> T {
    std::hint::black_box(part())
}
