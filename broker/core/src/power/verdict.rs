//! Did the packets bring it up? Arithmetic on intervals, because ages are whole seconds rounded up.

use wakemq_protocol::CommandState;

use super::exchange::Heard;

/// How long a span may be that is told as one number, in milliseconds.
const PRECISE_MS: i64 = 2_000;

/// How an endpoint came.
pub(super) struct Came<'a> {
    /// When the attempt began.
    pub(super) began_ms: u64,
    /// When somebody was first asked to send.
    pub(super) first_ms: Option<u64>,
    /// What the endpoint told.
    pub(super) heard: &'a Heard,
    /// When it told that.
    pub(super) told_ms: u64,
    /// It told another boot or resume id than it did the last time.
    pub(super) ids_changed: bool,
}

/// When an endpoint came up, in milliseconds from some point: not before the first, and before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span(i64, i64);

/// Judges an endpoint that has told of itself: `done` or `failed`, and why.
pub(super) fn judge(came: &Came<'_>) -> (CommandState, String) {
    let heard = came.heard;
    let resumed = heard.since_resume.is_some_and(|resume| heard.since_boot.is_none_or(|boot| resume < boot));
    let did = if resumed { "resumed" } else { "booted" };
    let Some(first_ms) = came.first_ms else {
        let by_itself = up_since(came, came.began_ms).is_some_and(|up| up.0 > 0);
        let text = if by_itself { "it came up before a packet was sent" } else { "was already up" };
        return (CommandState::Done, text.to_owned());
    };
    let was_there = heard.connected_ms <= first_ms;
    match up_since(came, first_ms) {
        Some(Span(from, until)) if from > 0 => {
            let when = if until - from <= PRECISE_MS {
                (((from + until) / 2 + 500) / 1000).to_string()
            } else {
                format!("{} to {}", from / 1000, until / 1000 + 1)
            };
            (CommandState::Done, format!("{did} {when} s after the first packet"))
        }
        Some(Span(_, until)) if until <= 0 && !was_there => {
            let secs = -until / 1000;
            let text =
                format!("was running, unreachable: it {did} at least {secs} s before the first packet");
            (CommandState::Failed, text)
        }
        Some(Span(from, until)) if until > 0 => {
            let secs = until.max(-from).unsigned_abs().div_ceil(1000);
            let text = format!("came up within {secs} s of the first packet, perhaps by itself");
            (CommandState::Done, text)
        }
        Some(_) | None if was_there => {
            (CommandState::Done, "was already up: it connected before a packet was sent".to_owned())
        }
        Some(_) | None if came.ids_changed => {
            let text =
                "it is connected again, and has booted or resumed since it was last; it does not tell when";
            (CommandState::Done, text.to_owned())
        }
        Some(_) | None => {
            let text = "was running, unreachable, as far as can be told: it does not tell since when it runs";
            (CommandState::Failed, text.to_owned())
        }
    }
}

/// Returns when the endpoint came up, from a point in time on; `None` if it tells no age.
///
/// It told its age between its CONNECT and the arrival of what it told, and its true age is less than a second below
/// the one that it told.
fn up_since(came: &Came<'_>, point_ms: u64) -> Option<Span> {
    let ages = [came.heard.since_boot, came.heard.since_resume];
    let age = ages.into_iter().flatten().min()?;
    let ms = |secs: u64| i64::try_from(secs.saturating_mul(1000)).unwrap_or(i64::MAX);
    let from_point = |at_ms: u64| signed(at_ms).saturating_sub(signed(point_ms));
    let from = from_point(came.heard.connected_ms).saturating_sub(ms(age));
    let until = from_point(came.told_ms).saturating_sub(ms(age.saturating_sub(1)));
    Some(Span(from, until))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
