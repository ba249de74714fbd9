//! The benchmark of many agents.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum as _};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use wakemq_tests::descriptors;
use wakemq_tests::figures::shipped::Shipped;
use wakemq_tests::figures::{Setting, proc};
use wakemq_tests::fleet::found::Found;
use wakemq_tests::fleet::ground::Ground;
use wakemq_tests::fleet::load::{self, Load};
use wakemq_tests::fleet::outcome::Outcome;
use wakemq_tests::fleet::scenario::{self, Scenario};
use wakemq_tests::fleet::target::{Kind, build_rumqttd};
use wakemq_tests::fleet::way::Way;
use wakemq_tests::fleet::{DESCRIPTORS, bare, progress};

/// The benchmark of many agents: WakeMQ's broker and others beside it, under the same load on the same machine.
///
/// Starts a target, drives it from as many load processes as are needed, and measures both apart. Prints tables on
/// standard output, and on standard error what it is doing. Nothing fails for being slow: a goal that is missed is
/// shown as missed. To be run on a machine that has nothing else to do, from 2 cores and 4 GB of memory on, with a
/// hard limit of 20,000 descriptors (`ulimit -Hn`), which the program makes use of by itself:
///
/// cargo fleet -- all --json fleet.json --plots plots
///
/// cargo fleet -- park wake --targets wakemqd,mosquitto --rounds 5
#[derive(Debug, Parser)]
#[command(name = "fleet", args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(arg_required_else_help = true, after_help = about_scenarios())]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct Options {
    /// What to measure: `all`, or one or several of the scenarios.
    #[arg(required = true, value_name = "SCENARIO", value_parser = scenarios)]
    scenarios: Vec<Scenarios>,
    /// Fewer agents, shorter, one round, and without rumqttd unless it is named: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Measures all targets so often in turn, and tells median, least and greatest. By default churn, idle, million,
    /// enrolled, flush and daemon, which take longer or have no target beside them, take place once, the others three
    /// times; rumqttd, which has no goal, takes part once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// The targets; by default all that each scenario can measure.
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<Kind>,
    /// The transports of `park`, each on the targets that serve it; by default all. All else is by MQTT.
    #[arg(long, value_name = "WAY", value_delimiter = ',')]
    ways: Vec<Way>,
    /// Writes everything to a file as one JSON object, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the tables to a file as Markdown, with a column for each target, too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draws the plots into a directory, as SVG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Where data directories are made, and so the file system on which stores lie; otherwise the system's place
    /// for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What a word of the command line stands for.
#[derive(Debug, Clone, Copy)]
enum Scenarios {
    All,
    One(Scenario),
}

fn scenarios(word: &str) -> Result<Scenarios, String> {
    if word == "all" {
        return Ok(Scenarios::All);
    }
    Scenario::from_str(word, false).map(Scenarios::One).map_err(|_| {
        let names: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        format!("there are: all, {}", names.join(", "))
    })
}

/// Tells what the scenarios are.
fn about_scenarios() -> String {
    let one = |scenario: &Scenario| {
        let about = scenario.to_possible_value();
        let about = about.as_ref().and_then(|value| value.get_help()).map(ToString::to_string);
        format!("\n  {:9}{}", scenario.name(), about.unwrap_or_default())
    };
    format!(
        "Scenarios, in the order in which they take place:{}",
        Scenario::ALL.iter().map(one).collect::<String>()
    )
}

/// What this program is when it runs as a part of a benchmark.
#[derive(Debug, Subcommand)]
enum Role {
    /// The bare server.
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        certificate: PathBuf,
        #[arg(long)]
        key: PathBuf,
        #[arg(long)]
        http: bool,
    },
    /// A load process.
    #[command(hide = true)]
    Load(LoadArgs),
}

#[derive(Debug, Args)]
struct LoadArgs {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    ca: PathBuf,
    #[arg(long)]
    agents: PathBuf,
    #[arg(long)]
    way: Way,
    #[arg(long)]
    also: Option<String>,
    #[arg(long)]
    returns: bool,
    #[arg(long)]
    dials: usize,
}

/// The broker's: the target `bare` is this program.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { role, options } = Cli::parse();
    let done = match role {
        Some(role) => be(role).await,
        // What was started ends with what is dropped here, or is tied to this process's life.
        None => tokio::select! {
            done = measure(options) => done,
            ended = signalled() => match ended {
                Ok(code) => {
                    eprintln!("fleet: ended by a signal");
                    return ExitCode::from(code);
                }
                Err(error) => Err(error.into()),
            },
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("hint: --help tells what is needed; what the targets said is above");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C or SIGTERM, and returns with which code a shell would say so.
async fn signalled() -> std::io::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 130),
        _ = terminate.recv() => Ok(143),
    }
}

async fn be(role: Role) -> Result<()> {
    // What is started for a benchmark does not outlive it, however it ends.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the benchmark's life")?;
    match role {
        Role::Bare { address, certificate, key, http } => bare::run(address, &certificate, &key, http).await,
        Role::Load(LoadArgs { address, ca, agents, way, also, returns, dials }) => {
            load::run(Load { address, ca, agents, way, also, returns, dials }).await
        }
    }
}

async fn measure(options: Options) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("fleet: this is no release build: the figures say nothing");
    } else if cfg!(feature = "test-util") {
        eprintln!("fleet: wakemqd is not quite as it is shipped: use `cargo fleet`");
    }
    // The targets inherit it.
    descriptors::raise(DESCRIPTORS)?;
    let Options { scenarios, quick, rounds, targets, mut ways, json, markdown, plots, dir } = options;
    let scenarios: Vec<Scenario> = Scenario::ALL
        .into_iter()
        .filter(|scenario| {
            scenarios.iter().any(|asked| match asked {
                Scenarios::All => true,
                Scenarios::One(asked) => asked == scenario,
            })
        })
        .collect();
    let rounds = rounds.or(quick.then_some(1));
    if ways.is_empty() {
        ways = Way::ALL.to_vec();
    }
    let machine = proc::machine(&dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let wanted = |kind: &Kind| {
        // rumqttd takes a minute to build, and has no goal.
        let by_default = *kind != Kind::Rumqttd || !quick;
        (targets.contains(kind) || targets.is_empty() && by_default)
            && scenarios.iter().any(|scenario| scenario.targets().contains(kind))
    };
    let wanted: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    progress("programs", "building wakemqd and what else is needed, as it is shipped");
    let others: BTreeSet<_> = scenarios.iter().flat_map(|scenario| scenario.programs()).copied().collect();
    let others: Vec<_> = others.into_iter().collect();
    let shipped = Shipped::build(&others).await?;
    let rumqttd = match wanted.contains(&Kind::Rumqttd) {
        true => build_rumqttd().await,
        false => Err("it is not asked for".to_owned()),
    };
    let began = Instant::now();
    let agents = scenarios.iter().map(|scenario| scenario.agents(quick)).max().unwrap_or_default();
    let setting = Setting { quick, dir, round: 1 };
    let ground = Ground::new(shipped, setting, rumqttd, agents).await?;
    let mut left_out = Vec::new();
    let mut present = Vec::new();
    for kind in wanted {
        match kind.missing(&ground) {
            None => present.push(kind),
            Some(why) => left_out.push(format!("{} is left out: {why}", kind.name())),
        }
    }
    for words in &left_out {
        eprintln!("fleet: {words}");
    }
    ensure!(!present.is_empty(), "there is no target");
    let mut found = Vec::new();
    let ended = run(&ground, &scenarios, (&present, &ways), rounds, &mut found).await;
    let outcome = Outcome { machine, quick, rounds, took: began.elapsed(), left_out, found };
    // What was found until something failed is told all the same.
    std::io::stdout().write_all(outcome.tables().as_bytes()).context("standard output")?;
    if let Some(path) = json {
        outcome.write_json(&path)?;
    }
    if let Some(path) = markdown {
        outcome.write_markdown(&path)?;
    }
    if let Some(dir) = plots {
        outcome.write_plots(&dir)?;
    }
    ended
}

/// Runs all rounds of each scenario. Whoever comes first changes, since the first may find the machine otherwise
/// than the others.
async fn run(
    ground: &Ground,
    scenarios: &[Scenario],
    (present, ways): (&[Kind], &[Way]),
    rounds: Option<u32>,
    found: &mut Vec<(Scenario, Found)>,
) -> Result<()> {
    for sitting in Scenario::sittings(scenarios) {
        let rounds_of = |scenario: &Scenario| rounds.unwrap_or(scenario.rounds());
        let most = sitting.iter().map(rounds_of).max().unwrap_or_default();
        let mut targets = present.to_vec();
        for round in 1..=most {
            progress("round", &format!("{round} of {most}"));
            let asked: Vec<Scenario> =
                sitting.iter().copied().filter(|scenario| rounds_of(scenario) >= round).collect();
            for (scenario, one) in scenario::round(ground, (&targets, ways), &asked).await? {
                match found.iter_mut().find(|(known, _)| *known == scenario) {
                    Some((_, all)) => all.merge(one),
                    None => found.push((scenario, one)),
                }
            }
            if rounds.is_none() {
                targets.retain(|kind| *kind != Kind::Rumqttd);
            }
            if !targets.is_empty() {
                targets.rotate_left(1);
            }
        }
    }
    ensure!(!found.is_empty(), "nothing was measured");
    Ok(())
}
