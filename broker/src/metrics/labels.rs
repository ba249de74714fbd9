//! The labels, and all values that each can have.

use axum::http::StatusCode;
use wakemq_core::packet::ReasonCode;
use wakemq_protocol::http::PollAnswer;
use wakemq_protocol::{CommandState, Transport};

/// A label whose values are all known.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// All its values.
    const ALL: &'static [Self];

    /// Returns the value as it is shown.
    fn word(self) -> &'static str;

    /// Returns the value's place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident($label:literal) { $($(#[$value_doc:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// What an open connection is.
    Connection("kind") {
        /// An agent's.
        Agent = "agent",
        /// An operator's.
        Operator = "operator",
        /// One that speaks HTTP.
        Http = "http",
        /// One of which that is not known yet.
        Handshaking = "handshaking",
    }
}

label! {
    /// What was let in.
    Admitted("kind") {
        /// An agent.
        Agent = "agent",
        /// An operator.
        Operator = "operator",
        /// A connection that speaks HTTP; its requests are judged one by one.
        Http = "http",
    }
}

label! {
    /// Why a connection was not let in.
    Refused("reason") {
        /// There were too many.
        TooManyConnections = "too_many_connections",
        /// It came faster than the rate, and would have had to wait too long for its turn.
        OverRate = "over_rate",
        /// Its source had more than its share already, and there was hardly room for others.
        OverShare = "over_share",
        /// It waited as long as it may, and as many handshakes as there may be were still in progress.
        TooManyHandshakes = "too_many_handshakes",
        /// A balancer did not say whose connection it passes on.
        NoProxyHeader = "no_proxy_header",
        /// The first bytes were not TLS.
        NotTls = "not_tls",
        /// The TLS handshake failed.
        TlsFailure = "tls_failure",
        /// The TLS handshake did not end in time.
        HandshakeTimeout = "handshake_timeout",
        /// The client closed, or was lost, before it was let in.
        Left = "left",
        /// Neither MQTT nor HTTP was spoken.
        UnknownProtocol = "unknown_protocol",
        /// No CONNECT came in time.
        ConnectTimeout = "connect_timeout",
        /// The first packet was no valid CONNECT.
        Malformed = "malformed",
        /// The CONNECT asks for what this broker does not have: its version, an authentication method, a will's
        /// quality of service.
        Unsupported = "unsupported",
        /// Unknown user name or wrong secret.
        WrongSecret = "wrong_secret",
        /// The same, from a source with too many refusals that are being delayed.
        Throttled = "throttled",
        /// The client id, or the will's topic, is not the client's own.
        NotAllowed = "not_allowed",
        /// The identity is cloned, and has to wait.
        Cloned = "cloned",
        /// The store cannot be read.
        Store = "store",
        /// The broker stops.
        Draining = "draining",
    }
}

label! {
    /// What a connection had to wait for before its TLS handshake.
    Waited("for") {
        /// Its turn, by the rate of admissions.
        Rate = "rate",
        /// The end of other handshakes.
        Handshakes = "handshakes",
    }
}

label! {
    /// When a wrong secret was answered.
    WrongSecret("answered") {
        /// At once.
        AtOnce = "at_once",
        /// Later, because the source had given others.
        Delayed = "delayed",
        /// Not at all, because too many such answers were waiting.
        Withheld = "never",
    }
}

label! {
    /// How an MQTT connection ended that had been let in.
    Ended("reason") {
        /// The client said so.
        Left = "left",
        /// The bytes ended.
        Lost = "lost",
        /// Nothing came for one and a half keep-alives.
        KeepAlive = "keep_alive",
        /// It was sent a command, and nothing came for 20 s: neither the acknowledgement nor anything else.
        NoAcknowledgement = "no_acknowledgement",
        /// A newer connection took over.
        TakenOver = "taken_over",
        /// What came was no valid packet.
        Malformed = "malformed",
        /// A valid packet came where it must not.
        Protocol = "protocol",
        /// It was not allowed, or not any more.
        NotAllowed = "not_allowed",
        /// More was waiting for the client than it read.
        Overrun = "overrun",
        /// The store could not be written.
        Store = "store",
        /// The broker stops.
        Draining = "draining",
        /// None of these.
        Other = "other",
    }
}

label! {
    /// Why a publication was refused in its PUBACK.
    PublishRefused("reason") {
        /// Its topic is not the client's, or the operator may not do this.
        NotAllowed = "not_allowed",
        /// Its payload cannot be read.
        Payload = "payload",
        /// Too much is pending.
        Quota = "quota",
        /// None of these.
        Other = "other",
    }
}

label! {
    /// Why the engine did not accept a command.
    SubmissionRefused("reason") {
        /// The operator may not command the target.
        NotAllowed = "not_allowed",
        /// There is no such agent or group.
        UnknownTarget = "unknown_target",
        /// Its id was given to another command.
        Conflict = "conflict",
        /// Too many commands are pending for the target.
        Full = "full",
        /// It was accepted, but too many commands are followed for its publisher to be told of it.
        Unfollowed = "unfollowed",
        /// The store could not be written.
        Store = "store",
    }
}

label! {
    /// What became of an agent's receipt.
    ReceiptFate("fate") {
        /// It took effect, or had done so before.
        Applied = "applied",
        /// The command had ended before, otherwise.
        Late = "late",
        /// The command is unknown, or not the agent's.
        Unknown = "unknown",
    }
}

label! {
    /// How an attempt to switch an endpoint on ended.
    PowerVerdict("verdict") {
        /// The endpoint is up.
        Done = "done",
        /// No MAC of it is known that can wake it.
        NoMac = "no_mac",
        /// Nobody could send for it.
        NoRelay = "no_relay",
        /// Somebody sent or was asked to, and it did not come up.
        NotUp = "did_not_come_up",
        /// It had been up all along.
        WasRunning = "was_running",
        /// The operator may not switch it on any more.
        NotAllowed = "not_allowed",
        /// The command was taken back, or its agent revoked.
        Cancelled = "cancelled",
    }
}

label! {
    /// Why an event did not get onto the bus.
    Dropped("reason") {
        /// The queue in front of the bus was full.
        QueueFull = "queue_full",
        /// The bus had died and was not built anew yet.
        BusDown = "bus_down",
    }
}

label! {
    /// How a long poll ended.
    PollEnd("answer") {
        /// With commands.
        Commands = "commands",
        /// Its heartbeat was over.
        Idle = "idle",
        /// Another connection or poll of the agent took over.
        Superseded = "superseded",
        /// The broker stopped.
        Retry = "retry",
        /// Its heartbeat was out of bounds.
        OutOfRange = "heartbeat_out_of_range",
        /// With an error: its agent was revoked or cloned, or the store failed.
        Failed = "failed",
        /// Its client was gone before there was an answer.
        Gone = "gone",
    }
}

impl PollEnd {
    /// Returns what an answer counts as; `None` stands for an error.
    pub fn of(answer: Option<&PollAnswer>) -> Self {
        match answer {
            Some(PollAnswer::Commands { .. }) => Self::Commands,
            Some(PollAnswer::Idle) => Self::Idle,
            Some(PollAnswer::Superseded) => Self::Superseded,
            Some(PollAnswer::Retry { .. }) => Self::Retry,
            Some(PollAnswer::HeartbeatOutOfRange { .. }) => Self::OutOfRange,
            None => Self::Failed,
        }
    }
}

label! {
    /// The class of an HTTP status (RFC 9110 §15).
    StatusClass("status") {
        /// Informational.
        Informational = "1xx",
        /// Successful.
        Successful = "2xx",
        /// Redirection.
        Redirection = "3xx",
        /// The client is at fault.
        ClientError = "4xx",
        /// The broker is.
        ServerError = "5xx",
    }
}

impl Label for CommandState {
    const NAME: &'static str = "state";
    const ALL: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Transport {
    const NAME: &'static str = "transport";
    const ALL: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        self as usize
    }
}

label! {
    /// What becomes of a command for a group as a whole; the rest happens at single agents.
    GroupChange("state") {
        /// It is live.
        Queued = "queued",
        /// It was not accepted, and that is recorded.
        Refused = "refused",
        /// A newer command for the same group took its slot.
        Superseded = "superseded",
        /// Its time to live ended.
        Expired = "expired",
        /// An operator took it back.
        Cancelled = "cancelled",
    }
}

impl GroupChange {
    /// Returns what a state of a command for a group counts as, if it can have it.
    pub fn of(state: CommandState) -> Option<Self> {
        match state {
            CommandState::Queued => Some(Self::Queued),
            CommandState::Refused => Some(Self::Refused),
            CommandState::Superseded => Some(Self::Superseded),
            CommandState::Expired => Some(Self::Expired),
            CommandState::Cancelled => Some(Self::Cancelled),
            CommandState::Sent | CommandState::Acknowledged | CommandState::Done | CommandState::Failed => {
                None
            }
        }
    }
}

/// What a refused CONNECT counts as; every other reason is [`Refused::Malformed`].
const REFUSED: &[(ReasonCode, Refused)] = &[
    (ReasonCode::UnsupportedProtocolVersion, Refused::Unsupported),
    (ReasonCode::BadAuthenticationMethod, Refused::Unsupported),
    (ReasonCode::RetainNotSupported, Refused::Unsupported),
    (ReasonCode::QoSNotSupported, Refused::Unsupported),
    (ReasonCode::BadUserNameOrPassword, Refused::WrongSecret),
    (ReasonCode::ClientIdentifierNotValid, Refused::NotAllowed),
    (ReasonCode::NotAuthorized, Refused::NotAllowed),
    (ReasonCode::ConnectionRateExceeded, Refused::Cloned),
    (ReasonCode::ServerUnavailable, Refused::Store),
    (ReasonCode::ServerShuttingDown, Refused::Draining),
];

/// What an end counts as; every other reason is [`Ended::Other`].
const ENDED: &[(ReasonCode, Ended)] = &[
    (ReasonCode::Success, Ended::Left),
    (ReasonCode::KeepAliveTimeout, Ended::KeepAlive),
    (ReasonCode::ImplementationSpecificError, Ended::NoAcknowledgement),
    (ReasonCode::SessionTakenOver, Ended::TakenOver),
    (ReasonCode::MalformedPacket, Ended::Malformed),
    (ReasonCode::PacketTooLarge, Ended::Malformed),
    (ReasonCode::ProtocolError, Ended::Protocol),
    (ReasonCode::NotAuthorized, Ended::NotAllowed),
    (ReasonCode::QuotaExceeded, Ended::Overrun),
    (ReasonCode::ServerUnavailable, Ended::Store),
    (ReasonCode::ServerShuttingDown, Ended::Draining),
];

/// What a refused publication counts as; every other reason is [`PublishRefused::Other`].
const PUBLISH_REFUSED: &[(ReasonCode, PublishRefused)] = &[
    (ReasonCode::NotAuthorized, PublishRefused::NotAllowed),
    (ReasonCode::PayloadFormatInvalid, PublishRefused::Payload),
    (ReasonCode::QuotaExceeded, PublishRefused::Quota),
];

fn look_up<T: Copy>(table: &[(ReasonCode, T)], reason: ReasonCode, other: T) -> T {
    table.iter().find(|(known, _)| *known == reason).map_or(other, |(_, value)| *value)
}

impl Refused {
    /// Returns what a CONNECT that was refused with this reason counts as.
    pub fn of_connect(reason: ReasonCode) -> Self {
        look_up(REFUSED, reason, Self::Malformed)
    }
}

impl Ended {
    /// Returns what an end for this reason counts as.
    pub fn of(reason: ReasonCode) -> Self {
        look_up(ENDED, reason, Self::Other)
    }
}

impl PublishRefused {
    /// Returns what a publication that was refused with this reason counts as.
    pub fn of(reason: ReasonCode) -> Self {
        look_up(PUBLISH_REFUSED, reason, Self::Other)
    }
}

impl StatusClass {
    /// Returns the class of a status.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            ..200 => Self::Informational,
            200..300 => Self::Successful,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label + PartialEq + std::fmt::Debug>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{label:?}");
            let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(label.word().chars().all(snake), "{label:?}");
        }
    }

    #[test]
    fn every_value_finds_its_own_place() {
        check::<Connection>();
        check::<Admitted>();
        check::<Refused>();
        check::<Waited>();
        check::<WrongSecret>();
        check::<Ended>();
        check::<PublishRefused>();
        check::<SubmissionRefused>();
        check::<ReceiptFate>();
        check::<PowerVerdict>();
        check::<Dropped>();
        check::<GroupChange>();
        check::<StatusClass>();
        check::<CommandState>();
    }

    #[test]
    fn a_status_is_of_the_class_of_its_first_digit() {
        for status in [100, 101, 200, 204, 299, 304, 401, 499, 500, 503] {
            let class = StatusClass::of(StatusCode::from_u16(status).unwrap());
            assert!(class.word().starts_with(&(status / 100).to_string()), "{status}");
        }
    }
}
