//! How a session begins: CONNECT and CONNACK.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{Connect, ConnectProperties, Login, Packet};
use tokio::io::{AsyncRead, AsyncWrite};
use wakemq_protocol::Secret;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, PACKET_MAX};

use super::event::{return_or_default, return_secs};
use super::wire::{Wire, connect_code, name};
use super::{ReasonCode, Session, SessionError};
use crate::Clock;
use crate::timer::Time;

/// How to begin a session.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Client id; empty lets the server assign one.
    pub client_id: String,
    /// User name.
    pub user_name: String,
    /// Password.
    pub password: Secret,
    /// How long the connection may stay quiet, in seconds; the server may say otherwise.
    pub keep_alive_secs: u16,
    /// Most unacknowledged messages that the server may send.
    pub receive_maximum: u16,
    /// Largest packet that the server may send, in bytes.
    pub maximum_packet_size: u32,
    /// User properties of CONNECT.
    pub user_properties: Vec<(String, String)>,
    /// Time limit from CONNECT to CONNACK.
    pub limit: Duration,
    /// The clock of the keep-alive.
    pub clock: Clock,
}

impl ConnectOptions {
    /// Makes options with WakeMQ's limits: 300 s keep-alive, 16 in flight, packets of 64 KiB, 10 s to answer,
    /// tokio's clock.
    pub fn new(client_id: impl Into<String>, user_name: impl Into<String>, password: Secret) -> Self {
        Self {
            client_id: client_id.into(),
            user_name: user_name.into(),
            password,
            keep_alive_secs: 300,
            receive_maximum: IN_FLIGHT_MAX,
            maximum_packet_size: u32::try_from(PACKET_MAX).unwrap_or(u32::MAX),
            user_properties: Vec::new(),
            limit: Duration::from_secs(10),
            clock: Clock::default(),
        }
    }

    fn packet(&self) -> Packet {
        let properties = ConnectProperties {
            session_expiry_interval: None,
            receive_maximum: Some(self.receive_maximum),
            max_packet_size: Some(self.maximum_packet_size),
            topic_alias_max: None,
            request_response_info: None,
            request_problem_info: None,
            user_properties: self.user_properties.clone(),
            authentication_method: None,
            authentication_data: None,
        };
        let connect = Connect {
            keep_alive: self.keep_alive_secs,
            client_id: self.client_id.clone(),
            clean_start: true,
            properties: Some(properties),
        };
        let login = Login { username: self.user_name.clone(), password: self.password.expose().to_owned() };
        Packet::Connect(connect, None, Some(login))
    }
}

/// What the server said at the beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// How long the connection may stay quiet, in seconds; 0 for ever.
    pub keep_alive_secs: u16,
    /// Largest packet that the server takes, in bytes.
    pub maximum_packet_size: u32,
    /// Most unacknowledged messages that the session sends.
    pub receive_maximum: u16,
    /// Within how many seconds to come back after the connection is lost; the default where nothing was said.
    pub return_secs: u32,
    /// The client id that the server assigned, if it did.
    pub assigned_client_id: Option<String>,
}

/// Says why a session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server refused it.
    #[error("the broker refused the connection: {code}{}", Words(.reason))]
    Refused {
        /// Why.
        code: ReasonCode,
        /// The server's words.
        reason: Option<String>,
        /// Within how many seconds to come back, if the server said so.
        return_secs: Option<u32>,
    },
    /// No CONNACK in time.
    #[error("the broker did not answer CONNECT within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection failed, or the server broke the protocol.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Prints the server's words behind a colon.
struct Words<'a>(&'a Option<String>);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |words| write!(f, ": {words}"))
    }
}

impl ConnectError {
    /// Tells whether the same attempt may succeed later without a person's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(
                *code,
                ReasonCode::SERVER_UNAVAILABLE
                    | ReasonCode::SERVER_BUSY
                    | ReasonCode::SHUTTING_DOWN
                    | ReasonCode::QUOTA_EXCEEDED
                    | ReasonCode::CONNECTION_RATE_EXCEEDED
                    | ReasonCode(0x80)
            ),
            Self::TimedOut(_) | Self::Session(_) => true,
        }
    }

    /// Tells whether user name or password are wrong (0x86), or not enough (0x87, 0x8A).
    pub fn is_not_allowed(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: ReasonCode::BAD_CREDENTIALS | ReasonCode::NOT_AUTHORIZED | ReasonCode::BANNED,
                ..
            }
        )
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Begins a session on a connected stream: sends CONNECT and waits for CONNACK.
    pub async fn connect(stream: S, options: &ConnectOptions) -> Result<(Self, Connected), ConnectError> {
        tokio::time::timeout(options.limit, Self::handshake(stream, options))
            .await
            .map_err(|_| ConnectError::TimedOut(options.limit))?
    }

    async fn handshake(stream: S, options: &ConnectOptions) -> Result<(Self, Connected), ConnectError> {
        let mut wire = Wire::new(stream, options.maximum_packet_size, Time::start(options.clock));
        wire.send(&options.packet())?;
        let packet = wire.next_packet().await?;
        if let Packet::Disconnect(packet) = packet {
            let properties = packet.properties;
            return Err(ConnectError::Refused {
                code: ReasonCode(packet.reason_code as u8),
                return_secs: properties.as_ref().and_then(|found| return_secs(&found.user_properties)),
                reason: properties.and_then(|found| found.reason_string),
            });
        }
        let Packet::ConnAck(connack) = packet else {
            return Err(SessionError::Protocol(format!("{} before CONNACK", name(&packet))).into());
        };
        let code = connect_code(connack.code);
        let properties = connack.properties.as_ref();
        let advice = properties.and_then(|found| return_secs(&found.user_properties));
        if code != ReasonCode::SUCCESS {
            let reason = properties.and_then(|found| found.reason_string.clone());
            return Err(ConnectError::Refused { code, reason, return_secs: advice });
        }
        if connack.session_present {
            return Err(SessionError::Protocol("a session is present after a clean start".into()).into());
        }
        let receive_maximum = properties.and_then(|found| found.receive_max).unwrap_or(u16::MAX);
        let maximum_packet_size = properties.and_then(|found| found.max_packet_size).unwrap_or(u32::MAX);
        if receive_maximum == 0 || maximum_packet_size == 0 {
            return Err(SessionError::Protocol("a maximum of 0 in CONNACK".into()).into());
        }
        let connected = Connected {
            keep_alive_secs: properties
                .and_then(|found| found.server_keep_alive)
                .unwrap_or(options.keep_alive_secs),
            maximum_packet_size,
            receive_maximum: receive_maximum.min(IN_FLIGHT_MAX),
            return_secs: return_or_default(advice),
            assigned_client_id: properties.and_then(|found| found.assigned_client_identifier.clone()),
        };
        let session = Self::begin(wire, &connected, connack, options.receive_maximum)?;
        Ok((session, connected))
    }
}
