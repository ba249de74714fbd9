//! `wakemq-agent run`.

use std::io::Write;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::Context;
use wakemq_agent::{Agent, AgentError, AgentOptions, Incoming, JournalError, StateDir, StateError};

use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};
use crate::{handler, system};

/// How long a running command may go on after the program was asked to end.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: RunArgs) -> Result<(), Failure> {
    let state = StateDir::open(&args.state).map_err(explain_state)?;
    let mut identity = state.identity().map_err(explain_state)?;
    let mut ended = pin!(system::ended());
    // Polled once before anything is begun, so that no signal is missed from here on.
    tokio::select! {
        biased;
        result = &mut ended => return Ok(result.context("cannot wait for signals")?),
        () = std::future::ready(()) => {}
    }
    args.passage.apply(&mut identity.passage)?;
    let mut options = AgentOptions::new(state)
        .keep_alive_secs(args.keep_alive)
        .heartbeat_step_secs(args.heartbeat_step)
        .relay(!args.no_relay);
    if let Some(secs) = args.heartbeat_min {
        options = options.heartbeat_min_secs(secs);
    }
    if let Some(secs) = args.heartbeat_max {
        options = options.heartbeat_max_secs(secs);
    }
    for name in &args.interface {
        options = options.interface(name);
    }
    if let Some(file) = &args.declare {
        options = options.declare(file);
    }
    let mut agent = Agent::connect(identity, options).map_err(explain_agent)?;
    let result = serve(&mut agent, &args, ended).await;
    agent.shutdown().await;
    result
}

/// Handles commands one after another until a signal comes.
async fn serve(
    agent: &mut Agent,
    args: &RunArgs,
    mut ended: Pin<&mut impl Future<Output = std::io::Result<()>>>,
) -> Result<(), Failure> {
    let id = agent.id().clone();
    loop {
        let incoming = tokio::select! {
            biased;
            result = &mut ended => return Ok(result.context("cannot wait for signals")?),
            incoming = agent.next_command() => incoming.context("the agent ended by itself")?,
        };
        tracing::info!(id = %incoming.command().id, by = incoming.command().by, "woken");
        let Some(script) = &args.on_wake else {
            print(incoming)?;
            continue;
        };
        let command = incoming.command().clone();
        let limit = Duration::from_secs(args.limit.into());
        let mut running = pin!(handler::run(script, &id, &command, limit));
        tokio::select! {
            biased;
            result = &mut running => answer(incoming, result),
            signal = &mut ended => {
                match tokio::time::timeout(GRACE, running).await {
                    Ok(result) => answer(incoming, result),
                    Err(_) => {
                        tracing::warn!(id = %command.id, "still running; it is killed, and run again at the next start");
                        incoming.leave();
                    }
                }
                return Ok(signal.context("cannot wait for signals")?);
            }
        }
    }
}

fn answer(incoming: Incoming, result: Result<(), String>) {
    match result {
        Ok(()) => incoming.done(None),
        Err(why) => {
            tracing::warn!(id = %incoming.command().id, why, "the command failed");
            incoming.failed(why);
        }
    }
}

/// Prints a command as one line of JSON, whole and at once.
fn print(incoming: Incoming) -> Result<(), Failure> {
    let written =
        serde_json::to_vec(incoming.command()).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            out.write_all(&line)?;
            out.flush()
        });
    match written {
        Ok(()) => {
            incoming.done(None);
            Ok(())
        }
        Err(error) => {
            // Nobody has seen it; whoever reads the next run's output will.
            incoming.leave();
            Err(anyhow::Error::new(error).context("standard output").into())
        }
    }
}

fn explain_state(error: StateError) -> Failure {
    let hint = match &error {
        StateError::NotEnrolled(_) => {
            "enrol it first: wakemq-agent enrol --server HOST --token-file FILE --state DIR"
        }
        StateError::OpenToOthers(_) => "if nobody can have read it: chmod 600; else enrol again",
        StateError::Locked(_) => "end the other agent, or choose another --state",
        StateError::Damaged { .. } => "move the state directory away and enrol again",
        StateError::Io { .. } | StateError::Enrolled { .. } => "check that the directory is this user's own",
    };
    Failure::new(Exit::Failed, error, hint)
}

pub(crate) fn explain_agent(error: AgentError) -> Failure {
    match error {
        AgentError::State(error) => explain_state(error),
        AgentError::Journal(error @ JournalError::Damaged { .. }) => {
            let hint =
                "move the file away to go on without it; commands in it without a result are lost then";
            Failure::new(Exit::Failed, error, hint)
        }
        AgentError::Declared(error) => {
            Failure::new(Exit::Failed, error, "wakemq-agent run --help names what a declaration may hold")
        }
        AgentError::Journal(_)
        | AgentError::Endpoints(_)
        | AgentError::Passage(_)
        | AgentError::Random(_) => error.into(),
    }
}
