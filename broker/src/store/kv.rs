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
    /// When agents were last seen, and what they told of themselves, by key.
    Seen,
    /// Groups by path, with the number of agents in each subtree.
    Groups,
    /// The agents of each group, by path and key.
    Members,
    /// Whom a secret belongs to, by its hash.
    Secrets,
    /// Operators by name.
    Operators,
    /// Enrolment tokens by hash.
    Tokens,
    /// Who used a token, by the hashes of token and secret.
    Uses,
    /// When tokens are forgotten, by that time and their hashes.
    TokenForget,
    /// Commands for single agents by id.
    Commands,
    /// Pending commands by agent, priority and sequence number.
    Inbox,
    /// Commands for groups by id.
    Records,
    /// Live commands for groups by path, priority and sequence number.
    Live,
    /// What became of commands for groups at single agents, by id and the agent's key.
    Outcomes,
    /// How many agents are in each state, as far as [`Table::Outcomes`] has them, by id.
    Counts,
    /// Pending commands by the time at which they expire.
    Expiry,
    /// All commands by the time at which they are forgotten.
    Forget,
    /// Pending commands that end when no connection carries them any more, by id, and by agent where they are for
    /// a group.
    Loose,
    /// The audit trail by number.
    Audit,
    /// Pending `power` commands by sequence number, with their agents.
    Power,
}

impl Table {
    /// All tables, each at the place of its number.
    pub(super) const ALL: [Self; 21] = [
        Self::Meta,
        Self::Agents,
        Self::Seen,
        Self::Groups,
        Self::Members,
        Self::Secrets,
        Self::Operators,
        Self::Tokens,
        Self::Uses,
        Self::TokenForget,
        Self::Commands,
        Self::Inbox,
        Self::Records,
        Self::Live,
        Self::Outcomes,
        Self::Counts,
        Self::Expiry,
        Self::Forget,
        Self::Loose,
        Self::Audit,
        Self::Power,
    ];

    /// Returns the name under which the table is kept.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Agents => "agents",
            Self::Seen => "seen",
            Self::Groups => "groups",
            Self::Members => "members",
            Self::Secrets => "secrets",
            Self::Operators => "operators",
            Self::Tokens => "tokens",
            Self::Uses => "uses",
            Self::TokenForget => "token_forget",
            Self::Commands => "commands",
            Self::Inbox => "inbox",
            Self::Records => "records",
            Self::Live => "live",
            Self::Outcomes => "outcomes",
            Self::Counts => "counts",
            Self::Expiry => "expiry",
            Self::Forget => "forget",
            Self::Loose => "loose",
            Self::Audit => "audit",
            Self::Power => "power",
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
