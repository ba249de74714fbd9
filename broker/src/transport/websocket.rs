//! Frames of a WebSocket connection (RFC 6455 §5), as the server of a byte stream sees them.
//!
//! MQTT takes the payloads of binary frames for one stream of bytes and ignores where a message ends (MQTT 5 §6.0),
//! so no message is ever put together here: payloads pass through as they come, and a quiet connection holds no
//! buffer.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header: 2 bytes, 8 of the length, 4 of the mask.
const HEAD_MAX: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;
/// What a server appends to the client's key (RFC 6455 §4.2.2).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long a client's key is: 16 bytes in Base64.
const KEY_LEN: usize = 24;

/// Returns the answer to a client's `Sec-WebSocket-Key`; none if that is not 16 bytes in Base64.
pub fn accept_key(key: &[u8]) -> Option<String> {
    if key.len() != KEY_LEN || STANDARD.decode(key).map(|decoded| decoded.len()) != Ok(16) {
        return None;
    }
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT_SUFFIX.as_bytes()].concat());
    Some(STANDARD.encode(hash.as_ref()))
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// A frame that RFC 6455 forbids.
    #[error("WebSocket: {0}")]
    Protocol(&'static str),
    /// MQTT is sent in binary frames alone (MQTT 5 §6.0).
    #[error("WebSocket: a text frame")]
    Text,
}

impl WebSocketError {
    /// Returns what the closing frame says.
    fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => CloseCode::Protocol.into(),
            Self::Text => CloseCode::Unsupported.into(),
        }
    }
}

/// A frame whose payload is being read.
#[derive(Debug)]
struct Open {
    opcode: OpCode,
    mask: [u8; 4],
    /// How much of the payload is still to come.
    left: u64,
    /// Where in the mask its next byte is.
    at: u8,
}

/// What is to be known of a connection between two frames, or in the middle of one.
#[derive(Debug, Default)]
pub struct WebSocket {
    /// The first bytes of a header.
    head: [u8; HEAD_MAX],
    head_len: u8,
    /// A message was begun, and not ended.
    in_message: bool,
    /// Nothing is read any more, or said.
    closed: bool,
    open: Option<Open>,
    /// The payload of a control frame that is being read.
    control: Vec<u8>,
}

impl WebSocket {
    /// Takes what came: payloads of binary frames go to `payload`, whole frames in answer to `answers`.
    ///
    /// # Errors
    /// The frame that closes the connection is in `answers` then; nothing more is read.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        payload: &mut Vec<u8>,
        answers: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        while !bytes.is_empty() && !self.closed {
            let fed = match &self.open {
                Some(_) => self.feed_payload(&mut bytes, payload, answers),
                None => self.feed_head(&mut bytes, answers),
            };
            if let Err(error) = fed {
                self.close_with(error.close_code(), answers);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes bytes as one binary frame.
    pub fn wrap(&self, payload: &[u8], out: &mut Vec<u8>) {
        if !self.closed {
            write(OpCode::Data(Data::Binary), payload, out);
        }
    }

    /// Writes the closing frame that says that all is well, unless one was written before.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.close_with(CloseCode::Normal.into(), out);
    }

    fn close_with(&mut self, code: u16, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.closed, true) {
            write(OpCode::Control(Control::Close), &code.to_be_bytes(), out);
        }
    }

    /// Tells whether either side has closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes bytes of a header, and what follows from a whole one.
    fn feed_head(&mut self, bytes: &mut &[u8], answers: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let had = usize::from(self.head_len);
        let more = bytes.len().min(HEAD_MAX - had);
        self.head[had..had + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.head[..had + more]);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|_| WebSocketError::Protocol("a reserved opcode"))?;
        let Some((header, len)) = parsed else {
            self.head_len = (had + more) as u8;
            *bytes = &bytes[more..];
            return Ok(());
        };
        let taken = cursor.position() as usize - had;
        *bytes = &bytes[taken..];
        self.head_len = 0;
        self.begin(&header, len)?;
        if len == 0 {
            self.end(answers);
        }
        Ok(())
    }

    /// Checks a header (RFC 6455 §5.1 to §5.5).
    fn begin(&mut self, header: &FrameHeader, len: u64) -> Result<(), WebSocketError> {
        let protocol = |text| Err(WebSocketError::Protocol(text));
        let Some(mask) = header.mask else { return protocol("a frame without a mask") };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return protocol("a reserved bit without an extension");
        }
        if len > i64::MAX as u64 {
            return protocol("a length with its highest bit set");
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return protocol("a control frame in fragments"),
            OpCode::Control(_) if len > CONTROL_MAX as u64 => {
                return protocol("a control frame that is too long");
            }
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if !self.in_message => {
                return protocol("a continuation of nothing");
            }
            OpCode::Data(Data::Binary | Data::Text) if self.in_message => {
                return protocol("a message inside another");
            }
            OpCode::Data(Data::Text) => return Err(WebSocketError::Text),
            OpCode::Data(Data::Continue | Data::Binary | Data::Reserved(_)) => {
                self.in_message = !header.is_final;
            }
        }
        self.open = Some(Open { opcode: header.opcode, mask, left: len, at: 0 });
        Ok(())
    }

    fn feed_payload(
        &mut self,
        bytes: &mut &[u8],
        payload: &mut Vec<u8>,
        answers: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let n = usize::try_from(open.left).unwrap_or(usize::MAX).min(bytes.len());
        let (now, rest) = bytes.split_at(n);
        let target = match open.opcode {
            OpCode::Data(_) => payload,
            OpCode::Control(_) => &mut self.control,
        };
        let mask = open.mask.iter().cycle().skip(open.at.into());
        target.extend(now.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        open.at = ((usize::from(open.at) + n) % open.mask.len()) as u8;
        open.left -= n as u64;
        *bytes = rest;
        if open.left == 0 {
            self.end(answers);
        }
        Ok(())
    }

    /// Answers a control frame that has come in full.
    fn end(&mut self, answers: &mut Vec<u8>) {
        let control = std::mem::take(&mut self.control);
        match self.open.take().map(|open| open.opcode) {
            Some(OpCode::Control(Control::Ping)) => write(OpCode::Control(Control::Pong), &control, answers),
            Some(OpCode::Control(Control::Close)) => {
                // The same code back (RFC 6455 §5.5.1), as far as there is one that may be sent.
                let code = control.first_chunk().map(|code| u16::from_be_bytes(*code));
                let code = code.filter(|code| CloseCode::from(*code).is_allowed());
                self.close_with(code.unwrap_or(CloseCode::Normal.into()), answers);
            }
            Some(OpCode::Control(Control::Pong | Control::Reserved(_)) | OpCode::Data(_)) | None => {}
        }
    }
}

/// Writes a whole frame of a server, which has no mask.
fn write(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a vector cannot fail.
    header.format(payload.len() as u64, out).ok();
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tungstenite::protocol::frame::Frame;

    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 250];

    /// A frame of a client.
    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final, opcode, mask: Some(MASK), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        Frame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
        bytes
    }

    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUE: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);
    const CLOSE: OpCode = OpCode::Control(Control::Close);

    /// Feeds bytes in pieces; returns payload, answers, and how it ended.
    fn feed(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Result<(), WebSocketError>) {
        let (mut socket, mut payload, mut answers) = (WebSocket::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            if let Err(error) = socket.feed(piece, &mut payload, &mut answers) {
                assert!(socket.is_closed());
                return (payload, answers, Err(error));
            }
        }
        (payload, answers, Ok(()))
    }

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        // RFC 6455 §1.3.
        let accept = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for bad in
            [&b""[..], b"dGhlIHNhbXBsZSBub25jZQ=", b"dGhlIHNhbXBsZSBub25jZSE=", b"dGhlIHNhbXBsZSBub25jZQ!!"]
        {
            assert_eq!(accept_key(bad), None);
        }
    }

    #[test]
    fn payloads_come_through_in_fragments_and_around_a_ping_in_any_pieces() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
        let bytes = [
            frame(BINARY, false, b"ab"),
            frame(PING, true, b"hello"),
            frame(CONTINUE, false, b""),
            frame(CONTINUE, true, b"cd"),
            frame(BINARY, true, &long),
            frame(OpCode::Control(Control::Pong), true, b"unasked"),
            frame(BINARY, true, b"e"),
        ]
        .concat();
        for piece in [1, 2, 3, 7, 100, bytes.len()] {
            let (payload, answers, ended) = feed(&bytes, piece);
            assert_eq!(ended, Ok(()));
            assert!(payload == [b"abcd", &*long, b"e"].concat());
            assert_eq!(answers, b"\x8a\x05hello");
        }
    }

    #[test]
    fn a_close_is_answered_once_and_nothing_is_read_behind_it() {
        let behind = frame(BINARY, true, b"x");
        for (said, answered) in [
            (&[0x03, 0xe8][..], &[0x88, 2, 0x03, 0xe8][..]),
            (b"\x03\xe9bye", &[0x88, 2, 0x03, 0xe9]),
            (b"", &[0x88, 2, 0x03, 0xe8]),
            // One that must not be sent (RFC 6455 §7.4.1).
            (&[0x03, 0xed], &[0x88, 2, 0x03, 0xe8]),
        ] {
            let (payload, answers, ended) = feed(&[frame(CLOSE, true, said), behind.clone()].concat(), 1);
            assert_eq!((payload, &*answers, ended), (Vec::new(), answered, Ok(())));
        }
        let (mut socket, mut out) = (WebSocket::default(), Vec::new());
        socket.close(&mut out);
        socket.close(&mut out);
        socket.wrap(b"late", &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xe8]);
    }

    #[test]
    fn what_the_standard_forbids_closes_the_connection() {
        let unmasked = [0x82, 1, b'x'].to_vec();
        let reserved_bit = [0xc2, 0x80, 0, 0, 0, 0].to_vec();
        let reserved_opcode = [0x83, 0x80, 0, 0, 0, 0].to_vec();
        let too_long = [&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat();
        let protocol = [
            unmasked,
            reserved_bit,
            reserved_opcode,
            too_long,
            frame(PING, false, b""),
            frame(PING, true, &[0; 126]),
            frame(CONTINUE, true, b"x"),
            [frame(BINARY, false, b"x"), frame(BINARY, true, b"y")].concat(),
        ];
        for bytes in protocol {
            let (_, answers, ended) = feed(&bytes, bytes.len());
            assert!(matches!(ended, Err(WebSocketError::Protocol(_))), "{bytes:?}");
            assert_eq!(answers, [0x88, 2, 0x03, 0xea], "{bytes:?}");
        }
        let (_, answers, ended) = feed(&frame(OpCode::Data(Data::Text), true, b"MQTT"), 3);
        assert_eq!((&*answers, ended), (&[0x88, 2, 0x03, 0xeb][..], Err(WebSocketError::Text)));
    }

    #[test]
    fn a_quiet_connection_holds_no_buffer_and_little_else() {
        let (mut socket, mut payload, mut answers) = (WebSocket::default(), Vec::new(), Vec::new());
        socket.feed(&frame(PING, true, b"hello"), &mut payload, &mut answers).unwrap();
        assert_eq!(socket.control.capacity(), 0);
        assert!(size_of::<WebSocket>() <= 80, "{}", size_of::<WebSocket>());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_alike(bytes in vec(any::<u8>(), 0..400), piece in 1_usize..20) {
            prop_assert_eq!(feed(&bytes, piece), feed(&bytes, 400));
        }

        #[test]
        fn what_is_wrapped_is_one_binary_frame(payload in vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            WebSocket::default().wrap(&payload, &mut out);
            let mut cursor = Cursor::new(&*out);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert_eq!((header.opcode, header.mask, header.is_final), (BINARY, None, true));
            prop_assert_eq!(len, payload.len() as u64);
            prop_assert!(out[cursor.position() as usize..] == payload);
        }
    }
}
