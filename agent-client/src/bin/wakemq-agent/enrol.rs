//! `wakemq-agent enrol`.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use wakemq_agent::{CaSource, EnrolError, EnrolOptions, Passage, StateDir, StateError};
use wakemq_link::Ladder;
use wakemq_link::http::HttpError;
use wakemq_protocol::Secret;

use crate::cli::EnrolArgs;
use crate::exit::{Exit, Failure};
use crate::passage::{read_ca, read_text};

const TOKEN_VARIABLE: &str = "WAKEMQ_TOKEN";
/// No token is longer; what is, is another file.
const TOKEN_MAX: u64 = 4096;

pub(crate) async fn enrol(args: EnrolArgs) -> Result<(), Failure> {
    if args.if_missing && told_who_it_is(&args.state)? {
        return Ok(());
    }
    let token = token(args.token_file.as_deref())?;
    let ca = match &args.ca {
        Some(path) => CaSource::Pem(read_ca(path)?),
        None => CaSource::System,
    };
    let server = Ladder::new(args.server).context("no --server")?;
    let state = StateDir::open(&args.state)?;
    let own_ca = args.ca.is_some();
    let mut passage = Passage::default();
    args.passage.apply(&mut passage)?;
    let options = EnrolOptions { server, ca, token, agent: args.agent, passage };
    let identity = wakemq_agent::enrol(&state, options).await.map_err(|error| explain(error, own_ca))?;
    tracing::info!(
        agent = %identity.agent,
        group = %identity.group,
        "enrolled; next: wakemq-agent run --state {}",
        args.state.display()
    );
    writeln!(std::io::stdout(), "{}", identity.agent).context("standard output")?;
    Ok(())
}

/// Prints which agent a state directory holds; `false` if there is none.
fn told_who_it_is(state: &Path) -> Result<bool, Failure> {
    match StateDir::open(state)?.identity() {
        Ok(identity) => {
            tracing::info!(agent = %identity.agent, "enrolled already");
            writeln!(std::io::stdout(), "{}", identity.agent).context("standard output")?;
            Ok(true)
        }
        Err(StateError::NotEnrolled(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn explain(error: EnrolError, own_ca: bool) -> Failure {
    if error.is_not_allowed() {
        let hint = "ask an operator for a new token: wakemq tokens create --group PATH";
        return Failure::new(Exit::NotAllowed, error, hint);
    }
    if let EnrolError::Http(HttpError::Dial(dial)) = &error
        && dial.is_certificate()
    {
        let hint = if own_ca {
            "is --ca the CA of this broker, and the host one of the names in its certificate?"
        } else {
            "give the broker's CA with --ca FILE (wakemqd keeps it as ca.pem in its data directory)"
        };
        return Failure::new(Exit::Unreachable, error, hint);
    }
    if error.is_unreachable() {
        let hint = "check host and port, and that the broker runs; what was begun can be asked again";
        return Failure::new(Exit::Unreachable, error, hint);
    }
    match &error {
        EnrolError::Refused { status: 409, .. } => {
            Failure::new(Exit::Failed, error, "choose another id with --agent, or have the old one removed")
        }
        EnrolError::State(StateError::Enrolled { .. }) => {
            Failure::new(Exit::Failed, error, "run it with wakemq-agent run, or choose another --state")
        }
        EnrolError::State(_)
        | EnrolError::Trust(_)
        | EnrolError::Passage(_)
        | EnrolError::Random(_)
        | EnrolError::Http(_)
        | EnrolError::Refused { .. }
        | EnrolError::Answer(_)
        | EnrolError::Endpoint(_) => error.into(),
    }
}

fn token(file: Option<&Path>) -> Result<Secret, Failure> {
    let text = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().take(TOKEN_MAX).read_to_string(&mut text).context("standard input")?;
            text
        }
        Some(path) => read_text(path, TOKEN_MAX)?,
        None => std::env::var(TOKEN_VARIABLE).map_err(|_| {
            let hint = format!("give --token-file FILE, --token-file - or the variable {TOKEN_VARIABLE}");
            Failure::new(Exit::Usage, anyhow!("there is no enrolment token"), hint)
        })?,
    };
    text.trim().parse().map_err(|error| {
        Failure::new(Exit::Usage, anyhow::Error::new(error), "an enrolment token begins with wme_")
    })
}
