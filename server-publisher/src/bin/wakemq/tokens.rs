//! `wakemq tokens`.

use wakemq_protocol::http::{Profile, TokenRequest, TokenView};
use wakemq_publisher::Management;

use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::listing::{Listing, PAGE, follow};
use crate::output::{Out, say};
use crate::text::plain;

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
        let until = answer.expires.whole_secs();
        let id = plain(&answer.id);
        say(&format!("for {} agent(s) of {group}, until {until}; its id is {id}", answer.uses));
    }
    Ok(ExitCode::AllAsWanted)
}

/// Prints all tokens that are known, by their ids.
pub(crate) async fn list(json: bool, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    let mut listing = Listing::new(["ID", "GROUP", "USES LEFT", "EXPIRES", "BY"], json);
    let mut after: Option<String> = None;
    while !out.is_closed() {
        let page = management.tokens(after.as_deref(), PAGE).await?;
        listing.page(&page.tokens, row, out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(ExitCode::AllAsWanted)
}

fn row(view: &TokenView) -> [String; 5] {
    [
        plain(&view.id).into_owned(),
        view.group.label().to_owned(),
        format!("{} of {}", view.uses_left, view.uses),
        view.expires.whole_secs().to_string(),
        plain(&view.by).into_owned(),
    ]
}

/// Removes tokens by their ids.
pub(crate) async fn revoke(ids: &[String], profile: &Profile) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    for id in ids {
        management.revoke_token(id).await.map_err(|error| {
            let advice = "`wakemq tokens list` shows the ids of all tokens";
            let mut failure = with_advice(error, advice, advice);
            failure.error = failure.error.context(format!("{id:?}"));
            failure
        })?;
        say(&format!("{} is revoked", plain(id)));
    }
    Ok(ExitCode::AllAsWanted)
}
