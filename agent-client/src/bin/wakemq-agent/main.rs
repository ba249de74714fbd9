//! The WakeMQ agent's daemon: enrols an endpoint, and runs a command whenever it is woken.

mod cli;
mod doctor;
mod enrol;
mod exit;
mod handler;
mod passage;
mod run;
mod system;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use cli::{Action, Cli};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.log)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    match start(cli.action) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn start(action: Action) -> Result<(), Failure> {
    // One thread; what blocks (a flush, a name look-up) gets another only for as long as it takes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .context("cannot start the runtime")?;
    match action {
        Action::Enrol(options) => {
            if options.token_file.as_deref() == Some("-".as_ref()) && std::io::stdin().is_terminal() {
                tracing::info!("reading the enrolment token from standard input");
            }
            runtime.block_on(enrol::enrol(options))
        }
        Action::Doctor(options) => runtime.block_on(doctor::doctor(options)),
        Action::Run(options) => runtime.block_on(run::run(options)),
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wakemq-agent", &mut script);
            Ok(std::io::Write::write_all(&mut std::io::stdout(), &script).context("standard output")?)
        }
    }
}
