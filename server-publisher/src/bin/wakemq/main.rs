//! `wakemq`, the operator's command line.

mod agents;
mod args;
mod audit;
mod commands;
mod confirm;
mod duration;
mod evidence;
mod exit;
mod explain;
mod failure;
mod groups;
mod import;
mod interrupt;
mod listing;
mod names;
mod operators;
mod output;
mod progress;
mod text;
mod tokens;
mod wake;
mod watch;
mod wol;

use std::process::ExitCode as ProcessCode;

use args::{AgentsAction, Args, GroupsAction, OperatorsAction, StateArg, Task, TokensAction};
use commands::Part;
use exit::ExitCode;
use failure::Failure;
use output::Out;
use wakemq_protocol::http::{OperatorChange, OperatorRequest, Profile, TokenRequest};
use wakemq_publisher::{AgentFilter, load_profile};

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
        Task::Wol(args) => {
            wol::check(&args)?;
            wol::run(args, &profile()?, out).await
        }
        Task::Explain { agent, json } => explain::run(&agent, json, &profile()?, out).await,
        Task::Cancel { id, json } => commands::cancel(id, json, &profile()?, out).await,
        Task::Show { id, outcomes, waiting, json } => {
            let part = match (outcomes, waiting) {
                (true, _) => Part::Outcomes,
                (false, true) => Part::Waiting,
                (false, false) => Part::Summary,
            };
            commands::show(id, part, json, &profile()?, out).await
        }
        Task::Watch { group, kinds, json } => {
            let kinds: Vec<_> = kinds.into_iter().map(Into::into).collect();
            watch::run(&group, &kinds, json, &profile()?, out).await
        }
        Task::Agents { action } => on_agents(action, &profile()?, out).await,
        Task::Groups { action } => on_groups(action, &profile()?, out).await,
        Task::Tokens { action } => on_tokens(action, &profile()?, out).await,
        Task::Operators { action } => on_operators(action, &profile()?, out).await,
        Task::Audit { since, json } => audit::run(since, json, &profile()?, out).await,
        Task::Completions { shell } => {
            args::completions(shell, out)?;
            Ok(ExitCode::AllAsWanted)
        }
    }
}

async fn on_agents(action: AgentsAction, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    match action {
        AgentsAction::List { group, state, transport, json } => {
            let connected = state.map(|state| state == StateArg::Connected);
            let transport = transport.map(Into::into);
            agents::list(&AgentFilter { group, connected, transport }, json, profile, out).await
        }
        AgentsAction::Show { agent, json } => agents::show(&agent, json, profile, out).await,
        AgentsAction::Move { agents, to } => agents::move_to(&agents, &to, profile).await,
        AgentsAction::Revoke { agents, yes } => agents::revoke(&agents, yes, profile).await,
        AgentsAction::Import { file } => import::import(&file, profile, out).await,
    }
}

async fn on_groups(action: GroupsAction, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    match action {
        GroupsAction::List { json } => groups::list(json, profile, out).await,
        GroupsAction::Create { group } => groups::create(group, profile).await,
        GroupsAction::Rename { group, to } => groups::rename(group, to, profile).await,
        GroupsAction::Remove { group } => groups::remove(group, profile).await,
    }
}

async fn on_tokens(action: TokensAction, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    match action {
        TokensAction::Create { group, uses, expires, json } => {
            let request = TokenRequest { group, uses, expires_in: expires };
            tokens::create(&request, json, profile, out).await
        }
        TokensAction::List { json } => tokens::list(json, profile, out).await,
        TokensAction::Revoke { ids } => tokens::revoke(&ids, profile).await,
    }
}

async fn on_operators(
    action: OperatorsAction,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    match action {
        OperatorsAction::Create { name, role, group, out: file, json } => {
            let request = OperatorRequest { operator: name, role: role.into(), group };
            operators::create(&request, file, json, profile, out).await
        }
        OperatorsAction::List { json } => operators::list(json, profile, out).await,
        OperatorsAction::Set { name, role, group } => {
            let change = OperatorChange { role: role.map(Into::into), group };
            operators::set(&name, &change, profile).await
        }
        OperatorsAction::Revoke { name, yes } => operators::revoke(&name, yes, profile).await,
    }
}
