//! The WakeMQ broker's program.

mod cli;
mod descriptors;
mod dev;
mod exit;
mod health;
mod serve;
mod signals;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::{Config, Endpoint, Level};
use wakemq_broker::init::{self, OPERATOR, Plan};

use cli::{Action, Cli, CommonArgs, DevArgs, InitArgs, RunArgs};
use exit::Exit;
use serve::Service;

/// Chosen by memory after all agents have gone and come back: see docs/adr/0009.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli.action) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

fn start(action: Action) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        match action {
            Action::Init(args) => initialise(args).await,
            Action::Run(args) => run(args).await,
            Action::Dev(args) => develop(args).await,
            Action::Renew(args) => renew(&args),
            Action::Health(args) => health::tell(&args),
            Action::CheckConfig { file } => {
                let config = Config::load(&file)?;
                for warning in config.warnings() {
                    eprintln!("warning: {warning}");
                }
                say(&format!("{}: ok\n", file.display()))
            }
            Action::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "wakemqd", &mut script);
                std::io::stdout().write_all(&script).context("standard output")?;
                Ok(Exit::Ok)
            }
        }
    });
    // What still runs after an end at once is not waited for.
    runtime.shutdown_timeout(Duration::ZERO);
    ended
}

async fn initialise(args: InitArgs) -> anyhow::Result<Exit> {
    let hosts = if args.hosts.is_empty() { vec![own_host()?] } else { args.hosts };
    let ports = Config::default().listen.addresses.iter().map(std::net::SocketAddr::port).collect();
    let plan = Plan { data: args.data, hosts, ports };
    init::initialise(&plan, Clock::start().now()).await?;
    let data = plan.data.display();
    say(&format!(
        "initialised {data}; the administrator's profile is {}\n",
        plan.data.join(OPERATOR).display()
    ))
}

fn renew(args: &InitArgs) -> anyhow::Result<Exit> {
    let configured = serve::load_config(&args.data, None)?.advertise.endpoints;
    let hosts = if args.hosts.is_empty() { &configured } else { &args.hosts };
    init::renew(&args.data, hosts, Clock::start().now())?;
    say("renewed; the broker takes it up at its next start\n")
}

fn own_host() -> anyhow::Result<Endpoint> {
    init::host_name().parse().context("the machine's own name is of no use; give one with --host")
}

async fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let RunArgs { data, config: file, init_if_missing, hosts, common } = args;
    let mut config = serve::load_config(&data, file.as_deref())?;
    if init_if_missing {
        let listen = if common.listen.is_empty() { &config.listen.addresses } else { &common.listen };
        let hosts = if hosts.is_empty() { vec![own_host()?] } else { hosts };
        let ports = listen.iter().map(std::net::SocketAddr::port).collect();
        let plan = Plan { data: data.clone(), hosts, ports };
        if init::initialise_if_missing(&plan, Clock::start().now()).await? {
            eprintln!("initialised {}", data.display());
            // Its own configuration says under which names agents reach it.
            config = serve::load_config(&data, file.as_deref())?;
        }
    }
    apply(&mut config, &common);
    Ok(Service::start(&data, &config).await?.run().await)
}

async fn develop(args: DevArgs) -> anyhow::Result<Exit> {
    let DevArgs { data, mut common } = args;
    common.admin = dev::admin(&common.listen, &common.admin);
    common.listen = dev::addresses(&common.listen);
    dev::prepare(&data, &common.listen).await?;
    let mut config = serve::load_config(&data, None)?;
    apply(&mut config, &common);
    let service = Service::start(&data, &config).await?;
    dev::guide(&data, &config, service.broker.engine(), service.broker.local_addrs()).await?;
    Ok(service.run().await)
}

/// Lets the command line override the configuration, and starts the log.
fn apply(config: &mut Config, common: &CommonArgs) {
    if !common.listen.is_empty() {
        config.listen.addresses.clone_from(&common.listen);
    }
    if !common.admin.is_empty() {
        config.listen.admin.clone_from(&common.admin);
    }
    let level = match common.log.unwrap_or(config.log.level) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // The router of the event bus writes about every event, and about a slow operator for as long as it is slow. What
    // matters of that the bus tells itself, and counts.
    let targets = Targets::new().with_default(level).with_target("rumqttd", LevelFilter::OFF);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish()
        .with(targets)
        .init();
}

fn say(text: &str) -> anyhow::Result<Exit> {
    std::io::stdout().write_all(text.as_bytes()).context("standard output")?;
    Ok(Exit::Ok)
}
