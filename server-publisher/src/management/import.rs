//! The answer to an import: JSON lines, as they come.

use bytes::{Bytes, BytesMut};
use wakemq_link::http::Streamed;
use wakemq_protocol::http::ImportResult;

use super::LINE_MAX;
use crate::ApiError;

/// The answer to an import, as it comes.
#[derive(Debug)]
pub struct Import<'a> {
    answer: Streamed<'a>,
    lines: Lines,
    missing: usize,
}

impl<'a> Import<'a> {
    pub(super) fn new(answer: Streamed<'a>, lines: usize) -> Self {
        Self { answer, lines: Lines::default(), missing: lines }
    }

    /// Returns the next result; `None` after as many as there were lines. Line numbers begin with 1 at each
    /// import.
    ///
    /// # Errors
    /// After an error it is unknown which of the agents without a result exist.
    pub async fn next(&mut self) -> Result<Option<ImportResult>, ApiError> {
        loop {
            if let Some(line) = self.lines.take()? {
                self.missing =
                    self.missing.checked_sub(1).ok_or(ApiError::Incomplete("more results than lines"))?;
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.answer.chunk().await? {
                Some(piece) => self.lines.feed(&piece),
                None if self.missing == 0 && self.lines.is_empty() => return Ok(None),
                None => return Err(ApiError::Incomplete("fewer results than lines")),
            }
        }
    }
}

/// Splits what comes in pieces into lines.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
    /// How much of the buffer has no end of line.
    searched: usize,
}

impl Lines {
    fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next whole line, without its end; empty ones are skipped.
    fn take(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
            let Some(at) = found else {
                self.searched = self.buffer.len();
                if self.searched > LINE_MAX {
                    return Err(ApiError::Incomplete("a line without an end"));
                }
                return Ok(None);
            };
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            let line = line.slice(..line.len() - 1);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let text = b"one\n\ntwo\r\n \nthree\n";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.feed(piece);
                while let Some(line) = lines.take().unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            assert_eq!(found, ["one", "two\r", "three"], "{size}");
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_endless_memory() {
        let mut lines = Lines::default();
        lines.feed(&[b'x'; LINE_MAX]);
        assert!(lines.take().unwrap().is_none());
        lines.feed(b"x");
        assert!(lines.take().is_err());
    }
}
