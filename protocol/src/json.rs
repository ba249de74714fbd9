//! What a JSON parser says, in bounds.

use std::fmt;

/// Longest text of a parser's error, in characters.
const TEXT_MAX: usize = 240;
/// How much of its end is kept: where in the payload it was.
const TAIL: usize = 40;

/// Shows a parser's error without the middle of what it quotes.
///
/// The parser quotes what it did not expect, however long that is; its text goes into Reason Strings, which MQTT
/// bounds, and into the record of a refused command.
pub(crate) struct Brief<'a>(pub(crate) &'a serde_json::Error);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let len = text.chars().count();
        if len <= TEXT_MAX {
            return f.write_str(&text);
        }
        text.chars().take(TEXT_MAX - TAIL).try_for_each(|c| write!(f, "{c}"))?;
        f.write_str(" … ")?;
        text.chars().skip(len - TAIL).try_for_each(|c| write!(f, "{c}"))
    }
}
