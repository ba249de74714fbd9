//! `wakemq tokens create`.

use wakemq_protocol::http::{Profile, TokenRequest};
use wakemq_publisher::Management;

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{Out, say};

/// Makes a token, and prints it: alone, or as JSON with what it opens.
pub(crate) async fn create(
    request: &TokenRequest,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let answer = Management::new(profile)?.create_token(request).await?;
    if json {
        out.json(&answer)?;
    } else {
        out.line(answer.token.expose())?;
        let group = if answer.group.is_root() { "the root" } else { answer.group.as_str() };
        say(&format!("for {} agent(s) of {group}, until {}", answer.uses, answer.expires.whole_secs()));
    }
    Ok(ExitCode::AllAsWanted)
}
