//! `wakemq watch`: events as they happen, one a line.

mod line;

use serde_json::json;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{EventKind, GroupPath};
use wakemq_publisher::{Watched, Watcher};

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::interrupt::interrupt;
use crate::output::{Out, say};

/// Prints events until Ctrl-C, or until nobody reads any more.
pub(crate) async fn run(
    group: &GroupPath,
    kinds: &[EventKind],
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut interrupt = std::pin::pin!(interrupt());
    let mut watcher = tokio::select! {
        connected = Watcher::connect(profile, kinds, group) => connected?,
        () = &mut interrupt => return Ok(ExitCode::Interrupted),
    };
    say(&format!("watching {}; Ctrl-C ends it", group.label()));
    while !out.is_closed() {
        tokio::select! {
            watched = watcher.next() => {
                let watched = watched?;
                if json { print_json(&watched, out)? } else { out.line(&line::line(&watched))? }
                // Each at once: somebody looks on, or a program behind a pipe waits.
                out.flush()?;
            }
            () = &mut interrupt => {
                watcher.close().await;
                return Ok(ExitCode::Interrupted);
            }
        }
    }
    watcher.close().await;
    Ok(ExitCode::AllAsWanted)
}

fn print_json(watched: &Watched, out: &mut Out) -> Result<(), Failure> {
    match watched {
        Watched::Event(event) => out.json(event),
        Watched::Gap(missing) => out.json(&json!({"gap": missing})),
        Watched::Lost(why) => out.json(&json!({"lost": why})),
        Watched::Back => out.json(&json!({"back": true})),
    }
}
