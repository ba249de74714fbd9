//! Secrets: 256 random bits in base64url behind a prefix that names what they open.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ParseIdError;

/// What a secret opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// `wma_`: one agent's password.
    Agent,
    /// `wmo_`: one operator's password.
    Operator,
    /// `wme_`: an enrolment token.
    Enrolment,
}

impl SecretKind {
    /// Returns the prefix with which such a secret begins.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "wma_",
            Self::Operator => "wmo_",
            Self::Enrolment => "wme_",
        }
    }
}

/// A secret in clear; `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret {
    kind: SecretKind,
    text: Box<str>,
}

impl Secret {
    /// Makes a secret of 256 random bits.
    pub fn from_random(kind: SecretKind, random: &[u8; 32]) -> Self {
        Self { kind, text: format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(random)).into() }
    }

    /// Returns what the secret opens.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// Returns the secret itself: for the wire and for the file that keeps it, never for a log.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl FromStr for Secret {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let kind = [SecretKind::Agent, SecretKind::Operator, SecretKind::Enrolment]
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
            .ok_or(ParseIdError::new("secret", "it does not begin with wma_, wmo_ or wme_"))?;
        match URL_SAFE_NO_PAD.decode(&text[kind.prefix().len()..]) {
            Ok(bits) if bits.len() == 32 => Ok(Self { kind, text: text.into() }),
            _ => Err(ParseIdError::new("secret", "it is not 256 bits in base64url; was it cut off?")),
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.text.into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.kind.prefix())
    }
}

/// The SHA-256 of a secret's text, by which it is stored and found; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl FromStr for SecretHash {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        const WHY: ParseIdError = ParseIdError::new("SHA-256", "it is not 64 lower-case hexadecimal digits");
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(WHY),
        };
        if text.len() != 64 {
            return Err(WHY);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for SecretHash {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.to_string()
    }
}
