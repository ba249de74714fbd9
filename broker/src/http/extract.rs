//! What a handler takes out of a request, every failure being a problem document.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use wakemq_protocol::limits::PAYLOAD_MAX;

use super::problem::{Kind, Refusal};
use super::{Peer, Shared};
use crate::door::Stranger;
use crate::engine::{Answer, Caller, Operator};
use crate::store::Principal;

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// The operator whose secret the request carries, and from where. What it may do is looked up where it is done.
pub(super) struct Asking(pub(super) Caller);

impl FromRequestParts<Shared> for Asking {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Err(Refusal::new(
                Kind::Unauthenticated,
                "send the operator's secret as `Authorization: Bearer wmo_…`",
            ));
        };
        let wrong = || Refusal::new(Kind::WrongSecret, "no operator has this secret");
        let peer: Option<Peer> = parts.extensions.get().copied();
        let principal = match header.to_str().ok().and_then(bearer) {
            Some(presented) => shared.engine.authenticate(presented).await?,
            None => None,
        };
        let Some(principal) = principal else {
            return Err(refuse_secret(shared, peer, wrong()).await);
        };
        let Some(Operator { name, .. }) = Operator::from_principal(principal) else {
            let text = "this is the secret of an agent; an operator's is needed";
            return Err(Refusal::new(Kind::NotAllowed, text));
        };
        is_known(parts);
        Ok(Self(Caller { name, address: peer.map(|Peer(address)| address) }))
    }
}

/// The agent whose secret the request carries.
pub(super) struct AskingAgent(pub(super) crate::polls::Asking);

impl FromRequestParts<Shared> for AskingAgent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Err(Refusal::new(
                Kind::NoAgentSecret,
                "send the agent's secret as `Authorization: Bearer wma_…`",
            ));
        };
        let peer: Option<Peer> = parts.extensions.get().copied();
        let presented = header.to_str().ok().and_then(bearer);
        let revocations = shared.engine.revocations();
        let principal = match presented {
            Some(presented) => shared.engine.authenticate(presented).await?,
            None => None,
        };
        match principal {
            Some(Principal::Agent { agent, group }) => {
                // Only what did not come over a connection has no peer.
                let address = peer.map_or_else(|| ([0; 4], 0).into(), |Peer(address)| address);
                let presented = presented.unwrap_or_default().to_owned();
                is_known(parts);
                Ok(Self(crate::polls::Asking { agent, group, presented, revocations, address }))
            }
            Some(Principal::Operator { .. }) => {
                let text = "this is the secret of an operator; an agent's is needed";
                Err(Refusal::new(Kind::NotAllowed, text))
            }
            None => {
                let wrong = Refusal::new(Kind::WrongSecret, "no agent has this secret");
                Err(refuse_secret(shared, peer, wrong).await)
            }
        }
    }
}

/// Notes that the connection of a request has said who it is.
fn is_known(parts: &Parts) {
    // What did not come over a connection has none.
    if let Some(stranger) = parts.extensions.get::<Stranger>() {
        stranger.is_known();
    }
}

/// Refuses a secret, later and later for an address that gives many wrong ones.
pub(super) async fn refuse_secret(shared: &Shared, peer: Option<Peer>, refusal: Refusal) -> Refusal {
    // Only what did not come over a connection has no peer.
    let Some(Peer(peer)) = peer else { return refusal };
    match shared.engine.wrong_secret(peer.ip(), &shared.draining).await {
        Answer::Refuse => refusal,
        Answer::Withhold => Refusal::new(
            Kind::Throttled,
            "too many wrong secrets come from this address; come back with the right one",
        ),
    }
}

/// Takes the token out of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// An id in the path; what cannot be one names nothing that exists.
pub(super) struct Id<T>(pub(super) T);

impl<T> FromRequestParts<Shared> for Id<T>
where
    T: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let text = match Path::<String>::from_request_parts(parts, shared).await {
            Ok(Path(text)) => text,
            // A route without a variable: `/v1/agents/import` also stands for an agent called so.
            Err(_) => parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned(),
        };
        text.parse().map(Self).map_err(|error: T::Err| Refusal::new(Kind::NotFound, error.to_string()))
    }
}

/// What stands behind the `?`.
pub(super) struct Options<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Options<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let Query(options) = Query::<T>::from_request_parts(parts, shared)
            .await
            .map_err(|rejection| Refusal::new(Kind::Invalid, rejection.body_text()))?;
        Ok(Self(options))
    }
}

/// The bytes of a JSON document of at most 60 KiB, for who reads it by the rules of MQTT's payloads.
pub(super) struct Document(pub(super) Vec<u8>);

impl FromRequest<Shared> for Document {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refusal> {
        check_content(request.headers(), &["application/json"], PAYLOAD_MAX)?;
        let body = tokio::time::timeout(BODY_LIMIT, collect(request.into_body(), PAYLOAD_MAX))
            .await
            .map_err(|_| too_slow())??;
        Ok(Self(body))
    }
}

/// A JSON document of at most 60 KiB.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        let Document(body) = Document::from_request(request, shared).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let kind = Kind::of_json(&error);
            Refusal::new(kind, format!("the body is not what is expected here: {error}"))
        })
    }
}

/// Refuses a body by its headers, before a byte of it is read.
pub(super) fn check_content(headers: &HeaderMap, types: &[&str], max: usize) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !types.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        let detail = format!("the content type must be {}", types.join(" or "));
        return Err(Refusal::new(Kind::MediaType, detail));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max as u64) {
        return Err(too_large(max));
    }
    Ok(())
}

pub(super) fn too_large(max: usize) -> Refusal {
    Refusal::new(Kind::TooLarge, format!("at most {max} bytes are allowed here"))
}

pub(super) fn too_slow() -> Refusal {
    Refusal::new(Kind::TooSlow, format!("the body must arrive within {} s", BODY_LIMIT.as_secs()))
}

async fn collect(mut body: Body, max: usize) -> Result<Vec<u8>, Refusal> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::new(Kind::Malformed, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > max {
            return Err(too_large(max));
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected)
}
