//! What can go wrong, one enum for each boundary.

use wakemq_link::http::HttpError;
use wakemq_link::mqtt::{ConnectError as SessionConnectError, ReasonCode, SessionError};
use wakemq_link::{DialError, ParseEndpointError, TrustError};
use wakemq_protocol::SubmissionError;
use wakemq_protocol::http::Problem;

/// Says why a publisher cannot be set up from its profile.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An endpoint of the profile is none.
    #[error("the profile's endpoints cannot be used: {0}")]
    Endpoint(#[from] ParseEndpointError),
    /// There is nobody to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// Says why there is no connection to the broker.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The profile cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No endpoint led to a TLS connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The broker refused the session.
    #[error(transparent)]
    Session(#[from] SessionConnectError),
    /// The connection ended before the subscriptions were granted.
    #[error(transparent)]
    Lost(#[from] SessionError),
    /// The broker refused a subscription: to the operator's own responses, or to events.
    #[error("the broker refused the subscription: {code}{}", behind_colon(.reason))]
    Subscription {
        /// Why.
        code: ReasonCode,
        /// The broker's words.
        reason: Option<String>,
    },
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0} s")]
    TimedOut(u64),
}

/// Prints the broker's words behind a colon.
fn behind_colon(reason: &Option<String>) -> String {
    reason.as_ref().map_or_else(String::new, |words| format!(": {words}"))
}

impl ConnectError {
    /// Tells whether operator or secret are wrong, or not enough.
    pub fn is_not_allowed(&self) -> bool {
        match self {
            Self::Session(error) => error.is_not_allowed(),
            Self::Subscription { code, .. } => *code == ReasonCode::NOT_AUTHORIZED,
            Self::Setup(_) | Self::Dial(_) | Self::Lost(_) | Self::TimedOut(_) => false,
        }
    }

    /// Tells whether the same attempt may succeed later without a person's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Session(error) => error.is_retryable(),
            Self::Dial(_) | Self::Lost(_) | Self::TimedOut(_) => true,
            Self::Setup(_) | Self::Subscription { .. } => false,
        }
    }

    /// Tells whether some address was reached whose certificate was not accepted.
    pub fn is_certificate(&self) -> bool {
        matches!(self, Self::Dial(error) if error.is_certificate())
    }
}

/// Says why a command was not accepted, or can no longer be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The operator may not command this agent or group, or may not command at all (0x87).
    #[error("not allowed{}", behind_colon(.0))]
    NotAllowed(Option<String>),
    /// The broker does not take the command as it is written (0x99).
    #[error("the broker does not take the command{}", behind_colon(.0))]
    BadPayload(Option<String>),
    /// Too much is pending for the agent or group (0x97).
    #[error("too many commands are pending{}", behind_colon(.0))]
    Quota(Option<String>),
    /// Another command has this id.
    #[error("another command has this id{}", behind_colon(.0))]
    IdConflict(Option<String>),
    /// The broker refused the command for another reason (0x83 and others).
    #[error("the broker refused the command: {}", .reason.clone().unwrap_or_else(|| .code.to_string()))]
    Refused {
        /// The reason code.
        code: ReasonCode,
        /// The broker's words.
        reason: Option<String>,
    },
    /// The command breaks a limit, so it was not sent.
    #[error("{0}")]
    Invalid(String),
    /// The broker cannot be reached; a command that was on its way may or may not have been accepted.
    #[error("{0}")]
    Unreachable(String),
    /// The wait ended first; a command that was on its way may or may not have been accepted.
    #[error("no answer in time")]
    TimedOut,
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
    /// The operating system gives no random numbers, so there is no id.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl SubmitError {
    /// Makes the error that a refusing PUBACK stands for.
    pub(crate) fn from_puback(code: ReasonCode, reason: Option<String>) -> Self {
        match code {
            ReasonCode::NOT_AUTHORIZED => Self::NotAllowed(reason),
            ReasonCode::PAYLOAD_INVALID => Self::BadPayload(reason),
            ReasonCode::QUOTA_EXCEEDED => Self::Quota(reason),
            _ if reason.as_ref().is_some_and(|words| words.contains("id_conflict")) => {
                Self::IdConflict(reason)
            }
            code => Self::Refused { code, reason },
        }
    }

    /// Tells whether the operator lacks a right.
    pub fn is_not_allowed(&self) -> bool {
        matches!(self, Self::NotAllowed(_))
    }

    /// Tells whether the broker could not be reached.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Tells whether submitting the same command again, by the same id, may succeed without a person's help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Quota(_) | Self::Unreachable(_) | Self::TimedOut)
    }
}

impl From<SubmissionError> for SubmitError {
    fn from(error: SubmissionError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Says why a request to the management interface failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The broker refused it, and says why; the detail says all that the title does.
    #[error("{}", if .0.detail.is_empty() { &.0.title } else { &.0.detail })]
    Problem(Problem),
    /// The broker answered with a status and no problem document.
    #[error("the broker answered with HTTP status {0}")]
    Status(u16),
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is not what it must be.
    #[error("the broker's answer cannot be understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The answer ends too early or has too much.
    #[error("the broker's answer is not complete: {0}")]
    Incomplete(&'static str),
}

impl ApiError {
    /// Returns the HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Status(status) => Some(*status),
            Self::Http(_) | Self::Answer(_) | Self::Incomplete(_) => None,
        }
    }

    /// Tells whether the secret is wrong, or the operator's rights do not suffice.
    pub fn is_not_allowed(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Tells whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Tells whether the broker does the like for somebody else just now; it works again when that has ended.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind == "urn:wakemq:problem:busy")
    }

    /// Tells whether the broker could not be reached, or cannot serve now.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Http(error) => match error {
                HttpError::Dial(_) | HttpError::Http(_) | HttpError::Closed | HttpError::TimedOut(_) => true,
                HttpError::Request(_) | HttpError::TooLarge(_) => false,
            },
            Self::Status(status) => *status == 503,
            Self::Problem(problem) => problem.status == 503 && !self.is_busy(),
            Self::Answer(_) | Self::Incomplete(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_error() {
        let words = || Some("words".to_owned());
        let of = |code| SubmitError::from_puback(ReasonCode(code), words());
        assert_eq!(of(0x87), SubmitError::NotAllowed(words()));
        assert_eq!(of(0x99), SubmitError::BadPayload(words()));
        assert_eq!(of(0x97), SubmitError::Quota(words()));
        assert_eq!(of(0x83).to_string(), "the broker refused the command: words");
        let conflict = SubmitError::from_puback(ReasonCode(0x83), Some("id_conflict: taken".into()));
        assert!(matches!(conflict, SubmitError::IdConflict(_)));
        assert!(of(0x87).is_not_allowed() && !of(0x83).is_not_allowed());
        assert!(of(0x97).is_retryable() && !of(0x99).is_retryable());
    }

    #[test]
    fn a_refusal_without_words_names_its_code() {
        let error = SubmitError::from_puback(ReasonCode(0x83), None);
        assert_eq!(error.to_string(), "the broker refused the command: implementation specific error (0x83)");
        assert_eq!(SubmitError::NotAllowed(None).to_string(), "not allowed");
    }
}
