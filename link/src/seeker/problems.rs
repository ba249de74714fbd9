//! Why ways led nowhere when they were last tried.

use wakemq_protocol::{BETTER_MAX, FailedWay, PROBLEM_MAX};

use super::NoWay;
use crate::ladder::{Failure, WayId, Ways};
use crate::{Captive, WayError};

#[derive(Debug)]
struct Problem {
    way: WayId,
    text: String,
    certificate: bool,
    /// Somebody took the connection.
    answered: bool,
}

/// The last problem of each way that has one.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, way: WayId) {
        self.0.retain(|problem| problem.way != way);
    }

    pub(super) fn failed(&mut self, way: WayId, error: &WayError) {
        let answered = error.failure() == Failure::Way;
        self.set(Problem { way, text: error.to_string(), certificate: error.is_certificate(), answered });
    }

    pub(super) fn note(&mut self, way: WayId, text: String) {
        self.set(Problem { way, text, certificate: false, answered: false });
    }

    fn set(&mut self, problem: Problem) {
        self.forget(problem.way);
        self.0.push(problem);
        self.0.sort_by_key(|problem| problem.way);
    }

    /// Tells whether somebody took a connection who is perhaps not the broker.
    pub(super) fn is_answered(&self) -> bool {
        self.0.iter().any(|problem| problem.answered)
    }

    /// Tells of all ways.
    pub(super) fn no_way(&self, ways: &Ways, captive: Option<Captive>) -> NoWay {
        NoWay {
            captive,
            ways: self.0.iter().map(|one| (ways.get(one.way).clone(), one.text.clone())).collect(),
            certificate: self.0.iter().any(|problem| problem.certificate),
        }
    }

    /// Tells of the ways that are better than one, in the bounds of facts.
    pub(super) fn better_than(&self, way: WayId, ways: &Ways) -> Vec<FailedWay> {
        let better = self.0.iter().filter(|problem| problem.way < way);
        let told = better.map(|problem| FailedWay {
            way: ways.get(problem.way).to_string(),
            problem: cut(&problem.text).to_owned(),
        });
        told.take(BETTER_MAX).collect()
    }
}

/// Cuts a text to what facts may hold.
fn cut(text: &str) -> &str {
    let end = (0..=PROBLEM_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_its_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(PROBLEM_MAX)).len(), PROBLEM_MAX);
        assert_eq!(cut(&format!("a{}", "é".repeat(PROBLEM_MAX))).len(), PROBLEM_MAX - 1);
    }
}
