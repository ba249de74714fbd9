//! `wakemq operators`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use wakemq_protocol::http::{OperatorChange, OperatorRequest, OperatorView, Profile};
use wakemq_protocol::{GroupPath, OperatorName, Role};
use wakemq_publisher::{ApiError, Management, NewProfile};

use crate::confirm::confirm;
use crate::exit::ExitCode;
use crate::failure::{Failure, with_advice};
use crate::listing::{Listing, PAGE, follow};
use crate::output::{Out, say};

/// What is told of a new operator: everything but the secret.
#[derive(Serialize)]
struct Created<'a> {
    operator: &'a OperatorName,
    role: Role,
    group: &'a GroupPath,
    /// Where its profile is.
    profile: &'a Path,
}

/// Creates an operator, and writes its profile.
pub(crate) async fn create(
    request: &OperatorRequest,
    file: Option<PathBuf>,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let path = file.unwrap_or_else(|| PathBuf::from(format!("{}.toml", request.operator)));
    // Before anything is asked: the secret is told once, and there must be a place for it.
    let place = NewProfile::create(&path)?;
    let answer = Management::new(profile)?.create_operator(request).await.map_err(|error| {
        with_advice(error, "see what the broker says", "`wakemq operators list` shows all operators")
    })?;
    place.write(&Profile {
        operator: answer.operator.clone(),
        secret: answer.secret,
        endpoints: answer.endpoints,
        ca: answer.ca,
    })?;
    let (operator, group) = (&answer.operator, &answer.group);
    if json {
        out.json(&Created { operator, role: answer.role, group, profile: &path })?;
    } else {
        out.line(&path.display().to_string())?;
        say(&format!(
            "{operator} is {} of {}; this file is its profile and holds its secret",
            answer.role,
            group.label()
        ));
    }
    Ok(ExitCode::AllAsWanted)
}

/// Prints all operators.
pub(crate) async fn list(json: bool, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    let mut listing = Listing::new(["OPERATOR", "ROLE", "GROUP", "CONNECTIONS", "CREATED"], json);
    let mut after: Option<OperatorName> = None;
    while !out.is_closed() {
        let page = management.operators(after.as_ref(), PAGE).await?;
        listing.page(&page.operators, row, out)?;
        after = match follow(after.as_ref(), page.next) {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(ExitCode::AllAsWanted)
}

fn row(view: &OperatorView) -> [String; 5] {
    [
        view.operator.to_string(),
        view.role.to_string(),
        view.group.label().to_owned(),
        view.connections.to_string(),
        view.created.whole_secs().to_string(),
    ]
}

/// Changes what an operator may do.
pub(crate) async fn set(
    operator: &OperatorName,
    change: &OperatorChange,
    profile: &Profile,
) -> Result<ExitCode, Failure> {
    Management::new(profile)?.change_operator(operator, change).await.map_err(unknown)?;
    let role = change.role.map(|role| format!("role {role}"));
    let group = change.group.as_ref().map(|group| format!("group {}", group.label()));
    let words: Vec<_> = role.into_iter().chain(group).collect();
    say(&format!("{operator} has {} from now on", words.join(" and ")));
    Ok(ExitCode::AllAsWanted)
}

/// Removes an operator, after a question.
pub(crate) async fn revoke(
    operator: &OperatorName,
    yes: bool,
    profile: &Profile,
) -> Result<ExitCode, Failure> {
    if !confirm(&format!("revoke {operator}? Its profile is of no use afterwards."), yes)? {
        say("nothing was revoked");
        return Ok(ExitCode::SomeNot);
    }
    Management::new(profile)?.revoke_operator(operator).await.map_err(unknown)?;
    say(&format!("{operator} is revoked"));
    Ok(ExitCode::AllAsWanted)
}

fn unknown(error: ApiError) -> Failure {
    with_advice(
        error,
        "see the spelling; `wakemq operators list` shows all operators",
        "one admin of the root has to remain: create another one first",
    )
}
