//! Commands: as an operator publishes them, and as an agent gets them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::{Alphabet, check_word, text_newtype};
use crate::json::Brief;
use crate::limits::{PAYLOAD_MAX, REASON_MAX, SLOT_LEN_MAX, TTL_DEFAULT_SECS, TTL_MAX_SECS};
use crate::{AgentId, CommandId, GroupPath, ParseIdError, RelayJob, Timestamp};

/// What is asked of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// Come and synchronise; carries no data.
    Wake,
    /// Switch the endpoint on; carried out by the engine.
    Power,
    /// Send Wake-on-LAN packets on the agent's LAN; issued by the engine alone.
    Relay,
    /// A kind that this version does not know; a word of the slot alphabet.
    Other(Slot),
}

impl Kind {
    /// Returns the kind under which a submission is recorded that could not be read.
    pub fn unreadable() -> Self {
        Self::Other(Slot("unreadable".into()))
    }

    /// Returns the word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Wake => "wake",
            Self::Power => "power",
            Self::Relay => "relay",
            Self::Other(word) => word.as_str(),
        }
    }
}

impl FromStr for Kind {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Ok(match text {
            "wake" => Self::Wake,
            "power" => Self::Power,
            "relay" => Self::Relay,
            other => {
                check_word(other, "kind", SLOT_LEN_MAX, Alphabet::Lower)?;
                Self::Other(Slot(other.into()))
            }
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Kind {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().to_owned()
    }
}

/// Coalescing key: 1 to 64 of `a-z 0-9 . _ -`, alphanumeric first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot(Box<str>);

text_newtype!(Slot);

impl FromStr for Slot {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        check_word(text, "slot", SLOT_LEN_MAX, Alphabet::Lower)?;
        Ok(Self(text.into()))
    }
}

/// What a submission says of its slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum SlotChoice {
    /// Not said: the slot is named like the kind.
    #[default]
    Default,
    /// `null`: never coalesced.
    Never,
    /// A slot by name.
    Named(Slot),
}

/// For whom a command is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One agent.
    Agent(AgentId),
    /// All agents that are in this group's subtree when it is accepted; later joiners are not meant.
    Group(GroupPath),
}

impl From<AgentId> for Target {
    fn from(agent: AgentId) -> Self {
        Self::Agent(agent)
    }
}

impl From<&AgentId> for Target {
    fn from(agent: &AgentId) -> Self {
        Self::Agent(agent.clone())
    }
}

impl From<GroupPath> for Target {
    fn from(group: GroupPath) -> Self {
        Self::Group(group)
    }
}

impl From<&GroupPath> for Target {
    fn from(group: &GroupPath) -> Self {
        Self::Group(group.clone())
    }
}

/// Order within an inbox; earlier acceptance decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After all others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// A command as an operator publishes it: all but `kind` is optional, unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Chosen by the publisher, or by the broker where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// What is asked.
    pub kind: Kind,
    /// Coalescing key.
    #[serde(
        default,
        deserialize_with = "slot_choice",
        skip_serializing_if = "is_default_slot",
        serialize_with = "write_slot_choice"
    )]
    pub slot: SlotChoice,
    /// Time to live in seconds, at most 2,592,000; 0 means "only if connected now". Default 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Order within the inbox.
    #[serde(default)]
    pub priority: Priority,
    /// Said to the agent, in at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Says why a payload is no submission.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// Larger than 60 KiB.
    #[error("the payload has {0} bytes; at most {PAYLOAD_MAX} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not of the form of a submission.
    #[error("the payload is not a command: {}", Brief(.0))]
    Json(#[from] serde_json::Error),
    /// Longer than 30 days.
    #[error("ttl {0} is longer than {TTL_MAX_SECS} seconds (30 days)")]
    Ttl(u32),
    /// Longer than 1,024 bytes.
    #[error("the reason has {0} bytes; at most {REASON_MAX} are allowed")]
    Reason(usize),
}

impl Submission {
    /// Makes a submission of `kind` with every default.
    pub fn new(kind: Kind) -> Self {
        Self {
            id: None,
            kind,
            slot: SlotChoice::Default,
            ttl: None,
            priority: Priority::Normal,
            reason: None,
        }
    }

    /// Parses a payload and checks its limits.
    pub fn from_json(payload: &[u8]) -> Result<Self, SubmissionError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(SubmissionError::TooLarge(payload.len()));
        }
        let submission: Self = serde_json::from_slice(payload)?;
        submission.check()?;
        Ok(submission)
    }

    /// Checks the limits of a submission that came within something else.
    pub fn check(&self) -> Result<(), SubmissionError> {
        if let Some(ttl) = self.ttl.filter(|&ttl| ttl > TTL_MAX_SECS) {
            return Err(SubmissionError::Ttl(ttl));
        }
        if let Some(reason) = self.reason.as_ref().filter(|reason| reason.len() > REASON_MAX) {
            return Err(SubmissionError::Reason(reason.len()));
        }
        Ok(())
    }

    /// Returns the time to live in seconds; of `ttl` and an MQTT 5 message expiry the shorter counts.
    pub fn ttl_secs(&self, message_expiry: Option<u32>) -> u32 {
        let own = self.ttl.unwrap_or(TTL_DEFAULT_SECS);
        message_expiry.map_or(own, |expiry| expiry.min(own))
    }

    /// Returns the slot that the command takes; `None` if it is never coalesced.
    pub fn effective_slot(&self) -> Option<Slot> {
        match &self.slot {
            SlotChoice::Default => Some(Slot(self.kind.as_str().into())),
            SlotChoice::Never => None,
            SlotChoice::Named(slot) => Some(slot.clone()),
        }
    }
}

fn is_default_slot(choice: &SlotChoice) -> bool {
    *choice == SlotChoice::Default
}

fn slot_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SlotChoice, D::Error> {
    Ok(Option::<Slot>::deserialize(deserializer)?.map_or(SlotChoice::Never, SlotChoice::Named))
}

fn write_slot_choice<S: serde::Serializer>(choice: &SlotChoice, serializer: S) -> Result<S::Ok, S::Error> {
    match choice {
        SlotChoice::Named(slot) => slot.serialize(serializer),
        SlotChoice::Default | SlotChoice::Never => serializer.serialize_none(),
    }
}

/// A command as the agent gets it: every field is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names the command; an agent that sees it again does not run it again.
    pub id: CommandId,
    /// What is asked.
    pub kind: Kind,
    /// Coalescing key; `null` if never coalesced.
    pub slot: Option<Slot>,
    /// What remains of the time to live, in seconds.
    pub ttl: u32,
    /// Order within the inbox.
    pub priority: Priority,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When the broker accepted it.
    pub issued: Timestamp,
    /// Who published it, `op:` and the operator's name.
    pub by: String,
    /// What to send, for a `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Box<RelayJob>>,
}
