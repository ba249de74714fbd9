//! MAC addresses, and what can be told from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseIdError;

/// A MAC address of 48 bits; written `00:16:3e:12:34:56`, read with `:` or `-` and in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// Makes an address of its bytes, in the order in which they are sent.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, in the order in which they are sent.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Tells whether it is locally administered: made up by software, as randomised and most virtual ones are.
    pub const fn is_local(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// Tells whether it may name one adapter: neither of a group of stations, nor zero.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 0x01 == 0 && self.0 != [0; 6]
    }

    /// Tells whether it is one that routers share among themselves (VRRP, HSRP, GLBP), so that it is the same in many
    /// networks.
    pub const fn is_virtual_router(self) -> bool {
        matches!(
            self.0,
            [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, _]
                | [0x00, 0x00, 0x0c, 0x07, 0xac, _]
                | [0x00, 0x00, 0x0c, 0x9f, 0xf0..=0xff, _]
                | [0x00, 0x05, 0x73, 0xa0, 0x00..=0x0f, _]
                | [0x00, 0x07, 0xb4, _, _, _]
        )
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bytes = hex_octets(text).and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        bytes.map(Self).ok_or(ParseIdError::new("MAC address", "six octets in hex are, as 00:16:3e:12:34:56"))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

/// Reads octets of two hex digits with `:` between all, or `-` between all.
pub(crate) fn hex_octets(text: &str) -> Option<Vec<u8>> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let octet = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits { u8::from_str_radix(part, 16).ok() } else { None }
    };
    text.split(separator).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_are_read_and_one_is_written() {
        for text in ["00:16:3e:0a:bc:56", "00-16-3E-0A-BC-56"] {
            assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), "00:16:3e:0a:bc:56");
        }
        for text in [
            "",
            "00:16:3e:0a:bc",
            "00:16:3e:0a:bc:56:78",
            "00:16-3e:0a-bc:56",
            "0:16:3e:0a:bc:56",
            "+0:16:3e:0a:bc:56",
        ] {
            text.parse::<MacAddr>().unwrap_err();
        }
    }

    #[test]
    fn what_an_address_tells() {
        let mac = |text: &str| text.parse::<MacAddr>().unwrap();
        assert!(mac("02:00:00:00:00:01").is_local() && !mac("00:16:3e:00:00:01").is_local());
        assert!(!mac("01:00:5e:00:00:01").is_unicast() && !mac("00:00:00:00:00:00").is_unicast());
        for router in [
            "00:00:5e:00:01:01",
            "00:00:5e:00:02:01",
            "00:00:0c:07:ac:0a",
            "00:00:0c:9f:f0:01",
            "00:07:b4:00:01:01",
        ] {
            assert!(mac(router).is_virtual_router(), "{router}");
        }
        assert!(!mac("00:16:3e:00:00:01").is_virtual_router());
    }
}
