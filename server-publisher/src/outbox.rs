//! What a publisher has submitted and still follows: a pure state machine.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::watch;
use wakemq_link::mqtt::ReasonCode;
use wakemq_protocol::{CommandId, News, PowerStep, Target};

use crate::SubmitError;
use crate::follow::is_news;

/// What is known of one submission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The broker acknowledged it.
    pub(crate) accepted: bool,
    /// What has become of it.
    pub(crate) news: Option<News>,
    /// The steps of a `power` command that were told, in order.
    pub(crate) steps: Vec<PowerStep>,
    /// Why it was not accepted, or is no longer followed; nothing comes after it.
    pub(crate) failure: Option<SubmitError>,
}

/// A command to submit.
#[derive(Debug)]
pub(crate) struct NewEntry {
    pub(crate) id: CommandId,
    pub(crate) target: Target,
    /// The submission as JSON, its id included.
    pub(crate) payload: Bytes,
    /// Where its owner sees what is known; an entry that nobody looks at any more is forgotten.
    pub(crate) progress: watch::Sender<Progress>,
}

/// Keeps every submission until it is refused, ended or no longer looked at.
///
/// `K` names a publish of the present connection. Order of calls: [`insert`](Self::insert) while
/// [`is_idle`](Self::is_idle); on a connection [`next_publish`](Self::next_publish) as long as there is room in
/// flight, each followed by [`handle_sent`](Self::handle_sent) or [`refuse`](Self::refuse);
/// [`handle_puback`](Self::handle_puback) and [`handle_news`](Self::handle_news) as they come; after the
/// connection [`handle_lost`](Self::handle_lost), which queues everything again by the same ids.
///
/// The number of entries is bounded by those who look at them: each is one handle of the caller.
#[derive(Debug)]
pub(crate) struct Outbox<K> {
    entries: HashMap<CommandId, Entry>,
    /// What is to be published, on this connection for the first time.
    waiting: VecDeque<CommandId>,
    in_flight: Vec<(K, CommandId)>,
    next_number: u64,
    /// Entries above which those that nobody looks at are swept.
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    /// Order of submission.
    number: u64,
    target: Target,
    payload: Bytes,
    progress: watch::Sender<Progress>,
}

/// Most steps of one command that are kept; a broker tells fewer.
const STEPS_MAX: usize = 128;

/// Fewer entries than this are never swept.
const SWEEP_MIN: usize = 256;

impl<K: PartialEq> Outbox<K> {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            next_number: 0,
            sweep_at: SWEEP_MIN,
        }
    }

    /// Tells whether nothing waits to be published, so that a new submission may come in.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a submission in. One under an id that is followed already is refused: two owners of one id would
    /// have to agree on what they submitted.
    pub(crate) fn insert(&mut self, new: NewEntry) {
        let NewEntry { id, target, payload, progress } = new;
        if self.entries.get(&id).is_some_and(|entry| !entry.progress.is_closed()) {
            let words = "this publisher follows a command of this id already".to_owned();
            fail(&progress, SubmitError::IdConflict(Some(words)));
            return;
        }
        self.sweep();
        let number = self.next_number;
        self.next_number += 1;
        if self.entries.insert(id, Entry { number, target, payload, progress }).is_some() {
            self.waiting.retain(|&waiting| waiting != id);
        }
        self.waiting.push_back(id);
    }

    /// Returns what to publish next.
    pub(crate) fn next_publish(&mut self) -> Option<(CommandId, &Target, Bytes)> {
        loop {
            let id = self.waiting.pop_front()?;
            if self.entries.get(&id).is_some_and(|entry| entry.progress.is_closed()) {
                self.entries.remove(&id);
            }
            if self.entries.contains_key(&id) {
                let entry = &self.entries[&id];
                return Some((id, &entry.target, entry.payload.clone()));
            }
        }
    }

    /// Notes that what [`next_publish`](Self::next_publish) gave is on its way.
    pub(crate) fn handle_sent(&mut self, key: K, id: CommandId) {
        self.in_flight.push((key, id));
    }

    /// Puts back what [`next_publish`](Self::next_publish) gave and the connection did not take.
    pub(crate) fn put_back(&mut self, id: CommandId) {
        self.waiting.push_front(id);
    }

    /// Takes the broker's answer to a publish.
    pub(crate) fn handle_puback(&mut self, key: &K, code: ReasonCode, reason: Option<String>) {
        let Some(at) = self.in_flight.iter().position(|(known, _)| known == key) else { return };
        let (_, id) = self.in_flight.swap_remove(at);
        if !code.is_success() {
            self.refuse(id, SubmitError::from_puback(code, reason));
            return;
        }
        let Some(entry) = self.entries.get(&id) else { return };
        entry.progress.send_if_modified(|progress| !std::mem::replace(&mut progress.accepted, true));
        self.forget_if_over(id);
    }

    /// Ends a submission that cannot be accepted.
    pub(crate) fn refuse(&mut self, id: CommandId, error: SubmitError) {
        if let Some(entry) = self.entries.remove(&id) {
            fail(&entry.progress, error);
        }
    }

    /// Takes news of a command.
    pub(crate) fn handle_news(&mut self, mut news: News) {
        let id = news.id();
        let Some(entry) = self.entries.get(&id) else { return };
        let same = match (&entry.target, &news) {
            (Target::Agent(agent), News::Agent(update)) => *agent == update.outcome.agent,
            (Target::Group(group), News::Group(update)) => *group == update.group,
            (Target::Agent(_), News::Group(_)) | (Target::Group(_), News::Agent(_)) => false,
        };
        if !same {
            tracing::debug!(%id, "news for another target are ignored");
            return;
        }
        let step = match &mut news {
            News::Agent(update) => update.evidence.take(),
            News::Group(_) => None,
        };
        entry.progress.send_if_modified(|progress| {
            let new_step =
                step.filter(|step| progress.steps.len() < STEPS_MAX && !progress.steps.contains(step));
            let is_step = new_step.is_some();
            progress.steps.extend(new_step.map(|step| *step));
            let is_news = is_news(progress.news.as_ref(), &news);
            if is_news {
                progress.news = Some(news);
            }
            is_news || is_step
        });
        self.forget_if_over(id);
    }

    /// Queues everything again, in order of submission: what was not answered because nobody knows whether it
    /// was accepted, and the rest because the broker tells its present state only to a new connection's
    /// submission. The same id makes both harmless.
    pub(crate) fn handle_lost(&mut self) {
        self.in_flight.clear();
        self.entries.retain(|_, entry| !entry.progress.is_closed());
        let mut order: Vec<_> = self
            .entries
            .iter()
            .map(|(&id, entry)| (entry.progress.borrow().accepted, entry.number, id))
            .collect();
        order.sort_unstable();
        self.waiting = order.into_iter().map(|(_, _, id)| id).collect();
    }

    /// Ends every submission.
    pub(crate) fn fail_all(&mut self, error: &SubmitError) {
        for (_, entry) in self.entries.drain() {
            fail(&entry.progress, error.clone());
        }
        self.waiting.clear();
        self.in_flight.clear();
    }

    fn forget_if_over(&mut self, id: CommandId) {
        let over = self.entries.get(&id).is_some_and(|entry| {
            let progress = entry.progress.borrow();
            let ended = progress.news.as_ref().is_some_and(News::is_over);
            progress.accepted && (ended || entry.progress.is_closed())
        });
        if over {
            self.entries.remove(&id);
        }
    }

    /// Drops what nobody looks at, each time that the number of entries has doubled: linear over all.
    fn sweep(&mut self) {
        if self.entries.len() < self.sweep_at {
            return;
        }
        let in_flight = &self.in_flight;
        self.entries.retain(|id, entry| {
            !entry.progress.is_closed() || in_flight.iter().any(|(_, flying)| flying == id)
        });
        self.sweep_at = (self.entries.len() * 2).max(SWEEP_MIN);
    }
}

fn fail(progress: &watch::Sender<Progress>, error: SubmitError) {
    progress.send_modify(|progress| progress.failure = Some(error));
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::{
        AgentId, CommandState, Counts, GroupUpdate, Outcome, PowerWhat, Timestamp, Update,
    };

    fn id(n: u8) -> CommandId {
        CommandId::from_parts(u64::from(n), &[n; 10])
    }

    fn agent(n: u8) -> AgentId {
        format!("pc-{n}").parse().unwrap()
    }

    /// Inserts the submission `n` and returns where its owner looks.
    fn insert(outbox: &mut Outbox<u8>, n: u8) -> watch::Receiver<Progress> {
        let (progress, owner) = watch::channel(Progress::default());
        outbox.insert(NewEntry {
            id: id(n),
            target: agent(n).into(),
            payload: Bytes::from(vec![n]),
            progress,
        });
        owner
    }

    /// Publishes all that waits, by keys that equal the payloads, and returns them in order.
    fn publish_all(outbox: &mut Outbox<u8>) -> Vec<u8> {
        let mut keys = Vec::new();
        while let Some((id, _, payload)) = outbox.next_publish() {
            keys.push(payload[0]);
            outbox.handle_sent(payload[0], id);
        }
        keys
    }

    fn update(n: u8, state: CommandState) -> News {
        let outcome = Outcome {
            agent: agent(n),
            state,
            at: Timestamp::from_unix_ms(5),
            detail: None,
            superseded_by: None,
            cancel_requested: false,
            late: None,
        };
        News::Agent(Update::new(id(n), outcome))
    }

    fn state(owner: &watch::Receiver<Progress>) -> Option<CommandState> {
        owner.borrow().news.as_ref().map(News::state)
    }

    #[test]
    fn a_submission_is_accepted_followed_and_forgotten_at_its_end() {
        let mut outbox = Outbox::new();
        let owner = insert(&mut outbox, 1);
        assert!(!outbox.is_idle());
        assert_eq!(publish_all(&mut outbox), [1]);
        outbox.handle_news(update(1, CommandState::Sent));
        assert!(!owner.borrow().accepted);
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        assert!(owner.borrow().accepted);
        assert_eq!(state(&owner), Some(CommandState::Sent));
        outbox.handle_news(update(1, CommandState::Done));
        assert_eq!(state(&owner), Some(CommandState::Done));
        assert!(outbox.entries.is_empty());
        assert!(owner.has_changed().is_err(), "nothing more can come");
    }

    #[test]
    fn an_end_that_overtakes_the_acknowledgement_still_counts_as_accepted() {
        let mut outbox = Outbox::new();
        let owner = insert(&mut outbox, 1);
        publish_all(&mut outbox);
        outbox.handle_news(update(1, CommandState::Expired));
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        assert!(owner.borrow().accepted);
        assert!(outbox.entries.is_empty());
    }

    #[test]
    fn a_refusal_ends_only_its_own_submission() {
        let mut outbox = Outbox::new();
        let (one, two) = (insert(&mut outbox, 1), insert(&mut outbox, 2));
        publish_all(&mut outbox);
        outbox.handle_puback(&1, ReasonCode::NOT_AUTHORIZED, Some("no".into()));
        outbox.handle_puback(&2, ReasonCode::SUCCESS, None);
        assert_eq!(one.borrow().failure, Some(SubmitError::NotAllowed(Some("no".into()))));
        assert!(two.borrow().accepted && two.borrow().failure.is_none());
    }

    #[test]
    fn after_a_lost_connection_all_go_out_again_the_unanswered_first_and_in_order() {
        let mut outbox = Outbox::new();
        let owners: Vec<_> = (1..=5).map(|n| insert(&mut outbox, n)).collect();
        publish_all(&mut outbox);
        for key in [1, 3, 4] {
            outbox.handle_puback(&key, ReasonCode::SUCCESS, None);
        }
        outbox.handle_news(update(3, CommandState::Done));
        outbox.handle_lost();
        assert_eq!(publish_all(&mut outbox), [2, 5, 1, 4]);
        // An answer of the old connection is not one of the new.
        outbox.handle_puback(&2, ReasonCode::SUCCESS, None);
        assert!(owners[1].borrow().accepted);
    }

    #[test]
    fn the_second_acceptance_of_a_followed_command_is_no_news() {
        let mut outbox = Outbox::new();
        let mut owner = insert(&mut outbox, 1);
        publish_all(&mut outbox);
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        outbox.handle_news(update(1, CommandState::Acknowledged));
        outbox.handle_lost();
        publish_all(&mut outbox);
        owner.mark_unchanged();
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        outbox.handle_news(update(1, CommandState::Sent));
        assert!(!owner.has_changed().unwrap());
        assert_eq!(state(&owner), Some(CommandState::Acknowledged));
    }

    #[test]
    fn what_nobody_looks_at_is_not_sent_and_not_kept() {
        let mut outbox = Outbox::new();
        drop(insert(&mut outbox, 1));
        assert!(publish_all(&mut outbox).is_empty());
        assert!(outbox.entries.is_empty());
        // In flight it is kept until its answer, which frees it.
        let owner = insert(&mut outbox, 2);
        publish_all(&mut outbox);
        drop(owner);
        outbox.handle_puback(&2, ReasonCode::SUCCESS, None);
        assert!(outbox.entries.is_empty());
    }

    #[test]
    fn followed_commands_whose_owners_went_do_not_pile_up() {
        let mut outbox = Outbox::new();
        for n in 0..10_000_u32 {
            let (progress, owner) = watch::channel(Progress::default());
            let id = CommandId::from_parts(n.into(), &[0; 10]);
            outbox.insert(NewEntry { id, target: agent(1).into(), payload: Bytes::new(), progress });
            outbox.next_publish().unwrap();
            outbox.handle_sent(1, id);
            outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
            drop(owner);
            assert!(outbox.entries.len() <= SWEEP_MIN);
        }
    }

    #[test]
    fn one_id_has_one_owner() {
        let mut outbox = Outbox::new();
        let first = insert(&mut outbox, 1);
        let second = insert(&mut outbox, 1);
        assert!(matches!(second.borrow().failure, Some(SubmitError::IdConflict(_))));
        assert!(first.borrow().failure.is_none());
        drop(first);
        let third = insert(&mut outbox, 1);
        assert!(third.borrow().failure.is_none());
        assert_eq!(publish_all(&mut outbox), [1]);
    }

    #[test]
    fn a_foreign_update_changes_nothing() {
        let mut outbox = Outbox::new();
        let owner = insert(&mut outbox, 1);
        publish_all(&mut outbox);
        outbox.handle_news(update(2, CommandState::Done));
        let News::Agent(mut foreign) = update(2, CommandState::Done) else { panic!("of an agent") };
        foreign.id = id(1);
        outbox.handle_news(News::Agent(foreign));
        outbox.handle_news(group_update(1, CommandState::Queued, Counts::default()));
        assert_eq!(state(&owner), None);
    }

    fn group_update(n: u8, state: CommandState, counts: Counts) -> News {
        let at = Timestamp::from_unix_ms(5);
        let group = "paris".parse().unwrap();
        News::Group(GroupUpdate { id: id(n), group, state, at, counts, detail: None })
    }

    #[test]
    fn a_command_for_a_group_is_followed_until_nothing_is_open() {
        let mut outbox = Outbox::new();
        let (progress, owner) = watch::channel(Progress::default());
        let target = Target::Group("paris".parse().unwrap());
        outbox.insert(NewEntry { id: id(1), target, payload: Bytes::from(vec![1]), progress });
        assert_eq!(publish_all(&mut outbox), [1]);
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        outbox.handle_news(update(1, CommandState::Done));
        assert_eq!(state(&owner), None, "news of an agent are not news of the group");
        let counts = |queued, done| Counts { queued, done, ..Counts::default() };
        outbox.handle_news(group_update(1, CommandState::Queued, counts(1, 4)));
        // The record is live still: what it is for agents that nobody knows of says nothing about its end.
        assert_eq!(outbox.entries.len(), 1);
        outbox.handle_news(group_update(1, CommandState::Queued, counts(0, 5)));
        assert!(outbox.entries.is_empty());
        assert!(owner.has_changed().is_err(), "nothing more can come");
    }

    #[test]
    fn steps_are_kept_in_order_and_change_no_state() {
        let mut outbox = Outbox::new();
        let mut owner = insert(&mut outbox, 1);
        publish_all(&mut outbox);
        outbox.handle_puback(&1, ReasonCode::SUCCESS, None);
        let tell = |outbox: &mut Outbox<u8>, at, what| {
            let News::Agent(mut told) = update(1, CommandState::Queued) else { panic!("of an agent") };
            told.evidence = Some(Box::new(PowerStep { at: Timestamp::from_unix_ms(at), what }));
            outbox.handle_news(News::Agent(told));
        };
        tell(&mut outbox, 1, PowerWhat::ProbeUnanswered);
        tell(&mut outbox, 2, PowerWhat::RelaySilent { relay: agent(9) });
        assert!(owner.has_changed().unwrap());
        let steps = owner.borrow_and_update().steps.clone();
        assert_eq!(steps.iter().map(|step| step.at.unix_ms()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(state(&owner), Some(CommandState::Queued));
        // What is told twice is one step, and no news.
        let News::Agent(mut told) = update(1, CommandState::Queued) else { panic!("of an agent") };
        told.evidence = Some(Box::new(steps[1].clone()));
        outbox.handle_news(News::Agent(told));
        assert!(!owner.has_changed().unwrap());
    }

    #[test]
    fn at_the_end_everybody_is_told() {
        let mut outbox = Outbox::new();
        let owners = [insert(&mut outbox, 1), insert(&mut outbox, 2)];
        publish_all(&mut outbox);
        outbox.fail_all(&SubmitError::Closed);
        assert!(owners.iter().all(|owner| owner.borrow().failure == Some(SubmitError::Closed)));
        assert!(outbox.is_idle());
    }
}
