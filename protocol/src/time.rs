//! Points in time on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ParseIdError;

/// A point in time in milliseconds since 1970, in UTC; RFC 3339 as text, with a fraction only if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last millisecond of the year 9999, the latest that RFC 3339 can write.
    const MAX_MS: i64 = 253_402_300_799_999;

    /// Makes a timestamp of milliseconds since 1970; what RFC 3339 cannot write becomes the nearest it can.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(0, Self::MAX_MS))
    }

    /// Returns the milliseconds since 1970.
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// Returns the same time without its fraction of a second.
    pub fn whole_secs(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .map_err(|_| fmt::Error)?;
        f.write_str(&time.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Timestamp {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            ParseIdError::new("time", "it is not of the form 2026-11-22T01:00:00Z (RFC 3339)")
        })?;
        let ms = i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(-1);
        if !(0..=Self::MAX_MS).contains(&ms) {
            return Err(ParseIdError::new("time", "it is not between 1970 and 9999"));
        }
        Ok(Self(ms))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}
