//! The benchmarks of WakeMQ.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};
use wakemq_tests::figures::report::Report;
use wakemq_tests::figures::shipped::{AGENT, Shipped};
use wakemq_tests::figures::{Setting, daemon, events, flush, import, proc, progress, wake};

/// The benchmarks of WakeMQ: what it costs, and how fast it wakes. Those of many agents are `cargo fleet`.
///
/// Prints a table on standard output, and on standard error what it is doing. Nothing fails for being slow: a goal
/// that is missed is shown as missed. To be run in release, on a machine that has nothing else to do:
///
/// cargo figures -- all --repeat 3 --json figures.json
#[derive(Debug, Parser)]
#[command(name = "figures", subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All of them, one after the other; under 8 minutes, with --quick under one.
    All(Options),
    /// Submissions that share a flush: 64 publishers, a broker in this process on a real store whose medium takes
    /// 2 ms for each flush, over TLS.
    Flush(Options),
    /// From the publisher's call to the agent, with 1,000 connected agents: the broker as shipped, its store on disk;
    /// beside it what one commit and one fdatasync take.
    Wake(Options),
    /// Events through the bus to 50 operators, in this process: events a second.
    Events(Options),
    /// 100,000 imported agents: time, memory, store, and one wake of all of them with ten connected.
    Import(Options),
    /// The agent's daemon at rest: size, memory, threads, system calls (counted by strace where it is installed).
    Daemon(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// Fewer agents and shorter: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Measures so often, and tells median, least and greatest.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Writes everything to a file as one JSON object, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where data directories are made, and so the file system on which stores lie; otherwise the system's place
    /// for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// One of the benchmarks.
#[derive(Debug, Clone, Copy)]
enum Figure {
    Flush,
    Wake,
    Events,
    Import,
    Daemon,
}

impl Figure {
    const ALL: [Self; 5] = [Self::Flush, Self::Wake, Self::Events, Self::Import, Self::Daemon];

    fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Wake => "wake",
            Self::Events => "events",
            Self::Import => "import",
            Self::Daemon => "daemon",
        }
    }

    async fn measure(self, setting: &Setting, shipped: &Shipped) -> Result<Report> {
        match self {
            Self::Flush => flush::measure(setting).await,
            Self::Wake => wake::measure(setting, shipped).await,
            Self::Events => events::measure(setting).await,
            Self::Import => import::measure(setting, shipped).await,
            Self::Daemon => daemon::measure(setting, shipped).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().action).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("hint: --help tells what each benchmark needs; what wakemqd said is above");
            ExitCode::FAILURE
        }
    }
}

async fn run(action: Action) -> Result<()> {
    match action {
        Action::All(options) => measure(&Figure::ALL, &options).await,
        Action::Flush(options) => measure(&[Figure::Flush], &options).await,
        Action::Wake(options) => measure(&[Figure::Wake], &options).await,
        Action::Events(options) => measure(&[Figure::Events], &options).await,
        Action::Import(options) => measure(&[Figure::Import], &options).await,
        Action::Daemon(options) => measure(&[Figure::Daemon], &options).await,
    }
}

async fn measure(figures: &[Figure], options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("figures: this is no release build: the figures say nothing");
    } else if cfg!(feature = "test-util") {
        eprintln!("figures: wakemqd is not quite as it is shipped: use `cargo figures`");
    }
    let machine = proc::machine(&options.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    progress("programs", "building wakemqd and wakemq-agent as they are shipped");
    let shipped = Shipped::build(&[AGENT]).await?;
    let mut found: Vec<(Figure, Report)> = Vec::new();
    for figure in figures {
        let mut whole: Option<Report> = None;
        for round in 1..=options.repeat {
            if options.repeat > 1 {
                progress(figure.name(), &format!("round {round} of {}", options.repeat));
            }
            let setting = Setting { quick: options.quick, dir: options.dir.clone(), round };
            let report = figure.measure(&setting, &shipped).await.with_context(|| figure.name())?;
            match &mut whole {
                Some(whole) => whole.merge(report),
                None => whole = Some(report),
            }
        }
        found.extend(whole.map(|whole| (*figure, whole)));
    }
    print(&found)?;
    match &options.json {
        Some(path) => {
            let all: Map<String, Value> =
                found.iter().map(|(figure, report)| (figure.name().to_owned(), report.json())).collect();
            let release = !cfg!(debug_assertions);
            let whole = json!({
                "machine": machine, "release": release, "quick": options.quick, "repeat": options.repeat,
                "figures": all,
            });
            let text = format!("{whole:#}\n");
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        }
        None => Ok(()),
    }
}

fn print(found: &[(Figure, Report)]) -> Result<()> {
    ensure!(!found.is_empty(), "nothing was measured");
    let tables: Vec<_> = found.iter().map(|(_, report)| report.table()).collect();
    std::io::Write::write_all(&mut std::io::stdout(), tables.join("\n").as_bytes()).context("standard output")
}
