//! How the program ends.

use std::process::ExitCode;

/// The exit codes, which `--help` documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well; `run` was asked to end.
    Ok = 0,
    /// Something failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The broker cannot be reached.
    Unreachable = 3,
    /// The broker does not allow it.
    NotAllowed = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
    /// It was told already, as what the program was asked for.
    is_told: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: Some(hint.into()), exit, is_told: false }
    }

    /// Ends the program so, though all was said on standard output.
    pub(crate) fn told(exit: Exit, error: anyhow::Error) -> Self {
        Self { error, hint: None, exit, is_told: true }
    }

    pub(crate) fn print(&self) {
        if self.is_told {
            return;
        }
        eprintln!("error: {:#}", self.error);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), hint: None, exit: Exit::Failed, is_told: false }
    }
}
