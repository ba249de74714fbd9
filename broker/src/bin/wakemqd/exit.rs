//! How the program ends: its exit codes, and what it says when something went wrong.

use std::process::ExitCode;

use wakemq_broker::config::ConfigError;
use wakemq_broker::init::InitError;
use wakemq_broker::store::StoreError;
use wakemq_broker::transport::socket::ListenError;

use crate::health::NotServing;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Ended in order.
    Ok = 0,
    /// Could not start or go on, or was ended before everything was over.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The data directory is missing, initialised already, in use or damaged.
    Data = 3,
}

impl Exit {
    const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Usage, Self::Data];

    fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ended in order",
            Self::Failed => "could not start or go on, or was ended before everything was over",
            Self::Usage => "the command line or the configuration is wrong",
            Self::Data => "the data directory is missing, initialised already, in use or damaged",
        }
    }

    /// Returns the table for the help.
    pub(crate) fn table() -> String {
        let rows: Vec<_> =
            Self::ALL.iter().map(|&code| format!("  {}  {}", code as u8, code.meaning())).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Tells what went wrong and what to do next, as far as that is known; returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    eprintln!("error: {error:#}");
    let (exit, hint) = advice(error);
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    exit
}

fn advice(error: &anyhow::Error) -> (Exit, Option<&'static str>) {
    if error.is::<NotServing>() {
        return (
            Exit::Failed,
            Some("its log says more; --data, --config and --listen must be those of `wakemqd run`"),
        );
    }
    for cause in error.chain() {
        if cause.is::<ConfigError>() {
            return (
                Exit::Usage,
                Some(
                    "every key is explained in wakemqd.example.toml; `wakemqd check-config FILE` checks a file",
                ),
            );
        }
        if let Some(error) = cause.downcast_ref::<InitError>() {
            return (Exit::Data, init_hint(error));
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return (Exit::Data, store_hint(error));
        }
        if let Some(error) = cause.downcast_ref::<ListenError>() {
            return (Exit::Failed, listen_hint(error));
        }
    }
    (Exit::Failed, None)
}

fn init_hint(error: &InitError) -> Option<&'static str> {
    match error {
        InitError::AlreadyInitialised(_) => {
            Some("start it with `wakemqd run --data DIR`, or choose another directory")
        }
        InitError::NotInitialised(_) => Some("make it with `wakemqd init --data DIR --host NAME`"),
        InitError::Unfinished(_) => Some("give `wakemqd init --data DIR` again: it goes on where it stopped"),
        InitError::Partial { .. } => {
            Some("restore what is missing from a backup, or move the rest away to begin anew")
        }
        InitError::InUse(_) => Some("wait until the other one has ended"),
        InitError::Store(error) => store_hint(error),
        InitError::Io { .. }
        | InitError::Certificate(_)
        | InitError::Profile(_)
        | InitError::Name(_)
        | InitError::Engine(_) => None,
    }
}

fn store_hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::InUse(_) => Some("another wakemqd runs on this directory; end it first"),
        StoreError::Damaged(_) => Some("the file was left as it is; restore the directory from a backup"),
        StoreError::Format { .. } => Some("run the version of wakemqd that wrote it"),
        StoreError::Missing(_) => Some("make it with `wakemqd init --data DIR --host NAME`"),
        StoreError::Io(_) => Some("look for a full disk, or one that was mounted read-only"),
        StoreError::Exists(_) | StoreError::Closed => None,
    }
}

fn listen_hint(error: &ListenError) -> Option<&'static str> {
    if error.is_in_use() {
        return Some("another program listens there; choose another address with --listen or --admin");
    }
    if error.is_denied() {
        return Some(
            "ports below 1024 need a right: `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the service's unit, or \
             choose other addresses with --listen",
        );
    }
    None
}
