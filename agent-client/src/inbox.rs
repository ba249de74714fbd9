//! From a command's arrival to its acknowledgement, and from its result to its receipt: the journal between.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wakemq_protocol::limits::{ID_MEMORY_SECS, JOURNAL_MAX};
use wakemq_protocol::{Command, CommandId, Kind, Receipt, ReceiptState, Timestamp};

use crate::clock;
use crate::incoming::receipt;
use crate::journal::{Journal, JournalError, Record};
use crate::relay;

/// How long to wait before a journal that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// With this many receipts that the broker does not have, nothing new is accepted: what the broker keeps refusing
/// must not fill the disk. What was accepted still gets its result.
const RECEIPTS_MAX: usize = 256;

/// Accepts commands and takes their results.
pub(crate) struct Inbox {
    journal: Journal,
    /// To the handlers. It has room for as many commands as the journal.
    commands: mpsc::Sender<Command>,
    /// What came and is not acknowledged, in order: until the journal can be written and has room.
    waiting: VecDeque<(u16, Arrival)>,
    /// Results that are not in the journal yet; at most as many as commands without a result.
    results: VecDeque<Receipt>,
    /// How many results were taken from handlers.
    taken: u64,
    /// How many of them are in the journal.
    journalled: watch::Sender<u64>,
    /// Relay jobs are taken.
    relay: bool,
    error: Option<JournalError>,
    retry_at: Option<Instant>,
}

/// What a payload turned out to be.
#[derive(Debug)]
enum Arrival {
    Command(Box<Command>),
    /// No command, but there is an id to refuse.
    Unknown(CommandId),
    /// Nothing to answer; it is acknowledged so that it does not come again.
    Garbage,
}

/// What followed from writing the journal.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Packet ids to acknowledge, in this order.
    pub(crate) acks: Vec<u16>,
    /// Receipts to send.
    pub(crate) receipts: Vec<Receipt>,
    /// Relay jobs to begin.
    pub(crate) relays: Vec<Command>,
}

impl Inbox {
    /// Takes over a journal; what it holds without a result is given out, a `relay` excepted.
    pub(crate) async fn start(
        journal: Journal,
        commands: mpsc::Sender<Command>,
        journalled: watch::Sender<u64>,
        relay: bool,
    ) -> Self {
        let mut inbox = Self {
            journal,
            commands,
            waiting: VecDeque::new(),
            results: VecDeque::new(),
            taken: 0,
            journalled,
            relay,
            error: None,
            retry_at: None,
        };
        for command in inbox.journal.book().pending() {
            if command.kind == Kind::Relay {
                let why = "the agent ended before it was sent".to_owned();
                inbox.results.push_back(receipt(&command, ReceiptState::Failed, Some(why)));
            } else {
                inbox.hand_out(command);
            }
        }
        // Receipts of what is ended here go out with all others at the first connection.
        inbox.flush().await;
        inbox
    }

    /// Takes a message from the broker; [`flush`](Self::flush) says when to acknowledge it.
    pub(crate) fn arrived(&mut self, pkid: u16, payload: &[u8]) {
        self.waiting.push_back((pkid, parse(payload)));
    }

    /// Takes a result; [`flush`](Self::flush) says when to send it.
    pub(crate) fn ended(&mut self, receipt: Receipt) {
        self.taken += 1;
        self.results.push_back(receipt);
    }

    /// Takes the result of a relay job, which no handler gave.
    pub(crate) fn relayed(&mut self, receipt: Receipt) {
        self.results.push_back(receipt);
    }

    /// Forgets what was not acknowledged: the broker sends it again on the next connection.
    pub(crate) fn disconnected(&mut self) {
        self.waiting.clear();
    }

    /// Writes the journal as far as it takes. If it cannot be written, all stays as it was.
    pub(crate) async fn flush(&mut self) -> Flushed {
        let now = clock::now();
        let mut flushed = Flushed::default();
        let mut records = Vec::new();
        let mut ended = HashSet::new();
        for receipt in &self.results {
            if self.journal.book().is_pending(&receipt.id) && ended.insert(receipt.id) {
                records.push(Record::Ended { receipt: receipt.clone(), until: None });
                flushed.receipts.push(receipt.clone());
            }
        }
        let mut pending = self.journal.book().pending_count() - records.len();
        let mut unconfirmed = self.journal.book().unconfirmed_count() + records.len();
        let mut relaying = self.journal.book().pending_relays(&ended);
        let mut accepted = HashSet::new();
        let mut handed_out = Vec::new();
        for (pkid, arrival) in &self.waiting {
            let (id, record) = match arrival {
                Arrival::Garbage => {
                    flushed.acks.push(*pkid);
                    continue;
                }
                Arrival::Unknown(id) => (*id, unreadable(*id, now)),
                Arrival::Command(command) => (command.id, self.answer(command, relaying, now)),
            };
            if !self.journal.book().knows(&id) && accepted.insert(id) {
                // No room: this one waits, and what came after it too, for acknowledgements keep their order.
                if unconfirmed >= RECEIPTS_MAX {
                    break;
                }
                match &record {
                    Record::Accepted { .. } if pending >= JOURNAL_MAX => break,
                    Record::Accepted { command: kept, .. } => {
                        pending += 1;
                        if let Arrival::Command(command) = arrival
                            && kept.kind == Kind::Relay
                        {
                            relaying += 1;
                            flushed.relays.push((**command).clone());
                        } else {
                            handed_out.push(kept.clone());
                        }
                    }
                    Record::Ended { receipt, .. } => {
                        unconfirmed += 1;
                        flushed.receipts.push(receipt.clone());
                    }
                    Record::Confirmed { .. } | Record::Known { .. } => {}
                }
                records.push(record);
            }
            flushed.acks.push(*pkid);
        }
        if !records.is_empty() && !self.write(records, now).await {
            return Flushed::default();
        }
        self.results.clear();
        self.journalled.send_replace(self.taken);
        self.waiting.drain(..flushed.acks.len());
        handed_out.into_iter().for_each(|command| self.hand_out(command));
        flushed
    }

    /// Makes the record with which a command begins: accepted, or ended at once.
    fn answer(&self, command: &Command, relaying: usize, now: Timestamp) -> Record {
        let until = until(command.ttl, now);
        let ended =
            |state, why| Record::Ended { receipt: receipt(command, state, Some(why)), until: Some(until) };
        match &command.kind {
            Kind::Wake => Record::Accepted { command: command.clone(), until },
            Kind::Relay if !self.relay => {
                ended(ReceiptState::Refused, "this agent does not send packets for others".to_owned())
            }
            Kind::Relay => match command.relay.as_deref().map(relay::check) {
                None => {
                    ended(ReceiptState::Refused, "the relay command does not say what to send".to_owned())
                }
                Some(Err(why)) => ended(ReceiptState::Refused, why),
                Some(Ok(())) if relaying >= relay::JOBS_MAX => {
                    ended(ReceiptState::Failed, format!("{} relay jobs are running already", relay::JOBS_MAX))
                }
                // The password of the sleeper's adapter has no business on this machine's disk.
                Some(Ok(())) => {
                    Record::Accepted { command: Command { relay: None, ..command.clone() }, until }
                }
            },
            kind @ (Kind::Power | Kind::Other(_)) => {
                ended(ReceiptState::Refused, format!("this agent does not know the kind {kind}"))
            }
        }
    }

    async fn write(&mut self, records: Vec<Record>, now: Timestamp) -> bool {
        match self.journal.write(records, now).await {
            Ok(()) => {
                self.error = None;
                self.retry_at = None;
                true
            }
            Err(error) => {
                if self.error.is_none() {
                    tracing::error!(%error, "nothing is acknowledged until the journal can be written");
                }
                self.error = Some(error);
                self.retry_at = Some(Instant::now() + RETRY);
                false
            }
        }
    }

    fn hand_out(&self, command: Command) {
        // There is room for every command without a result; without a receiver the agent is being dropped.
        if let Err(error) = self.commands.try_send(command) {
            tracing::debug!(%error, "command not handed out");
        }
    }

    /// Notes that the broker has a receipt.
    pub(crate) async fn confirmed(&mut self, id: CommandId) {
        if let Err(error) = self.journal.confirm(id, clock::now()).await {
            tracing::warn!(%error, "the receipt is sent again after a restart");
        }
    }

    /// Tells whether something waits for room, which a confirmed receipt may make.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the receipts that the broker does not have.
    pub(crate) fn unconfirmed(&self) -> Vec<Receipt> {
        self.journal.book().unconfirmed()
    }

    /// Says why the journal cannot be written, if so.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.as_ref().map(ToString::to_string)
    }

    /// Says when [`flush`](Self::flush) is to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

fn parse(payload: &[u8]) -> Arrival {
    #[derive(Deserialize)]
    struct OnlyId {
        id: CommandId,
    }
    match serde_json::from_slice::<Command>(payload) {
        Ok(command) => Arrival::Command(Box::new(command)),
        Err(error) => {
            tracing::warn!(%error, "a command could not be read");
            serde_json::from_slice::<OnlyId>(payload)
                .map_or(Arrival::Garbage, |only| Arrival::Unknown(only.id))
        }
    }
}

/// Returns until when an id is remembered.
fn until(ttl_secs: u32, now: Timestamp) -> i64 {
    now.unix_ms() + 1000 * (i64::from(ttl_secs) + i64::from(ID_MEMORY_SECS))
}

fn unreadable(id: CommandId, now: Timestamp) -> Record {
    let detail = Some("this agent cannot read the command".to_owned());
    let receipt = Receipt { id, state: ReceiptState::Refused, detail };
    Record::Ended { receipt, until: Some(until(wakemq_protocol::limits::TTL_MAX_SECS, now)) }
}

#[cfg(test)]
mod tests;
