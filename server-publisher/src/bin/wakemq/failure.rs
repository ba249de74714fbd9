//! What ends the program: an exit code, what went wrong, and what to do next.

use std::fmt;

use wakemq_publisher::{ApiError, ConnectError, ProfileError, SetupError, SubmitError};

use crate::exit::ExitCode;

/// An error with its exit code and its hint.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) error: anyhow::Error,
    pub(crate) hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nhint: {}", causes(&self.error), self.hint)
    }
}

/// Prints an error and its causes, each once: some errors name their cause themselves.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // The broker's words are among them.
    crate::text::plain(&text).into_owned()
}

impl Failure {
    /// Makes a failure of a kind.
    pub(crate) fn new(code: ExitCode, error: anyhow::Error, hint: impl Into<String>) -> Self {
        Self { code, error, hint: hint.into() }
    }

    /// Makes a failure of this machine, not of the broker.
    pub(crate) fn local(error: anyhow::Error, hint: impl Into<String>) -> Self {
        Self::new(ExitCode::SomeNot, error, hint)
    }

    /// Makes a failure of the command line.
    pub(crate) fn usage(error: anyhow::Error, hint: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, error, hint)
    }
}

const HINT_REACH: &str =
    "see that wakemqd runs, and that the profile's endpoints and the firewall lead to it";
const HINT_RIGHTS: &str = "an admin can give this operator the right, or use the profile of another operator";

/// There is neither `--profile` nor `WAKEMQ_PROFILE`.
pub(crate) fn no_profile() -> Failure {
    Failure::usage(
        anyhow::anyhow!("no profile: it says where the broker is and who you are"),
        "give --profile FILE or set WAKEMQ_PROFILE; `wakemqd init --data DIR` writes one to DIR/operator.toml",
    )
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let hint = match &error {
            ProfileError::Missing(_) => {
                "`wakemqd init --data DIR` writes a profile to DIR/operator.toml; copy it here".to_owned()
            }
            ProfileError::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            ProfileError::Read { .. } => "the file must be readable to you, and to you alone".to_owned(),
            ProfileError::Exists(_) => "give another file by --out".to_owned(),
            ProfileError::Write { .. } => {
                "see the directory and the disk; if the operator was created, revoke it and create it anew"
                    .to_owned()
            }
            ProfileError::Invalid { .. } => {
                "compare it with DIR/operator.toml as `wakemqd init --data DIR` writes it".to_owned()
            }
        };
        Self::usage(error.into(), hint)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let hint = match &error {
            SetupError::Endpoint(_) => "endpoints in the profile are HOST or HOST:PORT",
            SetupError::Trust(_) => "put the broker's CA (DIR/ca.pem) into the profile as `ca`",
            SetupError::NoRandomness => "see that /dev/urandom exists",
        };
        Self::usage(error.into(), hint)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        if let ConnectError::Setup(error) = error {
            return error.into();
        }
        let (code, hint) = if let ConnectError::Subscription { .. } = &error {
            let code = if error.is_not_allowed() { ExitCode::NotAllowed } else { ExitCode::SomeNot };
            (code, "the broker's log says more; is it as new as this wakemq?")
        } else if error.is_not_allowed() {
            (ExitCode::NotAllowed, HINT_CREDENTIALS)
        } else if error.is_certificate() {
            (ExitCode::Unreachable, HINT_CERTIFICATE)
        } else {
            (ExitCode::Unreachable, HINT_REACH)
        };
        Self::new(code, error.into(), hint)
    }
}

const HINT_CREDENTIALS: &str = "give a profile as `wakemqd init` or `wakemq operators create` wrote it; an admin may \
                                have revoked this operator";
const HINT_CERTIFICATE: &str = "the profile's `ca` must be the broker's DIR/ca.pem, and its endpoints names that \
                                the broker's certificate has (`wakemqd init --host NAME`)";

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        use wakemq_link::http::HttpError;
        let certificate = matches!(&error, ApiError::Http(HttpError::Dial(dial)) if dial.is_certificate());
        let (code, hint) = match error.status() {
            Some(401) => (ExitCode::NotAllowed, HINT_CREDENTIALS),
            Some(403) => (ExitCode::NotAllowed, HINT_RIGHTS),
            Some(404) => (ExitCode::SomeNot, "see the spelling; `wakemq agents list` shows all agents"),
            Some(409 | 422) => (ExitCode::SomeNot, "change what the broker names, and try again"),
            Some(429) => (ExitCode::SomeNot, "wait a few minutes, and try again"),
            _ if error.is_busy() => (ExitCode::SomeNot, "wait until the other import has ended"),
            _ if certificate => (ExitCode::Unreachable, HINT_CERTIFICATE),
            _ if error.is_unreachable() => (ExitCode::Unreachable, HINT_REACH),
            _ => (ExitCode::SomeNot, "the broker's log says more"),
        };
        Self::new(code, error.into(), hint)
    }
}

/// Makes a failure of what the broker did not find, or did not do because of something else, with advice of its
/// own.
pub(crate) fn with_advice(error: ApiError, not_found: &str, conflict: &str) -> Failure {
    let advice = match error.status() {
        Some(404) => Some(not_found),
        Some(409 | 422) => Some(conflict),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let Some(advice) = advice {
        failure.hint = advice.to_owned();
    }
    failure
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let (code, hint) = (code_of(&error), hint_for(&error));
        Self::new(code, error.into(), hint)
    }
}

/// Returns the exit code of a command that was not accepted.
pub(crate) fn code_of(error: &SubmitError) -> ExitCode {
    if error.is_not_allowed() {
        ExitCode::NotAllowed
    } else if error.is_unreachable() {
        ExitCode::Unreachable
    } else {
        ExitCode::SomeNot
    }
}

/// Returns what to do about a command that was not accepted.
pub(crate) fn hint_for(error: &SubmitError) -> &'static str {
    match error {
        SubmitError::NotAllowed(_) => HINT_RIGHTS,
        SubmitError::BadPayload(_) | SubmitError::Invalid(_) => {
            "see `wakemq wake --help` for what is allowed"
        }
        SubmitError::Quota(_) => "wait until some were taken, or `wakemq cancel` what is no longer needed",
        SubmitError::IdConflict(_) => "submit again: a new id is chosen each time",
        SubmitError::Refused { .. } => {
            "`wakemq agents list` and `wakemq groups list` show what there is; the broker's log says more"
        }
        SubmitError::Unreachable(_) => HINT_REACH,
        SubmitError::TimedOut => {
            "give more time by --timeout; `wakemq show ID` tells what became of a command"
        }
        SubmitError::Closed => "try again",
        SubmitError::NoRandomness => "see that /dev/urandom exists",
    }
}
