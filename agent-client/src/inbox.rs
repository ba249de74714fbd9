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
}

impl Inbox {
    /// Takes over a journal; what it holds without a result is given out, a `relay` excepted.
    pub(crate) async fn start(
        journal: Journal,
        commands: mpsc::Sender<Command>,
        journalled: watch::Sender<u64>,
    ) -> Self {
        let mut inbox = Self {
            journal,
            commands,
            waiting: VecDeque::new(),
            results: VecDeque::new(),
            taken: 0,
            journalled,
            error: None,
            retry_at: None,
        };
        for command in inbox.journal.book().pending() {
            if command.kind == Kind::Relay {
                let why = "the agent stopped before the relay was finished".to_owned();
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
        let mut accepted = HashSet::new();
        let mut handed_out = Vec::new();
        for (pkid, arrival) in &self.waiting {
            let (id, record) = match arrival {
                Arrival::Garbage => {
                    flushed.acks.push(*pkid);
                    continue;
                }
                Arrival::Unknown(id) => (*id, unreadable(*id, now)),
                Arrival::Command(command) => (command.id, answer(command, now)),
            };
            if !self.journal.book().knows(&id) && accepted.insert(id) {
                // No room: this one waits, and what came after it too, for acknowledgements keep their order.
                if unconfirmed >= RECEIPTS_MAX {
                    break;
                }
                match &record {
                    Record::Accepted { .. } if pending >= JOURNAL_MAX => break,
                    Record::Accepted { command, .. } => {
                        pending += 1;
                        handed_out.push(command.clone());
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

/// Makes the record with which a command begins: accepted, or refused at once.
fn answer(command: &Command, now: Timestamp) -> Record {
    let until = until(command.ttl, now);
    match &command.kind {
        Kind::Wake => Record::Accepted { command: command.clone(), until },
        kind @ (Kind::Power | Kind::Relay | Kind::Other(_)) => {
            let why = format!("this agent does not know the kind {kind}");
            Record::Ended { receipt: receipt(command, ReceiptState::Refused, Some(why)), until: Some(until) }
        }
    }
}

fn unreadable(id: CommandId, now: Timestamp) -> Record {
    let detail = Some("this agent cannot read the command".to_owned());
    let receipt = Receipt { id, state: ReceiptState::Refused, detail };
    Record::Ended { receipt, until: Some(until(wakemq_protocol::limits::TTL_MAX_SECS, now)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn payload(n: u8, kind: &str) -> Vec<u8> {
        let id = CommandId::from_parts(u64::from(n), &[n; 10]);
        serde_json::to_vec(&serde_json::json!({
            "id": id, "kind": kind, "slot": null, "ttl": 60, "priority": "normal",
            "reason": null, "issued": "2026-11-22T01:00:00Z", "by": "op:a"
        }))
        .unwrap()
    }

    fn command(n: u8) -> Command {
        serde_json::from_slice(&payload(n, "wake")).unwrap()
    }

    async fn open(path: &Path) -> (Inbox, mpsc::Receiver<Command>) {
        let (commands, given) = mpsc::channel(JOURNAL_MAX);
        (
            Inbox::start(Journal::open(path, clock::now()).unwrap(), commands, watch::Sender::new(0)).await,
            given,
        )
    }

    fn given(commands: &mut mpsc::Receiver<Command>) -> Vec<CommandId> {
        std::iter::from_fn(|| commands.try_recv().ok()).map(|command| command.id).collect()
    }

    #[tokio::test]
    async fn a_command_is_acknowledged_once_it_is_in_the_journal_and_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut inbox, mut commands) = open(&path).await;
        inbox.arrived(7, &payload(1, "wake"));
        inbox.arrived(8, &payload(1, "wake"));
        assert_eq!(inbox.flush().await.acks, [7, 8]);
        assert_eq!(given(&mut commands), [command(1).id]);
        // Killed here: the next start gives it out again, and a redelivery is acknowledged and not run.
        let (mut inbox, mut commands) = open(&path).await;
        assert_eq!(given(&mut commands), [command(1).id]);
        inbox.arrived(1, &payload(1, "wake"));
        assert_eq!(inbox.flush().await.acks, [1]);
        assert!(given(&mut commands).is_empty());
        // With a result it is not run again, but its receipt is sent until it is confirmed.
        let done = receipt(&command(1), ReceiptState::Done, None);
        inbox.ended(done.clone());
        inbox.ended(done.clone());
        assert_eq!(inbox.flush().await.receipts, std::slice::from_ref(&done));
        let (mut inbox, mut commands) = open(&path).await;
        assert!(given(&mut commands).is_empty());
        assert_eq!(inbox.unconfirmed(), [done]);
        inbox.confirmed(command(1).id).await;
        assert!(open(&path).await.0.unconfirmed().is_empty());
    }

    #[tokio::test]
    async fn other_kinds_are_refused_and_garbage_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let (mut inbox, mut commands) = open(&dir.path().join("journal")).await;
        inbox.arrived(1, &payload(1, "power"));
        inbox.arrived(2, &payload(2, "dance"));
        inbox.arrived(3, b"no json");
        inbox.arrived(4, format!("{{\"id\":\"{}\"}}", command(4).id).as_bytes());
        let flushed = inbox.flush().await;
        assert_eq!(flushed.acks, [1, 2, 3, 4]);
        assert!(flushed.receipts.iter().all(|receipt| receipt.state == ReceiptState::Refused));
        assert_eq!(flushed.receipts.len(), 3);
        assert!(given(&mut commands).is_empty());
    }

    #[tokio::test]
    async fn a_relay_that_a_killed_agent_left_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let relay: Command = serde_json::from_slice(&payload(1, "relay")).unwrap();
        let mut journal = Journal::open(&path, clock::now()).unwrap();
        let record = Record::Accepted { command: relay, until: i64::MAX };
        journal.write(vec![record], clock::now()).await.unwrap();
        let (inbox, mut commands) = open(&path).await;
        assert!(given(&mut commands).is_empty());
        assert_eq!(inbox.unconfirmed()[0].state, ReceiptState::Failed);
    }

    #[tokio::test]
    async fn a_full_journal_withholds_acknowledgements_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (mut inbox, _commands) = open(&dir.path().join("journal")).await;
        let id = |n: u16| CommandId::from_parts(n.into(), &[1; 10]);
        let arrive = |inbox: &mut Inbox, n: u16, kind: &str| {
            let mut value: serde_json::Value = serde_json::from_slice(&payload(1, kind)).unwrap();
            value["id"] = serde_json::to_value(id(n)).unwrap();
            inbox.arrived(n, &serde_json::to_vec(&value).unwrap());
        };
        let max = u16::try_from(JOURNAL_MAX).unwrap();
        (1..=max + 1).for_each(|n| arrive(&mut inbox, n, "wake"));
        arrive(&mut inbox, max + 2, "power");
        assert_eq!(inbox.flush().await.acks.len(), JOURNAL_MAX);
        assert!(inbox.flush().await.acks.is_empty());
        inbox.ended(Receipt { id: id(5), state: ReceiptState::Done, detail: None });
        // The room that the result makes is given to what waits, in the same write.
        assert_eq!(inbox.flush().await.acks, [max + 1, max + 2]);
    }

    #[tokio::test]
    async fn receipts_that_nobody_takes_withhold_acknowledgements() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut inbox, _commands) = open(&path).await;
        let id = |n: u16| CommandId::from_parts(n.into(), &[1; 10]);
        let arrive = |inbox: &mut Inbox, n: u16, kind: &str| {
            let mut value: serde_json::Value = serde_json::from_slice(&payload(1, kind)).unwrap();
            value["id"] = serde_json::to_value(id(n)).unwrap();
            inbox.arrived(n, &serde_json::to_vec(&value).unwrap());
        };
        let max = u16::try_from(RECEIPTS_MAX).unwrap();
        arrive(&mut inbox, 1, "wake");
        assert_eq!(inbox.flush().await.acks, [1]);
        (2..=max + 1).for_each(|n| arrive(&mut inbox, n, "power"));
        arrive(&mut inbox, max + 2, "wake");
        assert_eq!(inbox.flush().await.acks.len(), RECEIPTS_MAX);
        // What was accepted before gets its result all the same, and it makes no room.
        inbox.ended(Receipt { id: id(1), state: ReceiptState::Done, detail: None });
        assert!(inbox.flush().await.acks.is_empty());
        assert_eq!(inbox.unconfirmed().len(), RECEIPTS_MAX + 1);
        inbox.confirmed(id(1)).await;
        assert!(inbox.is_waiting() && inbox.flush().await.acks.is_empty());
        // After a restart it is no different.
        let (mut inbox, _commands) = open(&path).await;
        arrive(&mut inbox, max + 2, "wake");
        assert!(inbox.flush().await.acks.is_empty());
        inbox.confirmed(id(9)).await;
        assert_eq!(inbox.flush().await.acks, [max + 2]);
        assert!(!inbox.is_waiting());
    }

    #[tokio::test]
    async fn without_a_journal_nothing_is_acknowledged_or_lost() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("state");
        std::fs::create_dir(&place).unwrap();
        let (mut inbox, mut commands) = open(&place.join("journal")).await;
        inbox.journal.break_for_test();
        std::fs::remove_dir_all(&place).unwrap();
        inbox.arrived(1, &payload(1, "wake"));
        assert!(inbox.flush().await.acks.is_empty());
        assert!(inbox.error().is_some_and(|error| error.contains("journal")));
        assert!(inbox.retry_at().is_some() && given(&mut commands).is_empty());
        std::fs::create_dir(&place).unwrap();
        assert_eq!(inbox.flush().await.acks, [1]);
        assert!(inbox.error().is_none() && inbox.retry_at().is_none());
        assert_eq!(given(&mut commands).len(), 1);
    }
}
