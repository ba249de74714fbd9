//! Driving a poller: by a request that waits for its answer, and by a task between two of them.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use wakemq_protocol::http::PollAnswer;

use super::poller::{Poller, State};
use super::{PollError, Polls};
use crate::registry::Mail;
use crate::store::StoreError;

/// What a poll does next.
pub(super) enum Step {
    /// It ends.
    Answer(Result<PollAnswer, PollError>),
    /// It waits.
    Park(Parked),
}

/// A poller in the hands of one of its polls; it is in a task that nobody cuts short.
pub(super) struct Hold {
    pub(super) polls: Arc<Polls>,
    pub(super) poller: Arc<Poller>,
    pub(super) number: u64,
    pub(super) state: OwnedMutexGuard<State>,
}

impl Hold {
    /// Takes what was in the mailbox, and does what is to be done.
    pub(super) async fn drive(mut self: Box<Self>, mail: Option<Mail>) -> Step {
        let Self { polls, poller, number, state } = &mut *self;
        if let Some(mail) = mail {
            polls.feed(state, mail);
        }
        let answer = match polls.act(poller, state).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => match &state.evicted {
                Some(end) => polls.evicted(end),
                None if poller.is_newest(*number) => return Step::Park(Parked(Some(self))),
                None => Ok(PollAnswer::Superseded),
            },
            Err(error) => Err(error.into()),
        };
        self.put_down();
        Step::Answer(answer)
    }

    /// Does what is to be done, no poll being there to be answered, and leaves the rest to a task.
    pub(super) async fn put_aside(mut self: Box<Self>) {
        let Self { polls, poller, state, .. } = &mut *self;
        if let Err(error) = polls.act(poller, state).await {
            tracing::debug!(agent = %poller.agent, %error, "a poller ended with a poll that was refused");
        }
        self.put_down();
    }

    /// Leaves the poller to a task, unless a newer poll waits for it or nothing is left of it.
    pub(super) fn put_down(self: Box<Self>) {
        if !self.poller.is_newest(self.number) || self.state.session.is_over() {
            return;
        }
        // A process that ends takes it along.
        if let Ok(runtime) = Handle::try_current() {
            let tasks = self.polls.tasks.clone();
            tasks.spawn_on(self.rest(), &runtime);
        }
    }

    /// Stays with the poller until the next poll comes, or until nothing is left of it.
    async fn rest(mut self: Box<Self>) {
        let Self { polls, poller, number, state } = &mut *self;
        state.session.handle_dropped();
        loop {
            if let Err(error) = polls.act(poller, state).await {
                tracing::debug!(agent = %poller.agent, %error, "a poller ended between two polls");
            }
            if state.session.is_over() || !poller.is_newest(*number) {
                return;
            }
            let mail = poll_fn(|cx| poller.mailbox.poll(cx)).await;
            polls.feed(state, mail);
        }
    }
}

/// A poll that waits. Dropped, its client is gone, and the poller is left to a task.
pub(super) struct Parked(Option<Box<Hold>>);

impl Parked {
    /// Waits until there is something, and does it, to its end whether the client waits for it or not.
    pub(super) async fn park(mut self) -> Step {
        let mail = match &self.0 {
            Some(hold) => poll_fn(|cx| hold.poller.mailbox.poll(cx)).await,
            None => return Step::Answer(Ok(PollAnswer::Superseded)),
        };
        let Some(hold) = self.0.take() else { return Step::Answer(Ok(PollAnswer::Superseded)) };
        match tokio::spawn(hold.drive(Some(mail))).await {
            Ok(step) => step,
            Err(error) => broken(&error),
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.put_down();
        }
    }
}

/// Ends a poll of which a task broke off.
pub(super) fn broken(error: &tokio::task::JoinError) -> Step {
    tracing::error!(%error, "a poll broke off");
    Step::Answer(Err(StoreError::Closed.into()))
}
