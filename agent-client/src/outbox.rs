//! What the agent publishes on one connection: its facts, then receipts until they are confirmed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use wakemq_link::AnySession;
use wakemq_link::mqtt::{Outgoing, PublishError, ReasonCode, Token};
use wakemq_protocol::{AgentId, CommandId, Receipt, Topic, to_json};

use crate::facts::Source;

/// How long to wait before a receipt that the broker could not take is sent again.
const RETRY: Duration = Duration::from_secs(30);

/// What is published on one connection.
pub(crate) struct Outbox {
    facts_topic: String,
    receipts_topic: String,
    queue: VecDeque<Item>,
    in_flight: HashMap<Token, Item>,
    /// Receipts that the broker could not take, and when they are sent again.
    later: Vec<Receipt>,
    retry_at: Option<Instant>,
}

/// One message.
#[derive(Debug)]
enum Item {
    /// Read when they are sent, because the ages in them count from then.
    Facts,
    Receipt(Receipt),
    Progress(Receipt),
}

impl Outbox {
    /// Begins a connection: facts first, then every receipt that the broker does not have.
    pub(crate) fn new(agent: &AgentId, receipts: Vec<Receipt>) -> Self {
        let mut queue = VecDeque::from([Item::Facts]);
        queue.extend(receipts.into_iter().map(Item::Receipt));
        Self {
            facts_topic: Topic::AgentFacts(agent.clone()).to_string(),
            receipts_topic: Topic::AgentReceipts(agent.clone()).to_string(),
            queue,
            in_flight: HashMap::new(),
            later: Vec::new(),
            retry_at: None,
        }
    }

    /// Adds the facts, unless they are still to be sent.
    pub(crate) fn facts(&mut self) {
        if !self.has_facts() {
            self.queue.push_front(Item::Facts);
        }
    }

    /// Tells whether the facts are still to be sent.
    pub(crate) fn has_facts(&self) -> bool {
        self.queue.iter().any(|item| matches!(item, Item::Facts))
    }

    /// Adds receipts, which are in the journal already.
    pub(crate) fn receipts(&mut self, receipts: Vec<Receipt>) {
        self.queue.extend(receipts.into_iter().map(Item::Receipt));
    }

    /// Adds progress, unless something waits already: progress never delays a receipt.
    pub(crate) fn progress(&mut self, receipt: Receipt) {
        if self.queue.is_empty() {
            self.queue.push_back(Item::Progress(receipt));
        }
    }

    /// Publishes as much as there is room for. Returns receipts that can never be sent.
    pub(crate) fn pump<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &mut AnySession<S>,
        facts: &mut Source,
    ) -> Vec<CommandId> {
        let mut unsendable = Vec::new();
        while session.capacity() > 0 {
            let Some(item) = self.queue.pop_front() else { break };
            match session.publish(self.message(&item, facts)) {
                Ok(token) => {
                    self.in_flight.insert(token, item);
                }
                Err(PublishError::Full) => {
                    self.queue.push_front(item);
                    break;
                }
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Topic)) => {
                    tracing::warn!(%error, "not sent");
                    if let Item::Receipt(receipt) = item {
                        unsendable.push(receipt.id);
                    }
                }
            }
        }
        unsendable
    }

    fn message(&self, item: &Item, facts: &mut Source) -> Outgoing {
        let (topic, payload) = match item {
            Item::Facts => (&self.facts_topic, to_json(&facts.tell())),
            Item::Receipt(receipt) | Item::Progress(receipt) => (&self.receipts_topic, to_json(receipt)),
        };
        Outgoing { topic: topic.clone(), payload: payload.into(), ..Outgoing::default() }
    }

    /// Takes the broker's answer; returns the command whose receipt need not be sent again.
    pub(crate) fn published(
        &mut self,
        token: Token,
        code: ReasonCode,
        reason: Option<&str>,
    ) -> Option<CommandId> {
        let item = self.in_flight.remove(&token)?;
        let final_refusal = matches!(code, ReasonCode::NOT_AUTHORIZED | ReasonCode::PAYLOAD_INVALID);
        if !code.is_success() {
            tracing::warn!(%code, reason, "the broker did not take a message");
        }
        match item {
            Item::Receipt(receipt) if code.is_success() || final_refusal => Some(receipt.id),
            Item::Receipt(receipt) => {
                self.later.push(receipt);
                self.retry_at.get_or_insert(Instant::now() + RETRY);
                None
            }
            Item::Facts | Item::Progress(_) => None,
        }
    }

    /// Says when [`retry`](Self::retry) is to be called.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Queues again what the broker could not take.
    pub(crate) fn retry(&mut self) {
        self.retry_at = None;
        self.queue.extend(self.later.drain(..).map(Item::Receipt));
    }

    /// Tells whether nothing is left to send or to be answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }
}
