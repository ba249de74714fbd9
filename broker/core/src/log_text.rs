//! What may be said in a log.

use crate::packet::ReasonCode;

/// Words a refused publish for the log.
///
/// What a parser says of a bad payload may quote it, and payloads are not logged; the client gets the full text.
pub(crate) fn refused_publish(reason: ReasonCode, text: &str) -> String {
    if reason == ReasonCode::PayloadFormatInvalid {
        format!("refused a publish: {reason}")
    } else {
        format!("refused a publish: {text}")
    }
}
