//! What a balancer says of the connection that it passes on: the PROXY protocol, versions 1 and 2.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};

/// The longest header that is waited for. Version 1 has at most 107 bytes; version 2 has 52 at most, and what a balancer
/// adds of its own (names, TLS), which is not looked at.
pub const HEADER_MAX: usize = 2048;
/// Where every header of version 1 has ended.
const V1_MAX: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Not a whole header yet.
    NeedMore,
    /// A header.
    Whole {
        /// Whose connection it is; `None` if it is the balancer's own (`LOCAL`, `UNKNOWN`).
        source: Option<SocketAddr>,
        /// How many bytes it has.
        len: usize,
    },
    /// No header, or none that can be used.
    Bad,
}

/// Reads the header at the beginning of a connection.
pub fn read(bytes: &[u8]) -> ProxyHeader {
    let mut head = bytes;
    if bytes.starts_with(V1_PREFIX) {
        let line = &bytes[..bytes.len().min(V1_MAX)];
        head = match line.iter().position(|&byte| byte == b'\n') {
            Some(end) => &bytes[..=end],
            None if bytes.len() < V1_MAX => return ProxyHeader::NeedMore,
            None => return ProxyHeader::Bad,
        };
    }
    let parsed = HeaderResult::parse(head);
    if parsed.is_incomplete() {
        let is_line = head.len() < bytes.len() || head.ends_with(b"\n") && head.starts_with(V1_PREFIX);
        return if is_line || bytes.len() >= HEADER_MAX { ProxyHeader::Bad } else { ProxyHeader::NeedMore };
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let source = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
                v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
            };
            ProxyHeader::Whole { source, len: head.len() }
        }
        HeaderResult::V2(Ok(header)) if header.len() <= HEADER_MAX => {
            let source = match (header.command, &header.addresses) {
                (v2::Command::Local, _) | (v2::Command::Proxy, v2::Addresses::Unspecified) => None,
                (v2::Command::Proxy, v2::Addresses::IPv4(of)) => {
                    Some((of.source_address, of.source_port).into())
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(of)) => {
                    Some((of.source_address, of.source_port).into())
                }
                // Nobody is far away on such a socket.
                (v2::Command::Proxy, v2::Addresses::Unix(_)) => return ProxyHeader::Bad,
            };
            ProxyHeader::Whole { source, len: header.len() }
        }
        HeaderResult::V1(_) | HeaderResult::V2(_) => ProxyHeader::Bad,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const BEHIND: &[u8] = &[0x16, 3, 1, 0xff, 0xfe];

    fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[version_command, family][..], &len, rest].concat()
    }

    /// Reads a header piece by piece, and with more behind it.
    fn whole(header: &[u8]) -> Option<SocketAddr> {
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), ProxyHeader::NeedMore, "{end} of {}", header.len());
        }
        let found = read(header);
        assert_eq!(read(&[header, BEHIND].concat()), found);
        let ProxyHeader::Whole { source, len } = found else { panic!("{found:?}") };
        assert_eq!(len, header.len());
        source
    }

    #[test]
    fn both_versions_tell_whose_connection_it_is() {
        let four = "192.0.2.7:4711".parse().ok();
        let six = "[2001:db8::7]:4711".parse().ok();
        assert_eq!(whole(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n"), four);
        assert_eq!(whole(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 8883\r\n"), six);
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), None);
        let ports = [0x12, 0x67, 0x22, 0xb3];
        let addresses = [&[192, 0, 2, 7, 198, 51, 100, 1][..], &ports].concat();
        assert_eq!(whole(&v2(0x21, 0x11, &addresses)), four);
        // With a TLV behind the addresses.
        assert_eq!(whole(&v2(0x21, 0x11, &[&addresses[..], &[4, 0, 2, 7, 7]].concat())), four);
        let mut addresses = [0; 32];
        addresses[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        addresses[15] = 7;
        assert_eq!(whole(&v2(0x21, 0x21, &[&addresses[..], &ports].concat())), six);
        assert_eq!(whole(&v2(0x20, 0, &[])), None, "the balancer looks whether we live");
    }

    #[test]
    fn what_is_no_header_is_bad_at_once_or_in_the_end() {
        for bytes in [
            BEHIND,
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            b"PROXY TCP4 192.0.2.700 198.51.100.1 4711 8883\r\n",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 4711 8883\r\n",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 3]),
            &v2(0x21, 0x31, &[0; 216]),
            &v2(0x21, 0x11, &[0; HEADER_MAX]),
        ] {
            assert_eq!(read(bytes), ProxyHeader::Bad, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(bytes in vec(any::<u8>(), 0..HEADER_MAX + 1), v2_begins: bool) {
            let bytes = if v2_begins { [b"\r\n\r\n\0\r\nQUIT\n", &*bytes].concat() } else { bytes };
            if bytes.len() >= HEADER_MAX {
                prop_assert_ne!(read(&bytes), ProxyHeader::NeedMore);
            }
        }
    }
}
