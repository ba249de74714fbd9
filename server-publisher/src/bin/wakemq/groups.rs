//! `wakemq groups`.

use wakemq_protocol::GroupPath;
use wakemq_protocol::http::{GroupView, Profile};
use wakemq_publisher::{ApiError, Management};

use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::listing::{Listing, PAGE, follow};
use crate::output::{Out, say};

/// Prints all groups.
pub(crate) async fn list(json: bool, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    let mut listing = Listing::new(["GROUP", "AGENTS", "CONNECTED"], json);
    let mut after: Option<GroupPath> = None;
    while !out.is_closed() {
        let page = management.groups(after.as_ref(), PAGE).await?;
        listing.page(&page.groups, row, out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(ExitCode::AllAsWanted)
}

fn row(view: &GroupView) -> [String; 3] {
    [view.group.label().to_owned(), view.agents.to_string(), view.connected.to_string()]
}

/// Creates a group.
pub(crate) async fn create(group: GroupPath, profile: &Profile) -> Result<ExitCode, Failure> {
    let done = format!("{group} is there");
    told(Management::new(profile)?.create_group(group).await, &done)
}

/// Gives a group another path.
pub(crate) async fn rename(group: GroupPath, to: GroupPath, profile: &Profile) -> Result<ExitCode, Failure> {
    let done = format!("{group} is {to} now");
    told(Management::new(profile)?.rename_group(group, to).await, &done)
}

/// Removes a group.
pub(crate) async fn remove(group: GroupPath, profile: &Profile) -> Result<ExitCode, Failure> {
    let done = format!("{group} is removed");
    told(Management::new(profile)?.remove_group(group).await, &done)
}

fn told(result: Result<(), ApiError>, done: &str) -> Result<ExitCode, Failure> {
    result.map_err(|error| {
        with_advice(
            error,
            "see the spelling; `wakemq groups list` shows all groups",
            "`wakemq groups list` shows all groups; agents leave one by `wakemq agents move`, commands end by \
             `wakemq cancel`, tokens and operators by `revoke`",
        )
    })?;
    say(done);
    Ok(ExitCode::AllAsWanted)
}
