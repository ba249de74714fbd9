//! The way by which an agent reaches its broker, and what it found out about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How agent and broker speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// MQTT over TLS.
    Mqtt,
    /// MQTT in a WebSocket over HTTPS.
    WebSocket,
    /// Long poll over HTTPS.
    Poll,
}

/// Says that a word names no [`Transport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a transport; expected mqtt, websocket or poll")]
pub struct ParseTransportError;

impl Transport {
    /// Every transport, the best first.
    pub const ALL: [Self; 3] = [Self::Mqtt, Self::WebSocket, Self::Poll];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::WebSocket => "websocket",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = ParseTransportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|transport| transport.as_str() == text).ok_or(ParseTransportError)
    }
}

/// The way by which an agent came, as it tells it with its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// How it speaks.
    pub transport: Transport,
    /// Which host and port it was told to reach.
    pub endpoint: String,
    /// The proxy that it goes through, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Who issued the broker's certificate, if the agent trusts it only because of an extra CA: a proxy that opens TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercepted_by: Option<String>,
    /// How long the connection may stay quiet, in seconds.
    pub heartbeat: u32,
    /// Whether nothing longer is tried for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// Better ways, and why each led nowhere when it was last tried; at most [`BETTER_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub better: Vec<FailedWay>,
}

/// Most better ways that are told.
pub const BETTER_MAX: usize = 6;
/// Longest text of why a way led nowhere, in bytes.
pub const PROBLEM_MAX: usize = 200;

/// A way that led nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWay {
    /// The way, as it is printed: `mqtt broker.example:8883`, through a proxy with ` proxied` behind it.
    pub way: String,
    /// Why.
    pub problem: String,
}
