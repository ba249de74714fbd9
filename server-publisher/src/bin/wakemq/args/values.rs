//! Values on the command line, checked as the broker would.

use wakemq_protocol::limits::{REASON_MAX, TTL_MAX_SECS};
use wakemq_protocol::{GroupPath, Timestamp};

use crate::duration::{parse_secs, print_secs};

/// Since when the audit trail is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Before so many seconds.
    Ago(u32),
    /// A point in time.
    At(Timestamp),
}

/// Parses a duration, or a point in time.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    // Whoever writes a date wants to hear what is wrong with the date.
    if text.contains(['-', ':']) {
        return Err("expected a time such as 2026-11-22T01:00:00Z, or a duration such as 2h".to_owned());
    }
    parse_secs(text).map(Since::Ago)
}

/// Parses a group; the root is `/`, or nothing.
pub(super) fn parse_group(text: &str) -> Result<GroupPath, String> {
    if text == "/" {
        return Ok(GroupPath::root());
    }
    text.parse().map_err(|error: wakemq_protocol::ParseIdError| error.to_string())
}

/// Parses a group that is not the root.
pub(super) fn parse_group_below(text: &str) -> Result<GroupPath, String> {
    let group = parse_group(text)?;
    if group.is_root() { Err("the root is always there".to_owned()) } else { Ok(group) }
}

pub(super) fn parse_ttl(text: &str) -> Result<u32, String> {
    let secs = parse_secs(text)?;
    if secs > TTL_MAX_SECS {
        return Err(format!("a command waits at most {}", print_secs(TTL_MAX_SECS.into())));
    }
    Ok(secs)
}

/// Parses a duration that is not nothing.
pub(super) fn parse_some_secs(text: &str) -> Result<u32, String> {
    match parse_secs(text)? {
        0 => Err("it must be at least 1s".to_owned()),
        secs => Ok(secs),
    }
}

pub(super) fn parse_reason(text: &str) -> Result<String, String> {
    if text.len() > REASON_MAX {
        return Err(format!("it has {} bytes, at most {REASON_MAX} are allowed", text.len()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_so_long_ago() {
        assert_eq!(parse_since("2h"), Ok(Since::Ago(7_200)));
        let at = Timestamp::from_unix_ms(1_000);
        assert_eq!(parse_since("1970-01-01T00:00:01Z"), Ok(Since::At(at)));
        assert!(parse_since("2026-11-22").unwrap_err().contains("2026-11-22T01:00:00Z"));
        assert!(parse_since("yesterday").is_err());
    }

    #[test]
    fn the_root_has_two_spellings() {
        assert_eq!(parse_group("/"), Ok(GroupPath::root()));
        assert_eq!(parse_group(""), Ok(GroupPath::root()));
        assert!(parse_group("/paris").is_err());
        assert!(parse_group_below("/").is_err() && parse_group_below("paris").is_ok());
    }
}
