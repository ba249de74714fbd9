//! MQTT in WebSocket: the request that asks for it (RFC 6455 §4.2, MQTT 5 §6.0).
//!
//! Only the answer is made here. The connection itself goes back to the door behind it, and is parked there like any
//! other.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::problem::{Kind, Refusal};
use crate::transport::websocket::accept_key;

/// The only version there is (RFC 6455 §4.1).
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const MQTT: HeaderValue = HeaderValue::from_static("mqtt");

/// Promises a WebSocket, or says what is missing.
pub(super) async fn upgrade(headers: HeaderMap) -> Result<Response, Refusal> {
    if !names(&headers, &UPGRADE, "websocket") || !names(&headers, &CONNECTION, "upgrade") {
        return Err(Refusal::new(
            Kind::UpgradeRequired,
            "MQTT is spoken here in a WebSocket (RFC 6455) alone",
        ));
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(Refusal::new(Kind::UpgradeRequired, "Sec-WebSocket-Version must be 13"));
    }
    if !names(&headers, &SEC_WEBSOCKET_PROTOCOL, "mqtt") {
        return Err(Refusal::new(Kind::Malformed, "Sec-WebSocket-Protocol must offer `mqtt`"));
    }
    let accept = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| accept_key(key.as_bytes()));
    let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) else {
        return Err(Refusal::new(Kind::Malformed, "Sec-WebSocket-Key must be 16 bytes in Base64"));
    };
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let answer = response.headers_mut();
    answer.insert(UPGRADE, WEBSOCKET);
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer.insert(SEC_WEBSOCKET_PROTOCOL, MQTT);
    Ok(response)
}

/// Tells whether a header lists a word; its case does not matter.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}
