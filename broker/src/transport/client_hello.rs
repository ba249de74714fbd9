//! Tells from the first bytes of a connection whether a handshake may begin, without any cryptography.
//!
//! Handshakes are the expensive part of a connection, so their number at a time is limited by permits. A peer
//! that sends half a ClientHello and falls silent must not hold one: a permit is taken only when [`peek`] says
//! [`Peek::Complete`].

/// The most bytes that may come before a ClientHello is complete, record headers included.
///
/// Real ones take a few hundred bytes, with post-quantum key shares and a long ticket a few thousand. Not more
/// than one read of [`super::tls::Scratch::input`], so that the bytes can be fed in one piece.
pub const CLIENT_HELLO_MAX: usize = 16 * 1024;

const RECORD_HEADER: usize = 5;
const CONTENT_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// The beginning of a ClientHello; more must come.
    Incomplete,
    /// A whole ClientHello: the handshake may begin.
    Complete,
    /// Not the beginning of a TLS handshake.
    NotTls,
    /// A ClientHello that is longer than [`CLIENT_HELLO_MAX`].
    TooLong,
}

/// Looks at all that a connection has sent so far.
///
/// It follows the record layer (RFC 8446 §5.1), where a message may be cut into several records, but does not
/// look into the ClientHello: whether it is any good is for rustls to say.
pub fn peek(bytes: &[u8]) -> Peek {
    let mut rest = bytes;
    // The message so far: the four bytes of its header as they come in, then how many have come.
    let mut header = [0_u8; 4];
    let mut have = 0_usize;
    loop {
        let seen = &rest[..rest.len().min(RECORD_HEADER)];
        let plausible = seen.iter().enumerate().all(|(at, byte)| match at {
            0 => *byte == CONTENT_HANDSHAKE,
            1 => *byte == 3,
            2 => *byte <= 4,
            _ => true,
        });
        if !plausible {
            return Peek::NotTls;
        }
        let &[_, _, _, high, low] = seen else {
            return incomplete(bytes);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 {
            return Peek::NotTls;
        }
        let content = &rest[RECORD_HEADER..];
        let content = &content[..content.len().min(length)];
        for (slot, byte) in header.iter_mut().skip(have).zip(content) {
            *slot = *byte;
        }
        have += content.len();
        if have > 0 && header[0] != HANDSHAKE_CLIENT_HELLO {
            return Peek::NotTls;
        }
        if have >= header.len() {
            let [_, a, b, c] = header;
            let message = header.len() + u32::from_be_bytes([0, a, b, c]) as usize;
            if message > CLIENT_HELLO_MAX {
                return Peek::TooLong;
            }
            if have >= message {
                return Peek::Complete;
            }
        }
        if content.len() < length {
            return incomplete(bytes);
        }
        rest = &rest[RECORD_HEADER + length..];
    }
}

fn incomplete(bytes: &[u8]) -> Peek {
    if bytes.len() < CLIENT_HELLO_MAX { Peek::Incomplete } else { Peek::TooLong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello with `body` bytes, in records of at most `record` bytes.
    fn hello(body: usize, record: usize) -> Vec<u8> {
        let mut message = vec![1];
        message.extend_from_slice(&u32::try_from(body).unwrap().to_be_bytes()[1..]);
        message.resize(4 + body, 7);
        let mut bytes = Vec::new();
        for piece in message.chunks(record) {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(piece);
        }
        bytes
    }

    #[test]
    fn foreign_protocols_are_seen_at_their_first_byte() {
        for first in [&b"\x10"[..], b"GET / HTTP/1.1\r\n", b"SSH-2.0", b"\x80\x2e\x01", b"\0"] {
            assert_eq!(peek(first), Peek::NotTls);
        }
        assert_eq!(peek(&[22, 4]), Peek::NotTls);
        assert_eq!(peek(&[22, 3, 1, 0, 0]), Peek::NotTls, "an empty record");
        assert_eq!(peek(&[22, 3, 1, 0, 9, 2]), Peek::NotTls, "a ServerHello");
        assert_eq!(peek(&[]), Peek::Incomplete);
    }

    #[test]
    fn a_hello_without_end_is_refused_from_its_header() {
        assert_eq!(peek(&[22, 3, 1, 0x40, 0, 1, 1, 0, 0]), Peek::TooLong);
        // Records of one byte each have five bytes of header: many headers must not pass the limit either.
        let tiny = hello(8000, 1);
        assert_eq!(peek(&tiny[..CLIENT_HELLO_MAX - 1]), Peek::Incomplete);
        assert_eq!(peek(&tiny[..CLIENT_HELLO_MAX]), Peek::TooLong);
    }

    proptest! {
        #[test]
        fn complete_at_the_last_byte_and_not_before(body in 0_usize..1500, record in 1_usize..700) {
            let bytes = hello(body, record);
            prop_assume!(bytes.len() < CLIENT_HELLO_MAX);
            for end in 0..bytes.len() {
                prop_assert_eq!(peek(&bytes[..end]), Peek::Incomplete);
            }
            prop_assert_eq!(peek(&bytes), Peek::Complete);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), good in 0_usize..60) {
            let mut mixed = hello(50, 9);
            mixed.truncate(good);
            mixed.extend(bytes);
            peek(&mixed);
        }
    }
}
