//! Errors as problem documents (RFC 9457).

use axum::http::header::{
    CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wakemq_protocol::http::Problem;

use crate::engine::EngineError;
use crate::polls::{PollError, PostError};
use crate::store::StoreError;

/// What a client is told to wait, in seconds, before it asks a broker again that could not serve it.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

/// The longest that a refusal of a wrong secret is delayed.
const THROTTLED_SECS: HeaderValue = HeaderValue::from_static("30");

const NO_SECRET: HeaderValue = HeaderValue::from_static("Bearer realm=\"wakemq\"");
const WRONG_SECRET: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"wakemq\", error=\"invalid_token\"");

/// Every kind of refusal; each has one status, one stable name and one title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    Unauthenticated,
    NoAgentSecret,
    WrongSecret,
    NotAllowed,
    TokenUnknown,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    Exists,
    InUse,
    LastAdmin,
    IdConflict,
    NotConnected,
    TokenExpired,
    TokenUsedUp,
    TooLarge,
    MediaType,
    Invalid,
    UpgradeRequired,
    Throttled,
    ClonedIdentity,
    TooManyPosts,
    Quota,
    Busy,
    Draining,
    Unavailable,
}

impl Kind {
    /// Returns what is wrong with a body: its form, or a value.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => Self::Invalid,
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => Self::Malformed,
        }
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "An operator's secret is needed")
            }
            Self::NoAgentSecret => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "An agent's secret is needed")
            }
            Self::WrongSecret => (StatusCode::UNAUTHORIZED, "wrong-secret", "The secret is not valid"),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "not-allowed", "This is not allowed"),
            Self::TokenUnknown => {
                (StatusCode::FORBIDDEN, "token-unknown", "The enrolment token is not valid")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not know this method")
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request took too long to arrive"),
            Self::Exists => (StatusCode::CONFLICT, "exists", "It exists already"),
            Self::InUse => (StatusCode::CONFLICT, "in-use", "It is in use"),
            Self::LastAdmin => {
                (StatusCode::CONFLICT, "last-admin", "Nobody could administer the broker any more")
            }
            Self::IdConflict => (StatusCode::CONFLICT, "id-conflict", "The id stands for another command"),
            Self::NotConnected => (StatusCode::CONFLICT, "not-connected", "The agent is not connected"),
            Self::TokenExpired => (StatusCode::GONE, "token-expired", "The enrolment token has expired"),
            Self::TokenUsedUp => (StatusCode::GONE, "token-used-up", "The enrolment token is used up"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The content type is not supported")
            }
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not allowed"),
            Self::UpgradeRequired => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade-required", "Another protocol is spoken here")
            }
            Self::Throttled => {
                (StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many wrong secrets come from here")
            }
            Self::ClonedIdentity => {
                (StatusCode::TOO_MANY_REQUESTS, "cloned-identity", "Another machine uses this identity")
            }
            Self::TooManyPosts => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-posts", "Too many posts of this agent wait already")
            }
            Self::Quota => (StatusCode::TOO_MANY_REQUESTS, "quota", "Too many commands wait already"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Another import is running"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", "The broker is shutting down"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The broker cannot serve this now")
            }
        }
    }
}

/// A request that was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    detail: String,
    /// When to come back, if that is not the same for all of its kind.
    retry_secs: Option<u32>,
}

impl Refusal {
    /// Makes a refusal; `detail` says what is wrong here and what to do.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_secs: None }
    }

    fn problem(&self) -> Problem {
        let (status, name, title) = self.kind.parts();
        Problem {
            kind: format!("urn:wakemq:problem:{name}"),
            title: title.into(),
            status: status.as_u16(),
            detail: self.detail.clone(),
        }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let kind = match error {
            EngineError::NotAllowed(_) => Kind::NotAllowed,
            EngineError::UnknownCommand(_)
            | EngineError::UnknownAgent(_)
            | EngineError::UnknownGroup(_)
            | EngineError::UnknownOperator(_)
            | EngineError::UnknownToken(_) => Kind::NotFound,
            EngineError::Exists(_) | EngineError::GroupExists(_) => Kind::Exists,
            EngineError::InUse { .. } => Kind::InUse,
            EngineError::LastAdmin(_) => Kind::LastAdmin,
            EngineError::IdConflict(_) => Kind::IdConflict,
            EngineError::NotConnected(_) => Kind::NotConnected,
            EngineError::Full(_) => Kind::Quota,
            EngineError::TokenUnknown => Kind::TokenUnknown,
            EngineError::TokenExpired => Kind::TokenExpired,
            EngineError::TokenUsedUp => Kind::TokenUsedUp,
            EngineError::Invalid(_) => Kind::Invalid,
            EngineError::Random => {
                tracing::error!(%error, "a request could not be carried out");
                Kind::Unavailable
            }
            EngineError::Store(error) => return error.into(),
        };
        let about_token = matches!(kind, Kind::TokenUnknown | Kind::TokenExpired | Kind::TokenUsedUp);
        let next = if about_token { "; ask an administrator for a new one" } else { "" };
        Self::new(kind, format!("{error}{next}"))
    }
}

impl From<PollError> for Refusal {
    fn from(error: PollError) -> Self {
        match error {
            PollError::Revoked => Self::new(Kind::WrongSecret, error.to_string()),
            PollError::Cloned { secs } => {
                Self { retry_secs: Some(secs), ..Self::new(Kind::ClonedIdentity, error.to_string()) }
            }
            PollError::Store(error) => error.into(),
        }
    }
}

impl From<PostError> for Refusal {
    fn from(error: PostError) -> Self {
        match error {
            PostError::TooMany => Self::new(Kind::TooManyPosts, error.to_string()),
            PostError::Revoked => Self::new(Kind::WrongSecret, error.to_string()),
            PostError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    /// Tells the log everything, and the client, who need not be authenticated, only that it is not its fault.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request could not be carried out");
        Self::new(Kind::Unavailable, "the store cannot be written or read; nothing is lost by trying again")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let body = wakemq_protocol::to_json(&self.problem());
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // RFC 9110 §11.6.1: each 401 says how; RFC 6750 §3.1: `error` only if a secret was given.
        if status == StatusCode::UNAUTHORIZED {
            let given = self.kind == Kind::WrongSecret;
            let challenge = if given { WRONG_SECRET } else { NO_SECRET };
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.kind == Kind::UpgradeRequired {
            // RFC 9110 §15.5.22, RFC 6455 §4.2.2.
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.kind == Kind::Throttled {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            headers.insert(RETRY_AFTER, THROTTLED_SECS);
        }
        if let Some(secs) = self.retry_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || self.kind == Kind::TooManyPosts {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }
}
