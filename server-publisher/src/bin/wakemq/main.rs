//! `wakemq`, the operator's command line.

mod agents;
mod args;
mod commands;
mod duration;
mod exit;
mod failure;
mod output;
mod progress;
mod text;
mod tokens;
mod wake;

use std::process::ExitCode as ProcessCode;

use args::{AgentsAction, Args, Task, TokensAction};
use exit::ExitCode;
use failure::Failure;
use output::Out;
use wakemq_protocol::http::{Profile, TokenRequest};
use wakemq_publisher::load_profile;

fn main() -> ProcessCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return ProcessCode::from(args::report(&error) as u8),
    };
    let code = match run(args) {
        Ok(code) => code,
        Err(failure) => {
            output::say(&failure.to_string());
            failure.code
        }
    };
    ProcessCode::from(code as u8)
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(error.into(), "see the operating system's limits"))?;
    let mut out = Out::stdout();
    let code = runtime.block_on(dispatch(args, &mut out))?;
    out.flush()?;
    Ok(code)
}

async fn dispatch(args: Args, out: &mut Out) -> Result<ExitCode, Failure> {
    let profile = || -> Result<Profile, Failure> {
        let path = args.profile.as_deref().ok_or_else(failure::no_profile)?;
        Ok(load_profile(path)?)
    };
    match args.task {
        Task::Wake(args) => wake::run(args, &profile()?, out).await,
        Task::Cancel { id, json } => commands::cancel(id, json, &profile()?, out).await,
        Task::Show { id, json } => commands::show(id, json, &profile()?, out).await,
        Task::Agents { action } => match action {
            AgentsAction::List { json } => agents::list(json, &profile()?, out).await,
            AgentsAction::Show { agent, json } => agents::show(&agent, json, &profile()?, out).await,
            AgentsAction::Import { file } => agents::import(&file, &profile()?, out).await,
        },
        Task::Tokens { action: TokensAction::Create { group, uses, expires, json } } => {
            let request = TokenRequest { group, uses, expires_in: expires };
            tokens::create(&request, json, &profile()?, out).await
        }
        Task::Completions { shell } => {
            args::completions(shell, out)?;
            Ok(ExitCode::AllAsWanted)
        }
    }
}
