//! The journal: what the agent has accepted, and what became of it, durable before anybody is told.

mod book;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wakemq_protocol::{CommandId, Timestamp};

pub(crate) use book::Book;
pub(crate) use record::Record;
use record::{HEADER, decode, encode};

use crate::{StateDir, sys};

/// A journal is written anew when this many lines, and four for each command remembered, were appended.
const LINES_BEFORE_COMPACTION: usize = 512;

/// Says why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the journal {path}: {source}")]
    Io {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else than a journal, or was changed.
    #[error(
        "the journal {path} is damaged in line {line}: {why}; \
         it is left as it is, because it may hold commands that were acknowledged"
    )]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A journal and what it says.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// `None` after a failed write, when nobody knows what the file holds: it is then written anew.
    file: Option<File>,
    appended: usize,
    book: Book,
    /// Held while anything may be written, a write that nobody awaits any more included.
    lock: Option<StateDir>,
}

impl Journal {
    /// Opens a journal, or makes an empty one. A torn last line is cut off.
    pub(crate) fn open(path: &Path, now: Timestamp) -> Result<Self, JournalError> {
        let at = |source| JournalError::Io { path: path.to_owned(), source };
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                sys::replace_file(path, HEADER).map_err(at)?;
                HEADER.to_vec()
            }
            other => other.map_err(at)?,
        };
        let decoded = decode(&bytes).map_err(|(line, why)| JournalError::Damaged {
            path: path.to_owned(),
            line,
            why,
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(at)?;
        if decoded.good < bytes.len() {
            tracing::warn!(
                path = %path.display(),
                bytes = bytes.len() - decoded.good,
                "the journal's last line was not written to its end; it is cut off"
            );
            file.set_len(decoded.good as u64).and_then(|()| file.sync_all()).map_err(at)?;
        }
        let mut book = Book::default();
        let appended = decoded.records.len();
        decoded.records.into_iter().for_each(|record| book.apply(record));
        book.forget(now.unix_ms());
        Ok(Self { path: path.to_owned(), file: Some(file), appended, book, lock: None })
    }

    /// Keeps other agents out for as long as this one may write, which a task that was dropped may still do.
    pub(crate) fn locked_by(self, state: StateDir) -> Self {
        Self { lock: Some(state), ..self }
    }

    /// Returns what the journal says.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Writes records, durably and as one; after an error the journal says what it said before.
    pub(crate) async fn write(&mut self, records: Vec<Record>, now: Timestamp) -> Result<(), JournalError> {
        let result = self.write_file(&records, now, true).await;
        if result.is_ok() {
            records.into_iter().for_each(|record| self.book.apply(record));
        }
        result
    }

    /// Notes that the broker has a receipt. Not flushed: if it is lost, the receipt is sent once more.
    pub(crate) async fn confirm(&mut self, id: CommandId, now: Timestamp) -> Result<(), JournalError> {
        let record = Record::Confirmed { id };
        let result = self.write_file(std::slice::from_ref(&record), now, false).await;
        self.book.apply(record);
        result
    }

    /// Makes the next write replace the file, as after a failed one.
    #[cfg(test)]
    pub(crate) fn break_for_test(&mut self) {
        self.file = None;
    }

    async fn write_file(
        &mut self,
        records: &[Record],
        now: Timestamp,
        flush: bool,
    ) -> Result<(), JournalError> {
        let mut content = Vec::new();
        let append = match self.file.take() {
            Some(file) if self.appended < LINES_BEFORE_COMPACTION + 4 * self.book.len() => {
                self.appended += records.len();
                encode(records, &mut content).map(|()| Some(file))
            }
            _ => {
                self.book.forget(now.unix_ms());
                let mut book = self.book.clone();
                records.iter().cloned().for_each(|record| book.apply(record));
                self.appended = 0;
                content.extend_from_slice(HEADER);
                encode(&book.records(), &mut content).map(|()| None)
            }
        };
        let (path, lock) = (self.path.clone(), self.lock.clone());
        let written = match append {
            // Flushing takes as long as the disk wants; the runtime has other things to do meanwhile.
            Ok(append) => tokio::task::spawn_blocking(move || {
                let written = write_blocking(&path, append, &content, flush);
                drop(lock);
                written
            })
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error))),
            Err(error) => Err(error),
        };
        match written {
            Ok(file) => {
                self.file = Some(file);
                Ok(())
            }
            Err(source) => Err(JournalError::Io { path: self.path.clone(), source }),
        }
    }
}

/// Appends to the file, or replaces it where there is none; returns the file to append to next.
fn write_blocking(path: &Path, append: Option<File>, content: &[u8], flush: bool) -> io::Result<File> {
    match append {
        Some(mut file) => {
            file.write_all(content)?;
            if flush {
                file.sync_data()?;
            }
            Ok(file)
        }
        None => {
            sys::replace_file(path, content)?;
            OpenOptions::new().append(true).open(path)
        }
    }
}
