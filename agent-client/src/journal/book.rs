//! What the journal says, in memory.

use std::collections::{BTreeMap, HashSet};

use wakemq_protocol::{Command, CommandId, Kind, Receipt};

use super::record::Record;

/// The commands that the agent remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book {
    entries: BTreeMap<CommandId, Entry>,
    next_order: u64,
    pending: usize,
    unconfirmed: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    until: i64,
    order: u64,
    stage: Stage,
}

/// Boxed, because most of what is remembered is nothing but an id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Pending(Box<Command>),
    Ended(Box<Receipt>),
    Confirmed,
}

impl Book {
    /// Applies a record; one that does not fit what is known changes nothing.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { command, until } => {
                let id = command.id;
                self.insert(id, until, Stage::Pending(Box::new(command)));
            }
            Record::Ended { receipt, until } => match self.entries.get_mut(&receipt.id) {
                Some(entry) => {
                    if matches!(entry.stage, Stage::Pending(_)) {
                        entry.stage = Stage::Ended(Box::new(receipt));
                        self.pending -= 1;
                        self.unconfirmed += 1;
                    }
                }
                None => {
                    if let Some(until) = until {
                        self.insert(receipt.id, until, Stage::Ended(Box::new(receipt)));
                    }
                }
            },
            Record::Confirmed { id } => {
                if let Some(entry) = self.entries.get_mut(&id)
                    && matches!(entry.stage, Stage::Ended(_))
                {
                    entry.stage = Stage::Confirmed;
                    self.unconfirmed -= 1;
                }
            }
            Record::Known { id, until } => self.insert(id, until, Stage::Confirmed),
        }
    }

    fn insert(&mut self, id: CommandId, until: i64, stage: Stage) {
        let (pending, ended) = (matches!(stage, Stage::Pending(_)), matches!(stage, Stage::Ended(_)));
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.entries.entry(id) {
            vacant.insert(Entry { until, order: self.next_order, stage });
            self.next_order += 1;
            self.pending += usize::from(pending);
            self.unconfirmed += usize::from(ended);
        }
    }

    /// Forgets the ids whose time is over.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.entries.retain(|_, entry| !matches!(entry.stage, Stage::Confirmed) || entry.until >= now_ms);
    }

    /// Returns how many commands are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many commands have no result.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending
    }

    /// Returns how many relay jobs have no result, but for those.
    pub(crate) fn pending_relays(&self, but_for: &HashSet<CommandId>) -> usize {
        let is_relay = |(id, entry): &(&CommandId, &Entry)| match &entry.stage {
            Stage::Pending(command) => command.kind == Kind::Relay && !but_for.contains(id),
            Stage::Ended(_) | Stage::Confirmed => false,
        };
        self.entries.iter().filter(is_relay).count()
    }

    /// Returns how many receipts the broker does not have.
    pub(crate) fn unconfirmed_count(&self) -> usize {
        self.unconfirmed
    }

    /// Tells whether the id is remembered.
    pub(crate) fn knows(&self, id: &CommandId) -> bool {
        self.entries.contains_key(id)
    }

    /// Tells whether the command has no result.
    pub(crate) fn is_pending(&self, id: &CommandId) -> bool {
        self.entries.get(id).is_some_and(|entry| matches!(entry.stage, Stage::Pending(_)))
    }

    fn in_order(&self) -> Vec<(&CommandId, &Entry)> {
        let mut all: Vec<_> = self.entries.iter().collect();
        all.sort_by_key(|(_, entry)| entry.order);
        all
    }

    /// Returns the commands without a result, as they came.
    pub(crate) fn pending(&self) -> Vec<Command> {
        let command = |(_, entry): (_, &Entry)| match &entry.stage {
            Stage::Pending(command) => Some((**command).clone()),
            Stage::Ended(_) | Stage::Confirmed => None,
        };
        self.in_order().into_iter().filter_map(command).collect()
    }

    /// Returns the receipts that the broker does not have, in the order of their commands.
    pub(crate) fn unconfirmed(&self) -> Vec<Receipt> {
        let receipt = |(_, entry): (_, &Entry)| match &entry.stage {
            Stage::Ended(receipt) => Some((**receipt).clone()),
            Stage::Pending(_) | Stage::Confirmed => None,
        };
        self.in_order().into_iter().filter_map(receipt).collect()
    }

    /// Returns the shortest records that make the same book.
    pub(crate) fn records(&self) -> Vec<Record> {
        let record = |(id, entry): (&CommandId, &Entry)| match &entry.stage {
            Stage::Pending(command) => Record::Accepted { command: (**command).clone(), until: entry.until },
            Stage::Ended(receipt) => Record::Ended { receipt: (**receipt).clone(), until: Some(entry.until) },
            Stage::Confirmed => Record::Known { id: *id, until: entry.until },
        };
        self.in_order().into_iter().map(record).collect()
    }
}
