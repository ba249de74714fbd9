//! By which transport agents come.

use clap::ValueEnum;

use super::target::Kind;

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
pub enum Way {
    /// MQTT over TLS.
    #[default]
    Mqtt,
    /// MQTT in a WebSocket.
    Websocket,
    /// Long poll over HTTP/1.1.
    Poll,
    /// Long poll over HTTP/2, a connection for each agent.
    PollH2,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mqtt, Self::Websocket, Self::Poll, Self::PollH2];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Websocket => "websocket",
            Self::Poll => "poll",
            Self::PollH2 => "poll-h2",
        }
    }

    /// Returns what stands before its figures.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mqtt => "",
            Self::Websocket => "WebSocket: ",
            Self::Poll => "long poll, HTTP/1.1: ",
            Self::PollH2 => "long poll, HTTP/2: ",
        }
    }

    /// Returns what is offered by ALPN.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Websocket | Self::Poll => "http/1.1",
            Self::PollH2 => "h2",
        }
    }

    /// Tells whether a target serves it. The counterpart of a WebSocket is WakeMQ's own plain MQTT.
    pub fn is_served_by(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Mqtt, _) | (_, Kind::Wakemqd) => true,
            (Self::Poll | Self::PollH2, Kind::Bare) => true,
            (Self::Websocket, Kind::Bare) | (_, Kind::Mosquitto | Kind::Rumqttd) => false,
        }
    }
}
