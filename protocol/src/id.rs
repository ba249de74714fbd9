//! Ids: parsed once at the edge, then carried as types of their own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::ID_LEN_MAX;

/// Says why a text is no id, slot, group or topic word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct ParseIdError {
    what: &'static str,
    why: &'static str,
}

impl ParseIdError {
    pub(crate) const fn new(what: &'static str, why: &'static str) -> Self {
        Self { what, why }
    }
}

/// Which letters a word may have.
#[derive(Clone, Copy)]
pub(crate) enum Alphabet {
    /// `A-Z a-z 0-9 . _ -`
    Mixed,
    /// `a-z 0-9 . _ -`
    Lower,
}

/// Checks one word: its length, its letters, and that it begins with a letter or digit.
pub(crate) fn check_word(
    text: &str,
    what: &'static str,
    max: usize,
    alphabet: Alphabet,
) -> Result<(), ParseIdError> {
    let letter = |c: u8| match alphabet {
        Alphabet::Mixed => c.is_ascii_alphanumeric(),
        Alphabet::Lower => c.is_ascii_lowercase() || c.is_ascii_digit(),
    };
    let why = match text.as_bytes() {
        [] => "it is empty",
        bytes if bytes.len() > max => "it is longer than 64 characters",
        [first, ..] if !letter(*first) => match alphabet {
            Alphabet::Mixed => "it must begin with a letter or digit",
            Alphabet::Lower => "it must begin with a lower-case letter or digit",
        },
        bytes if !bytes.iter().all(|&c| letter(c) || matches!(c, b'.' | b'_' | b'-')) => match alphabet {
            Alphabet::Mixed => "only A-Z a-z 0-9 . _ - are allowed",
            Alphabet::Lower => "only a-z 0-9 . _ - are allowed",
        },
        _ => return Ok(()),
    };
    Err(ParseIdError::new(what, why))
}

/// Gives a text newtype its parsing, printing and serde, all through `FromStr`.
macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// Returns the text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = crate::ParseIdError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                (*id.0).into()
            }
        }
    };
}
pub(crate) use text_newtype;

/// Names one endpoint.
///
/// 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter or digit. Two ids that differ only in case are equal,
/// hash alike and sort alike; the spelling is kept. A clone shares the text, because a broker holds each id of its
/// connected agents in several places.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(std::sync::Arc<str>);

text_newtype!(AgentId);

impl AgentId {
    /// Returns the form under which the id is stored and looked up: lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for AgentId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        check_word(text, "agent id", ID_LEN_MAX, Alphabet::Mixed)?;
        Ok(Self(text.into()))
    }
}

impl PartialEq for AgentId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for AgentId {}

impl Hash for AgentId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl PartialOrd for AgentId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AgentId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let lower = |c: u8| c.to_ascii_lowercase();
        self.0.bytes().map(lower).cmp(other.0.bytes().map(lower))
    }
}

/// Names a person or server that may command agents: 1 to 64 of `a-z 0-9 . _ -`, alphanumeric first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(Box<str>);

text_newtype!(OperatorName);

impl FromStr for OperatorName {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        check_word(text, "operator name", ID_LEN_MAX, Alphabet::Lower)?;
        Ok(Self(text.into()))
    }
}

/// Names one command: a UUID of version 7 (RFC 9562 §5.7), which its publisher may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId(Uuid);

impl CommandId {
    /// Makes an id from the time in milliseconds since 1970 and ten random bytes.
    pub fn from_parts(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// Returns the sixteen bytes, which sort by the time in them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Takes back what [`as_bytes`](Self::as_bytes) gave; other versions than 7 are refused.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, ParseIdError> {
        Self::checked(Uuid::from_bytes(bytes))
    }

    fn checked(uuid: Uuid) -> Result<Self, ParseIdError> {
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return Err(ParseIdError::new("command id", "it is not a UUID of version 7"));
        }
        Ok(Self(uuid))
    }
}

impl FromStr for CommandId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        // The hyphenated form alone, so that one id has one text (in either case, as RFC 9562 §4 demands).
        if text.len() != 36 {
            return Err(ParseIdError::new("command id", "it is not a UUID of the form 8-4-4-4-12"));
        }
        Uuid::try_parse(text)
            .map_err(|_| ParseIdError::new("command id", "it is not a UUID of the form 8-4-4-4-12"))
            .and_then(Self::checked)
    }
}

impl TryFrom<String> for CommandId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
