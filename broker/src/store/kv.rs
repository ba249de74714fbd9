//! The small key-value shape that the semantics are written over: tables of bytes to bytes, read in order.

use super::StoreError;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// The tables; their keys are made in [`super::rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The record format and the last sequence number.
    Meta,
    /// Agents by key.
    Agents,
    /// Whom a secret belongs to, by its hash.
    Secrets,
    /// Operators by name.
    Operators,
    /// Enrolment tokens by hash.
    Tokens,
    /// Who used a token, by the hashes of token and secret.
    Uses,
    /// Commands by id.
    Commands,
    /// Pending commands by agent, priority and sequence number.
    Inbox,
    /// Pending commands by the time at which they expire.
    Expiry,
    /// All commands by the time at which they are forgotten.
    Forget,
    /// Pending commands that end when no connection carries them any more, by id.
    Loose,
}

impl Table {
    /// All tables, each at the place of its number.
    pub(super) const ALL: [Self; 11] = [
        Self::Meta,
        Self::Agents,
        Self::Secrets,
        Self::Operators,
        Self::Tokens,
        Self::Uses,
        Self::Commands,
        Self::Inbox,
        Self::Expiry,
        Self::Forget,
        Self::Loose,
    ];

    /// Returns the name under which the table is kept.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Agents => "agents",
            Self::Secrets => "secrets",
            Self::Operators => "operators",
            Self::Tokens => "tokens",
            Self::Uses => "uses",
            Self::Commands => "commands",
            Self::Inbox => "inbox",
            Self::Expiry => "expiry",
            Self::Forget => "forget",
            Self::Loose => "loose",
        }
    }
}

/// Reads one consistent state.
pub(super) trait ReadKv {
    /// Returns the value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the pairs from `from` to before `to` in order of their keys, at most `max`.
    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError>;
}

/// Changes a state that nobody else sees before it is committed.
pub(super) trait WriteKv: ReadKv {
    /// Sets the value of a key.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a key, if it is there.
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
}

/// Returns the smallest key that is greater than `key`, to go on reading after it.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
