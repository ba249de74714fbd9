//! The evidence of a `power` command: kept in its row, so that it ends, moves and is forgotten with it.

use wakemq_protocol::{PowerStep, PowerWhat};

/// How many steps are kept, the verdict and the word on what was left out among them.
const STEPS_MAX: usize = 64;
/// How large a row grows by its evidence, in bytes of JSON, before the verdict: relays are free in what they say.
const BYTES_MAX: usize = 32 * 1024;

/// Adds a step. Where there is no room for it, it is counted as left out; there always is for a verdict.
pub(in crate::store) fn add_step(evidence: &mut Vec<PowerStep>, step: PowerStep) {
    if matches!(step.what, PowerWhat::Verdict { .. }) {
        return evidence.push(step);
    }
    // The last places are for what was left out, and for the verdict.
    if evidence.len() < STEPS_MAX - 2 && size(evidence) + size(std::slice::from_ref(&step)) <= BYTES_MAX {
        return evidence.push(step);
    }
    match evidence.last_mut() {
        Some(PowerStep { at, what: PowerWhat::LeftOut { steps } }) => {
            *steps = steps.saturating_add(1);
            *at = step.at;
        }
        Some(_) | None => evidence.push(PowerStep { at: step.at, what: PowerWhat::LeftOut { steps: 1 } }),
    }
}

/// Returns the size in the row; what cannot be written there has no place in it.
fn size(steps: &[PowerStep]) -> usize {
    serde_json::to_vec(steps).map_or(usize::MAX / 2, |json| json.len())
}

#[cfg(test)]
mod tests {
    use wakemq_protocol::{CommandState, Timestamp};

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_ms(secs * 1000)
    }

    fn no_relay(secs: i64, detail: &str) -> PowerStep {
        PowerStep { at: at(secs), what: PowerWhat::NoRelay { detail: detail.to_owned() } }
    }

    fn verdict() -> PowerStep {
        PowerStep { at: at(99), what: PowerWhat::Verdict { state: CommandState::Done, detail: None } }
    }

    #[test]
    fn what_has_no_place_is_counted_and_the_verdict_always_has_one() {
        let mut evidence = Vec::new();
        for secs in 0..70 {
            add_step(&mut evidence, no_relay(secs, "none"));
        }
        add_step(&mut evidence, verdict());
        assert_eq!(evidence.len(), STEPS_MAX);
        assert_eq!(evidence[61], no_relay(61, "none"));
        assert_eq!(evidence[62], PowerStep { at: at(69), what: PowerWhat::LeftOut { steps: 8 } });
        assert_eq!(evidence[63], verdict());
    }

    #[test]
    fn long_words_are_left_out_before_the_row_is_large() {
        let mut evidence = Vec::new();
        let word = "x".repeat(4096);
        for secs in 0..20 {
            add_step(&mut evidence, no_relay(secs, &word));
        }
        add_step(&mut evidence, no_relay(20, "short"));
        add_step(&mut evidence, verdict());
        assert!(size(&evidence) < BYTES_MAX + 1024, "{} bytes", size(&evidence));
        assert_eq!(evidence[7], PowerStep { at: at(19), what: PowerWhat::LeftOut { steps: 13 } });
        assert_eq!(evidence[8..], [no_relay(20, "short"), verdict()]);
    }
}
