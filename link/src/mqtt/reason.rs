//! MQTT 5 reason codes.

use std::fmt;

/// A reason code of MQTT 5 (§2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    /// Success, granted QoS 0, or normal disconnection.
    pub const SUCCESS: Self = Self(0x00);
    /// Granted QoS 1.
    pub const GRANTED_QOS_1: Self = Self(0x01);
    /// Implementation specific error.
    pub const IMPLEMENTATION_SPECIFIC: Self = Self(0x83);
    /// Client identifier not valid.
    pub const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    /// Bad user name or password.
    pub const BAD_CREDENTIALS: Self = Self(0x86);
    /// Not authorized.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// Server unavailable.
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    /// Server busy.
    pub const SERVER_BUSY: Self = Self(0x89);
    /// Banned.
    pub const BANNED: Self = Self(0x8A);
    /// Server shutting down.
    pub const SHUTTING_DOWN: Self = Self(0x8B);
    /// Session taken over.
    pub const TAKEN_OVER: Self = Self(0x8E);
    /// Quota exceeded.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// Administrative action.
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    /// Payload format invalid.
    pub const PAYLOAD_INVALID: Self = Self(0x99);
    /// Connection rate exceeded.
    pub const CONNECTION_RATE_EXCEEDED: Self = Self(0x9F);

    /// Tells whether the code reports a success (below 0x80).
    pub fn is_success(self) -> bool {
        self.0 < 0x80
    }

    /// Returns the standard's name for the code.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x00 => "success",
            0x01 => "granted QoS 1",
            0x02 => "granted QoS 2",
            0x10 => "no matching subscribers",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x93 => "receive maximum exceeded",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "unspecified error",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.0)
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
