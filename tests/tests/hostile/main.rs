//! A door that takes anything: thousands of bad packets, each answered as the standards say; none kills, hangs,
//! leaks or disturbs another connection.
//!
//! `cases` makes the packets, the same at each run; `oracle` says what MQTT 3.1.1 and 5 answer, from the standards
//! and without the broker's code, and cases with one known fault say it by hand; `range` runs them.

mod abuse;
mod case;
mod cases;
mod oracle;
mod packet;
mod range;

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, ensure};

use case::{Case, End, Said};
use range::Range;

/// Runs only the cases whose names begin with it; each failure prints how to set it.
const ONLY: &str = "WAKEMQ_HOSTILE";

fn chosen() -> Vec<Case> {
    let only = std::env::var(ONLY).unwrap_or_default();
    cases::all().into_iter().filter(|case| case.name.starts_with(&only)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_packet_is_answered_as_the_standards_say() -> Result<()> {
    let range = Arc::new(Range::open().await?);
    range.wake().await?;
    let before = range.held();
    let report = range.run_all(chosen()).await?;
    range.settled(&before).await?;
    let (wakes, slowest) = range.witnessed().await;
    println!("{} cases; the witness was woken {wakes} times, the slowest took {slowest:?}", report.cases);
    ensure!(
        report.failures.is_empty(),
        "{} of {} cases:\n{}",
        report.failures.len(),
        report.cases,
        report.failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
    Ok(())
}

#[test]
fn the_generator_is_the_same_at_each_run_and_names_are_unique() {
    let (one, other) = (cases::all(), cases::all());
    assert!(one.len() > 5_000, "{} cases", one.len());
    assert!(one.iter().zip(&other).all(|(one, other)| one.name == other.name && one.bytes == other.bytes));
    let mut names = HashSet::new();
    let twice: Vec<_> = one.iter().filter(|case| !names.insert(&case.name)).map(|case| &case.name).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// What was written down by hand and the model agree: two ways to the same answer.
#[test]
fn the_model_allows_what_was_written_by_hand() {
    let differ: Vec<_> = cases::all()
        .into_iter()
        .filter_map(|case| {
            let modelled = oracle::judge(case.peer, &case.bytes);
            let said = |said: &[Said]| said.len();
            let agree =
                said(&modelled.said) == said(&case.verdict.said) && allows(&modelled.end, &case.verdict.end);
            (!agree).then(|| format!("{}: {:?} by hand, {modelled:?}", case.name, case.verdict))
        })
        .collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

fn allows(model: &End, hand: &End) -> bool {
    match (model, hand) {
        (End::Either(one, other), hand) => model == hand || allows(one, hand) || allows(other, hand),
        (End::Closes(model), End::Closes(hand)) => hand.iter().all(|code| model.contains(code)),
        (End::Refuses(of, model), End::Refuses(other, hand)) => {
            of == other && hand.iter().all(|code| model.contains(code))
        }
        (model, hand) => model == hand,
    }
}

/// A range that cannot fail proves nothing: every expectation that is changed must be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_expectation_is_seen() -> Result<()> {
    let range = Arc::new(Range::open().await?);
    let tampered: Vec<_> = cases::all().into_iter().step_by(97).filter_map(tamper).collect();
    ensure!(tampered.len() > 50);
    let count = tampered.len();
    let report = range.run_all(tampered).await?;
    ensure!(report.failures.len() == count, "only {} of {count} were seen", report.failures.len());
    ensure!(
        report.failures[0].contains("cargo test -p wakemq-tests --test hostile"),
        "{}",
        report.failures[0]
    );
    Ok(())
}

/// Changes what is expected, if it can be seen without waiting for the limit.
fn tamper(mut case: Case) -> Option<Case> {
    let v5 = case.peer.v5();
    match &mut case.verdict.end {
        End::Closes(codes) if v5 => *codes = vec![0x8B],
        End::Refuses(_, codes) => *codes = vec![0x8B],
        End::Drops => case.verdict.end = End::Refuses(case.peer.version, vec![0x8B]),
        End::Leaves => case.verdict.end = End::Closes(Vec::new()),
        End::Alive => match case.verdict.said.last_mut()? {
            Said::PubAck(_, codes) => *codes = vec![0x8B],
            Said::SubAck(id, _) | Said::UnsubAck(id, _) => *id ^= 1,
            Said::Welcome | Said::Pong => return None,
        },
        End::Closes(_) | End::Waits | End::Either(..) | End::Any => return None,
    }
    Some(case)
}
