//! `wakemq explain`: whether an endpoint can be switched on, in sentences.

use wakemq_protocol::AgentId;
use wakemq_protocol::http::{PowerView, Profile};
use wakemq_publisher::Management;

use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::output::Out;
use crate::text::plain;

/// Prints what the broker knows of how an endpoint can be switched on.
pub(crate) async fn run(
    agent: &AgentId,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let view = Management::new(profile)?.power(agent).await.map_err(|error| {
        with_advice(
            error,
            "see the spelling; `wakemq agents list` shows all agents",
            "see what the broker says",
        )
    })?;
    if json {
        out.json(&view)?;
    } else {
        describe(&view).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(ExitCode::AllAsWanted)
}

fn describe(view: &PowerView) -> Vec<String> {
    let agent = &view.agent;
    let mut lines = vec![match (view.connected, view.can_wake) {
        (true, true) => format!("{agent} is up. Were it asleep, it could be switched on now."),
        (true, false) => format!("{agent} is up. Were it asleep, it could not be switched on now."),
        (false, true) => format!("{agent} can be switched on now: `wakemq wol {agent}`."),
        (false, false) => format!("{agent} cannot be switched on now."),
    }];
    lines.extend(view.findings.iter().map(|finding| format!("  {}", plain(finding))));
    if !view.advice.is_empty() {
        lines.push("What to do:".to_owned());
        lines.extend(view.advice.iter().map(|advice| format!("  {}", plain(advice))));
    }
    lines
}
