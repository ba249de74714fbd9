//! Standard output is data, standard error everything else.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// Standard output. Once its reader has gone (`wakemq … | head`), what is written is dropped without a word.
pub(crate) struct Out {
    writer: BufWriter<Stdout>,
    closed: bool,
}

impl Out {
    pub(crate) fn stdout() -> Self {
        Self { writer: BufWriter::new(io::stdout()), closed: false }
    }

    /// Tells whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.attempt(|writer| {
            writer.write_all(line.as_bytes())?;
            writer.write_all(b"\n")
        })
    }

    /// Writes an object as one line of JSON.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(object)
            .map_err(|error| Failure::local(error.into(), "report this as a bug of wakemq"))?;
        self.line(&line)
    }

    /// Makes what was written visible.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.attempt(BufWriter::flush)
    }

    fn attempt(
        &mut self,
        write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.writer) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::local(
                anyhow::Error::new(error).context("cannot write to standard output"),
                "see whether the disk behind it is full",
            )),
        }
    }
}

/// Writes a line to standard error. Where that is closed too, there is nobody left to tell.
pub(crate) fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

/// Writes an error that does not end the program.
pub(crate) fn complain(line: &str) {
    say(&format!("error: {line}"));
}

/// Writes what to do next.
pub(crate) fn hint(line: &str) {
    say(&format!("hint: {line}"));
}

/// Tells whether a person watches standard error.
pub(crate) fn stderr_is_watched() -> bool {
    io::stderr().is_terminal()
}
