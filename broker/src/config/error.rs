//! Why a configuration was not taken.

use std::io;
use std::path::{Path, PathBuf};

/// Says why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or value is wrong.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn at(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        Self::wrong(path, text, start, error.message().trim_end().replace('\n', ", "))
    }

    /// Makes an error about the value of a key that is in the text.
    pub(super) fn at_key(path: &Path, text: &str, key: &str, message: String) -> Self {
        let (mut start, mut end) = (0, 0);
        for line in text.split_inclusive('\n') {
            let indented = line.len() - line.trim_start().len();
            if line.trim_start().starts_with(key) {
                start = end + indented;
            }
            end += line.len();
        }
        Self::wrong(path, text, start, message)
    }

    fn wrong(path: &Path, text: &str, start: usize, message: String) -> Self {
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Wrong {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    }
}
