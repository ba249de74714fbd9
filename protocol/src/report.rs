//! Reports: what an agent tells a management server, in words of their own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::Brief;
use crate::limits::PAYLOAD_MAX;
use crate::to_json;

/// What an agent reports: a JSON object, whose meaning is between the agent and the management server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report(pub Map<String, Value>);

/// Says why a payload is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is above the limit, as it came or as it would be passed on.
    #[error("a report of {0} bytes; at most {PAYLOAD_MAX} are allowed")]
    TooLarge(usize),
    /// It is no JSON object.
    #[error("the payload is not a JSON object: {}", Brief(.0))]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Parses a payload and checks its limits.
    pub fn from_json(payload: &[u8]) -> Result<Self, ReportError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(ReportError::TooLarge(payload.len()));
        }
        let report: Self = serde_json::from_slice(payload)?;
        // `1e9` is passed on as `1000000000.0`.
        match to_json(&report).len() {
            0..=PAYLOAD_MAX => Ok(report),
            len => Err(ReportError::TooLarge(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_json_object_of_at_most_60_kib() {
        let report = Report::from_json(br#"{"disk":{"free":7}}"#).unwrap();
        assert_eq!(to_json(&report), br#"{"disk":{"free":7}}"#);
        for bad in ["", "7", "null", "[]", "\"a\"", "{\"a\":}", "{} {}", "\u{e9}"] {
            assert!(matches!(Report::from_json(bad.as_bytes()), Err(ReportError::Json(_))), "{bad}");
        }
        let of_len = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
        assert!(Report::from_json(of_len(PAYLOAD_MAX).as_bytes()).is_ok());
        let over = Report::from_json(of_len(PAYLOAD_MAX + 1).as_bytes());
        assert!(matches!(over, Err(ReportError::TooLarge(len)) if len == PAYLOAD_MAX + 1));
        let grows = format!("{{\"a\":[{}0]}}", "1e9,".repeat(10_000));
        assert!(matches!(Report::from_json(grows.as_bytes()), Err(ReportError::TooLarge(_))));
    }
}
