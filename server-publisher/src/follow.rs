//! Which states end which wait.

use wakemq_protocol::CommandState::{
    self, Acknowledged, Cancelled, Done, Expired, Failed, Queued, Refused, Sent, Superseded,
};
use wakemq_protocol::Outcome;

/// How far a command is to come before a wait for it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted {
    /// The broker has it, durably.
    Accepted,
    /// It is on its way to the agent.
    Sent,
    /// It is in the agent's journal.
    Acknowledged,
    /// The agent has handled it.
    Done,
}

/// What a state means to a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As wanted, or further.
    Reached,
    /// Not yet.
    Waiting,
    /// It ended otherwise, and will never be as wanted.
    Missed,
}

impl Wanted {
    /// Judges a state. An end other than `done` is never as wanted, even if the agent had acknowledged before:
    /// a wait must not end well or badly by how fast the news travelled. Only [`Wanted::Accepted`] asks for
    /// nothing more than that the broker took the command.
    pub fn judge(self, state: CommandState) -> Verdict {
        if self == Self::Accepted {
            return Verdict::Reached;
        }
        let come_to = match state {
            Queued => Self::Accepted,
            Sent => Self::Sent,
            Acknowledged => Self::Acknowledged,
            Done => Self::Done,
            Failed | Refused | Superseded | Expired | Cancelled => return Verdict::Missed,
        };
        if come_to >= self { Verdict::Reached } else { Verdict::Waiting }
    }
}

/// Tells whether `new` is news after `old`: an end never changes, and an acknowledgement is never taken back.
///
/// After a lost connection the broker tells the present state again, and two changes may cross on the way.
pub(crate) fn is_news(old: Option<&Outcome>, new: &Outcome) -> bool {
    let Some(old) = old else { return true };
    if old == new {
        return false;
    }
    match old.state {
        Queued | Sent => true,
        Acknowledged => !matches!(new.state, Queued | Sent),
        // Only what came late may still be added.
        Done | Failed | Refused | Superseded | Expired | Cancelled => {
            new.state == old.state && new.late.is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::Timestamp;

    const ENDS: [CommandState; 5] = [Failed, Refused, Superseded, Expired, Cancelled];

    fn outcome(state: CommandState) -> Outcome {
        Outcome {
            agent: "a".parse().unwrap(),
            state,
            at: Timestamp::from_unix_ms(0),
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        }
    }

    #[test]
    fn each_wait_ends_by_its_own_states() {
        use Verdict::{Missed, Reached, Waiting};
        for (wanted, verdicts) in [
            (Wanted::Accepted, [Reached, Reached, Reached, Reached]),
            (Wanted::Sent, [Waiting, Reached, Reached, Reached]),
            (Wanted::Acknowledged, [Waiting, Waiting, Reached, Reached]),
            (Wanted::Done, [Waiting, Waiting, Waiting, Reached]),
        ] {
            let judged = [Queued, Sent, Acknowledged, Done].map(|state| wanted.judge(state));
            assert_eq!(judged, verdicts, "{wanted:?}");
            for end in ENDS {
                let verdict = if wanted == Wanted::Accepted { Reached } else { Missed };
                assert_eq!(wanted.judge(end), verdict, "{wanted:?} {end}");
            }
        }
    }

    #[test]
    fn a_lost_connection_takes_sent_back_but_no_acknowledgement_and_no_end() {
        let news = |old, new| is_news(Some(&outcome(old)), &outcome(new));
        assert!(is_news(None, &outcome(Queued)));
        assert!(news(Queued, Sent) && news(Sent, Queued) && news(Sent, Expired));
        assert!(!news(Sent, Sent));
        assert!(news(Acknowledged, Done) && !news(Acknowledged, Sent) && !news(Acknowledged, Queued));
        for end in ENDS.into_iter().chain([Done]) {
            for next in ENDS.into_iter().chain([Queued, Sent, Acknowledged, Done]) {
                assert!(!news(end, next), "{end} {next}");
            }
        }
    }

    #[test]
    fn what_comes_late_is_news() {
        let old = outcome(Expired);
        let mut new = old.clone();
        new.late = Some(wakemq_protocol::Receipt {
            id: wakemq_protocol::CommandId::from_parts(1, &[0; 10]),
            state: wakemq_protocol::ReceiptState::Done,
            detail: None,
        });
        assert!(is_news(Some(&old), &new));
        assert!(!is_news(Some(&new), &new));
    }
}
