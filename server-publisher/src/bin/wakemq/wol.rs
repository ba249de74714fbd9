//! `wakemq wol`: switches endpoints on, and shows how; or sends packets for a machine without an agent.

mod mac;

use wakemq_protocol::http::Profile;
use wakemq_protocol::{Kind, Submission};
use wakemq_publisher::Wanted;

use crate::args::{WolArgs, WolWait};
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::names::agents;
use crate::output::{Out, say};
use crate::wake::{Errand, of_group};

/// Refuses what makes no sense, before anything is asked for.
pub(crate) fn check(args: &WolArgs) -> Result<(), Failure> {
    if args.mac.is_some() && args.wait == Some(WolWait::Up) {
        return Err(Failure::usage(
            anyhow::anyhow!(
                "--wait up is not for --mac: without an agent nobody tells whether the machine is up"
            ),
            "wait for `sent`, then look at the machine; or enrol an agent on it, and switch it on by its name",
        ));
    }
    Ok(())
}

/// Switches on, waits, and prints what became of it.
pub(crate) async fn run(args: WolArgs, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    if let Some(mac) = args.mac {
        return mac::run(mac, &args, profile, out).await;
    }
    let agents = match &args.group {
        None => agents(&args.agents)?,
        Some(group) => {
            let agents = of_group(group, None, profile).await?;
            let count = agents.len();
            let label = group.label();
            say(&match count {
                0 => format!("no agents in {label}: nothing to switch on"),
                1 => format!("1 agent in {label}"),
                _ => format!("{count} agents in {label}"),
            });
            if agents.is_empty() {
                return Ok(ExitCode::AllAsWanted);
            }
            agents
        }
    };
    let wanted = match args.wait.unwrap_or(WolWait::Up) {
        WolWait::None => Wanted::Accepted,
        WolWait::Sent => Wanted::Sent,
        WolWait::Up => Wanted::Done,
    };
    let submission = Submission::new(Kind::Power);
    let errand = Errand { submission, wanted, timeout_secs: args.timeout, json: args.json };
    errand.run(&agents, &[], profile, out).await
}
