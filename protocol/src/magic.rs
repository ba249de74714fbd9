//! The magic packet of Wake-on-LAN: six times 0xFF, sixteen times the MAC, then SecureOn or nothing.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mac::hex_octets;
use crate::{MacAddr, ParseIdError};

/// How often the MAC is repeated.
const REPEATS: usize = 16;
/// Length without SecureOn, in bytes.
const LEN: usize = 6 + REPEATS * 6;

/// The UDP ports to which magic packets are sent where nothing else is said: discard, and echo.
pub const WOL_PORTS: [u16; 2] = [9, 7];

/// A SecureOn password of 4 or 6 bytes: some adapters wake only if the packet ends with it. `Debug` does not show it.
///
/// Read as octets in hex (`01:02:03:04:05:06`, `01:02:03:04`) or as an IPv4 address (`1.2.3.4`), written in hex.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecureOn(Box<[u8]>);

impl SecureOn {
    /// Makes a password of its bytes, of which there are 4 or 6.
    pub fn new(bytes: &[u8]) -> Result<Self, ParseIdError> {
        match bytes.len() {
            4 | 6 => Ok(Self(bytes.into())),
            _ => Err(ParseIdError::new(
                "SecureOn password",
                "4 or 6 octets are, as 01:02:03:04:05:06 or 1.2.3.4",
            )),
        }
    }

    /// Returns the password itself: for the packet, never for a log.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecureOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecureOn(…)")
    }
}

impl FromStr for SecureOn {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Self::new(&address.octets()),
            Err(_) => Self::new(&hex_octets(text).unwrap_or_default()),
        }
    }
}

impl TryFrom<String> for SecureOn {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<SecureOn> for String {
    fn from(password: SecureOn) -> Self {
        password.0.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
    }
}

/// A magic packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MagicPacket {
    /// Whose adapter is to wake.
    pub mac: MacAddr,
    /// Its password, if it has one.
    pub secureon: Option<SecureOn>,
}

impl MagicPacket {
    /// Returns the bytes of the UDP datagram: 102, with SecureOn 106 or 108.
    pub fn to_bytes(&self) -> Vec<u8> {
        let password = self.secureon.as_ref().map_or(&[][..], SecureOn::expose);
        [&[0xff; 6][..], &self.mac.bytes().repeat(REPEATS), password].concat()
    }

    /// Reads the bytes of a datagram; `None` if it is no magic packet.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (packet, password) = bytes.split_at_checked(LEN)?;
        let macs = packet.strip_prefix(&[0xff; 6])?;
        let mac = *macs.first_chunk::<6>()?;
        let secureon = if password.is_empty() { None } else { Some(SecureOn::new(password).ok()?) };
        macs.chunks(6).all(|repeat| repeat == mac).then_some(Self { mac: MacAddr::new(mac), secureon })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(secureon: Option<&str>) -> MagicPacket {
        MagicPacket {
            mac: "00:16:3e:12:34:56".parse().unwrap(),
            secureon: secureon.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn it_is_what_the_adapter_looks_for() {
        let bytes = packet(None).to_bytes();
        assert_eq!(bytes.len(), 102);
        assert_eq!(bytes[..6], [0xff; 6]);
        for repeat in bytes[6..].chunks(6) {
            assert_eq!(repeat, [0x00, 0x16, 0x3e, 0x12, 0x34, 0x56]);
        }
        assert_eq!(packet(Some("1.2.3.4")).to_bytes()[102..], [1, 2, 3, 4]);
        assert_eq!(packet(Some("01:02:03:04:05:ff")).to_bytes()[102..], [1, 2, 3, 4, 5, 255]);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        for secureon in [None, Some("1.2.3.4"), Some("01-02-03-04-05-06")] {
            let packet = packet(secureon);
            let bytes = packet.to_bytes();
            assert_eq!(MagicPacket::parse(&bytes), Some(packet));
            for at in 0..LEN {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert_eq!(MagicPacket::parse(&other), None, "a wrong byte at {at}");
            }
            assert_eq!(MagicPacket::parse(&bytes[..bytes.len() - 1]), None);
            assert_eq!(MagicPacket::parse(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", packet(Some("01:02:03:04")));
        assert!(shown.contains("SecureOn(…)") && !shown.contains("4]"), "{shown}");
        for text in ["", "01:02", "1.2.3", "01:02:03:04:05", "secret"] {
            text.parse::<SecureOn>().unwrap_err();
        }
    }
}
