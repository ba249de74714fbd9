//! A poll that only tries whether the network bears its heartbeat: beside the agent's live way, whatever that is.

use std::future::poll_fn;
use std::sync::Arc;

use wakemq_protocol::http::PollAnswer;
use wakemq_protocol::{AgentId, Transport};

use super::{Asking, PollError, Polls};
use crate::registry::Mailbox;
use crate::transport::timers::TimerId;

/// What a trial has in the registry and in the wheel.
struct Entry<'a> {
    polls: &'a Polls,
    agent: AgentId,
    mailbox: Arc<Mailbox>,
    timer: TimerId,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let registry = self.polls.engine.registry();
        registry.trial_leaves(&self.agent, self.mailbox.id());
        registry.close(&self.mailbox);
        self.polls.timers.cancel(self.timer, self.mailbox.id());
    }
}

impl Polls {
    /// Answers a trial: `idle` when its heartbeat is over, unless a newer one, a revocation or the broker's end comes
    /// first.
    pub(super) async fn try_heartbeat(
        &self,
        mut who: Asking,
        heartbeat_secs: u32,
    ) -> Result<PollAnswer, PollError> {
        let registry = self.engine.registry();
        let mailbox = registry.open(who.address, Transport::Poll);
        let until_ms = self.now_ms() + 1000 * u64::from(heartbeat_secs);
        registry.trial_arrives(&who.agent, &mailbox);
        let timer = self.timers.arm(mailbox.id(), until_ms);
        let entry = Entry { polls: self, agent: who.agent.clone(), mailbox, timer };
        if *self.draining.borrow() {
            return Ok(self.retry());
        }
        if !self.still_admitted(&mut who).await? {
            return Err(PollError::Revoked);
        }
        loop {
            let mail = poll_fn(|cx| entry.mailbox.poll(cx)).await;
            if let Some(end) = mail.evicted {
                return self.evicted(&end);
            }
            if self.now_ms() >= until_ms {
                return Ok(PollAnswer::Idle);
            }
        }
    }
}
