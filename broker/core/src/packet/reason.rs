//! Reason codes of MQTT 5 and return codes of 3.1.1.

use std::fmt;

use super::QoS;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// A reason code of MQTT 5 (§2.4); from 0x80 on it is an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// Every code that the standard names.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Finds the code with that number, if the standard names one.
            pub fn from_value(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Returns the standard's name in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Success; also a normal disconnection, and a subscription granted at QoS 0.
    Success = 0x00, "success";
    /// A subscription granted at QoS 1.
    GrantedQoS1 = 0x01, "granted QoS 1";
    /// A subscription granted at QoS 2.
    GrantedQoS2 = 0x02, "granted QoS 2";
    /// A disconnection after which the will is to be published.
    DisconnectWithWill = 0x04, "disconnect with will message";
    /// Accepted, but nobody subscribes to it.
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    /// There was nothing to unsubscribe from.
    NoSubscriptionExisted = 0x11, "no subscription existed";
    /// An authentication step is to follow.
    ContinueAuthentication = 0x18, "continue authentication";
    /// The client authenticates again.
    ReAuthenticate = 0x19, "re-authenticate";
    /// No reason told.
    UnspecifiedError = 0x80, "unspecified error";
    /// The bytes are not a packet of this protocol.
    MalformedPacket = 0x81, "malformed packet";
    /// The packet is well formed but must not come here, or not like this.
    ProtocolError = 0x82, "protocol error";
    /// Valid, but not taken by this broker.
    ImplementationSpecificError = 0x83, "implementation specific error";
    /// The protocol's version is not spoken here.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version";
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85, "client identifier not valid";
    /// The user name or password is wrong.
    BadUserNameOrPassword = 0x86, "bad user name or password";
    /// The client may not do this.
    NotAuthorized = 0x87, "not authorized";
    /// The broker is not available.
    ServerUnavailable = 0x88, "server unavailable";
    /// The broker is busy; try again later.
    ServerBusy = 0x89, "server busy";
    /// The client has been banned.
    Banned = 0x8A, "banned";
    /// The broker ends its service.
    ServerShuttingDown = 0x8B, "server shutting down";
    /// The authentication method is not offered.
    BadAuthenticationMethod = 0x8C, "bad authentication method";
    /// Nothing came for one and a half keep-alives.
    KeepAliveTimeout = 0x8D, "keep alive timeout";
    /// A newer connection of the same client took over.
    SessionTakenOver = 0x8E, "session taken over";
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8F, "topic filter invalid";
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90, "topic name invalid";
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    /// More unacknowledged publications than allowed.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    /// The topic alias is not allowed.
    TopicAliasInvalid = 0x94, "topic alias invalid";
    /// The packet is larger than allowed.
    PacketTooLarge = 0x95, "packet too large";
    /// Too many publications in too short a time.
    MessageRateTooHigh = 0x96, "message rate too high";
    /// A limit is reached.
    QuotaExceeded = 0x97, "quota exceeded";
    /// An administrator ended the connection.
    AdministrativeAction = 0x98, "administrative action";
    /// The payload is not of the form that is asked for.
    PayloadFormatInvalid = 0x99, "payload format invalid";
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A, "retain not supported";
    /// The quality of service is not supported.
    QoSNotSupported = 0x9B, "QoS not supported";
    /// Use another server for now.
    UseAnotherServer = 0x9C, "use another server";
    /// Use another server from now on.
    ServerMoved = 0x9D, "server moved";
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported";
    /// Too many connections in too short a time.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded";
    /// The connection lived as long as it may.
    MaximumConnectTime = 0xA0, "maximum connect time";
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported";
    /// Wildcards in filters are not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported";
}

impl ReasonCode {
    /// Returns the number on the wire.
    pub fn value(self) -> u8 {
        self as u8
    }

    /// Tells whether it stands for a failure.
    pub fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// Returns the SUBACK's word for a granted quality.
    pub fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.text(), self.value())
    }
}

/// The return code of a 3.1.1 CONNACK (MQTT 3.1.1 §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Connect3ReturnCode {
    /// Accepted.
    Accepted = 0,
    /// The protocol level is not supported.
    UnacceptableProtocolVersion = 1,
    /// The client identifier is not allowed.
    IdentifierRejected = 2,
    /// The service is not available.
    ServerUnavailable = 3,
    /// The user name or password is wrong.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

impl Connect3ReturnCode {
    /// Finds what 3.1.1 says for a reason; `None` where it only closes the connection.
    pub fn from_reason(reason: ReasonCode) -> Option<Self> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "3.1.1 knows five refusals; all others close silently"
        )]
        match reason {
            ReasonCode::Success => Some(Self::Accepted),
            ReasonCode::UnsupportedProtocolVersion => Some(Self::UnacceptableProtocolVersion),
            ReasonCode::ClientIdentifierNotValid => Some(Self::IdentifierRejected),
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::QuotaExceeded
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError => Some(Self::ServerUnavailable),
            ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => {
                Some(Self::BadUserNameOrPassword)
            }
            ReasonCode::NotAuthorized | ReasonCode::Banned => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// Returns the number on the wire.
    pub fn value(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_codes_are_found_by_their_numbers() {
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_value(code.value()), Some(*code));
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
        assert_eq!(ReasonCode::from_value(0x03), None);
        assert_eq!(ReasonCode::from_value(0xA3), None);
        assert_eq!(ReasonCode::PacketTooLarge.to_string(), "packet too large (0x95)");
        assert!(ReasonCode::UnspecifiedError.is_error() && !ReasonCode::ReAuthenticate.is_error());
    }

    #[test]
    fn version_3_has_a_code_for_each_way_to_fail_a_login() {
        let of = |reason| Connect3ReturnCode::from_reason(reason).map(Connect3ReturnCode::value);
        assert_eq!(of(ReasonCode::Success), Some(0));
        assert_eq!(of(ReasonCode::UnsupportedProtocolVersion), Some(1));
        assert_eq!(of(ReasonCode::ClientIdentifierNotValid), Some(2));
        assert_eq!(of(ReasonCode::ServerBusy), Some(3));
        assert_eq!(of(ReasonCode::BadUserNameOrPassword), Some(4));
        assert_eq!(of(ReasonCode::NotAuthorized), Some(5));
        assert_eq!(of(ReasonCode::MalformedPacket), None);
    }
}
