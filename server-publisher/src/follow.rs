//! Which states end which wait.

use wakemq_protocol::CommandState::{
    self, Acknowledged, Cancelled, Done, Expired, Failed, Queued, Refused, Sent, Superseded,
};
use wakemq_protocol::{Counts, News, Outcome};

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

    /// Judges news of a command for an agent, or for a group by [`judge_counts`](Self::judge_counts).
    pub fn judge_news(self, news: &News) -> Verdict {
        match news {
            News::Agent(update) => self.judge(update.outcome.state),
            News::Group(update) if update.state == Refused => self.judge(Refused),
            News::Group(update) => self.judge_counts(update.counts),
        }
    }

    /// Judges the counts of a group: it is reached once it is for every agent, and missed once no agent is
    /// waited for any more and it was not reached for all. An empty group has nobody to wait for.
    pub fn judge_counts(self, counts: Counts) -> Verdict {
        let of = |verdict| {
            let fitting = counts.iter().filter(|&(state, _)| self.judge(state) == verdict);
            fitting.map(|(_, count)| count).sum::<u64>()
        };
        if of(Verdict::Waiting) > 0 {
            Verdict::Waiting
        } else if of(Verdict::Missed) > 0 {
            Verdict::Missed
        } else {
            Verdict::Reached
        }
    }
}

/// Tells whether `new` is news after `old`.
pub(crate) fn is_news(old: Option<&News>, new: &News) -> bool {
    match (old, new) {
        (None, _) => true,
        (Some(News::Agent(old)), News::Agent(new)) => is_news_of_agent(&old.outcome, &new.outcome),
        // Single agents may go back to `queued`, so it is the time of counting that tells which is newer.
        (Some(News::Group(old)), News::Group(new)) => {
            new.at >= old.at && (new.state, new.counts, &new.detail) != (old.state, old.counts, &old.detail)
        }
        (Some(News::Agent(_)), News::Group(_)) | (Some(News::Group(_)), News::Agent(_)) => false,
    }
}

/// Tells whether `new` is news after `old`: an end never changes, and an acknowledgement is never taken back.
///
/// After a lost connection the broker tells the present state again, and two changes may cross on the way.
fn is_news_of_agent(old: &Outcome, new: &Outcome) -> bool {
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
    use wakemq_protocol::{CommandId, GroupPath, GroupUpdate, Timestamp, Update};

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
        let news = |old, new| is_news_of_agent(&outcome(old), &outcome(new));
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
            id: CommandId::from_parts(1, &[0; 10]),
            state: wakemq_protocol::ReceiptState::Done,
            detail: None,
        });
        assert!(is_news_of_agent(&old, &new));
        assert!(!is_news_of_agent(&new, &new));
    }

    fn group(at: i64, state: CommandState, counts: &[(CommandState, u64)]) -> News {
        let mut all = Counts::default();
        for &(state, count) in counts {
            *all.of(state) = count;
        }
        News::Group(GroupUpdate {
            id: CommandId::from_parts(1, &[0; 10]),
            group: GroupPath::root(),
            state,
            at: Timestamp::from_unix_ms(at),
            counts: all,
            detail: None,
        })
    }

    #[test]
    fn a_group_is_judged_by_all_its_agents() {
        let judge = |wanted: Wanted, counts| wanted.judge_news(&group(0, Queued, counts));
        for (counts, sent, acknowledged, done) in [
            (&[][..], Verdict::Reached, Verdict::Reached, Verdict::Reached),
            (&[(Done, 3)], Verdict::Reached, Verdict::Reached, Verdict::Reached),
            (&[(Done, 3), (Acknowledged, 1)], Verdict::Reached, Verdict::Reached, Verdict::Waiting),
            (&[(Done, 3), (Sent, 1)], Verdict::Reached, Verdict::Waiting, Verdict::Waiting),
            (&[(Done, 3), (Queued, 1), (Failed, 1)], Verdict::Waiting, Verdict::Waiting, Verdict::Waiting),
            (&[(Done, 3), (Failed, 1)], Verdict::Missed, Verdict::Missed, Verdict::Missed),
        ] {
            assert_eq!(judge(Wanted::Sent, counts), sent, "{counts:?}");
            assert_eq!(judge(Wanted::Acknowledged, counts), acknowledged, "{counts:?}");
            assert_eq!(judge(Wanted::Done, counts), done, "{counts:?}");
            assert_eq!(judge(Wanted::Accepted, counts), Verdict::Reached, "{counts:?}");
        }
        assert_eq!(Wanted::Acknowledged.judge_news(&group(0, Refused, &[])), Verdict::Missed);
    }

    #[test]
    fn newer_counts_are_news_and_older_ones_and_the_same_are_not() {
        let old = group(10, Queued, &[(Queued, 2), (Sent, 1)]);
        assert!(is_news(None, &old));
        assert!(is_news(Some(&old), &group(10, Queued, &[(Queued, 3)])));
        assert!(is_news(Some(&old), &group(11, Expired, &[(Queued, 2), (Sent, 1)])));
        assert!(!is_news(Some(&old), &group(11, Queued, &[(Queued, 2), (Sent, 1)])));
        assert!(!is_news(Some(&old), &group(9, Queued, &[(Queued, 3)])));
        let of_agent = News::Agent(Update::new(CommandId::from_parts(1, &[0; 10]), outcome(Done)));
        assert!(!is_news(Some(&old), &of_agent) && !is_news(Some(&of_agent), &old));
    }
}
