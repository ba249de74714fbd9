//! The beginning of a poll: it becomes the agent's one live way.

use std::sync::Arc;

use wakemq_core::Instance;
use wakemq_protocol::Transport;
use wakemq_protocol::http::{PollAnswer, PollRequest};

use super::hold::{Hold, Step, broken};
use super::poller::{Poller, State};
use super::{Asking, PollError, Polls};
use crate::door::stopping;
use crate::registry::Arrival;

impl Polls {
    /// Takes a poll in, to its end whether the client waits for it or not.
    pub(super) async fn enter(self: &Arc<Self>, who: Asking, request: PollRequest) -> Step {
        if *self.draining.borrow() {
            return Step::Answer(Ok(self.retry()));
        }
        match tokio::spawn(self.clone().take_in(who, request)).await {
            Ok(Ok(step)) => step,
            Ok(Err(error)) => Step::Answer(Err(error)),
            Err(error) => broken(&error),
        }
    }

    async fn take_in(self: Arc<Self>, mut who: Asking, request: PollRequest) -> Result<Step, PollError> {
        let instance = request.instance.as_deref().map(Instance::id_of);
        let mut hold = loop {
            let (poller, number) = self.find_or_make(&who, instance)?;
            let state = poller.state.clone().lock_owned().await;
            if !poller.is_newest(number) {
                return Ok(Step::Answer(Ok(PollAnswer::Superseded)));
            }
            // Otherwise it ended while this poll waited for it.
            if !state.session.is_over() {
                break Box::new(Hold { polls: self.clone(), poller, number, state });
            }
        };
        let Hold { poller, state, .. } = &mut *hold;
        poller.mailbox.set_address(who.address);
        if let Err(error) = self.be_present(&mut who, poller, state).await {
            // A clone has to wait, and what it has is as it was.
            if !matches!(error, PollError::Cloned { .. }) {
                state.session.handle_evicted();
            }
            hold.put_aside().await;
            return Err(error);
        }
        let now_ms = self.now_ms();
        state.session.handle_poll(request.heartbeat, request.acknowledged, now_ms);
        Ok(hold.drive(None).await)
    }

    /// Finds the poller that this poll goes on with, or makes a new one, which takes the agent over.
    fn find_or_make(&self, who: &Asking, instance: Option<u64>) -> Result<(Arc<Poller>, u64), PollError> {
        let mut pollers = self.pollers.lock();
        if let Some(poller) = pollers.get(&who.agent).filter(|poller| poller.instance == instance) {
            return Ok((poller.clone(), poller.take_number()));
        }
        let registry = self.engine.registry();
        let mailbox = registry.open(who.address, Transport::Poll);
        // Under the lock: of two that come at once the one in the registry is the one in the table.
        if let Arrival::Wait { secs } = self.engine.arrive(&who.agent, &who.group, &mailbox, instance) {
            registry.close(&mailbox);
            return Err(PollError::Cloned { secs });
        }
        let poller = Arc::new(Poller::new(who.agent.clone(), instance, mailbox));
        pollers.insert(who.agent.clone(), poller.clone());
        Ok((poller.clone(), poller.take_number()))
    }

    /// Makes a poller the agent's one live way, with a claim of its inbox.
    async fn be_present(
        &self,
        who: &mut Asking,
        poller: &Poller,
        state: &mut State,
    ) -> Result<(), PollError> {
        let (engine, mailbox) = (&self.engine, &poller.mailbox);
        let was_present = state.is_present;
        if !was_present {
            if let Arrival::Wait { secs } = engine.arrive(&who.agent, &who.group, mailbox, poller.instance) {
                return Err(PollError::Cloned { secs });
            }
            state.is_present = true;
        }
        if *self.draining.borrow() {
            // It came in while the others were asked to end.
            mailbox.evict(stopping());
        }
        if !self.still_admitted(who).await? {
            return Err(PollError::Revoked);
        }
        // Nothing is awaited since that look, or a move meanwhile would be undone.
        engine.registry().set_group(&who.agent, &who.group);
        match state.epoch {
            Some(_) if was_present => return Ok(()),
            Some(epoch) => {
                engine.resume(&who.agent, mailbox, epoch);
            }
            None => state.epoch = engine.claim(&who.agent, mailbox).await?,
        }
        if let Some(facts) = self.early.take(&who.agent, self.now_ms()) {
            engine.facts(&who.agent, mailbox, facts).await?;
        }
        Ok(())
    }
}
