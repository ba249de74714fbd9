//! Frames (RFC 6455 §5.2): their headers, and what a client may meet in them.

use std::fmt;

/// The longest header of a server's frame: 2 bytes, and 8 of the length.
pub(super) const HEAD_MAX: usize = 10;
/// The longest payload of a control frame (§5.5).
pub(super) const CONTROL_MAX: usize = 125;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Binary => false,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// Says what a server sent that it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker broke the WebSocket's protocol: {0}")]
pub(super) struct FrameError(pub(super) &'static str);

/// The header of a server's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) is_final: bool,
    pub(super) len: u64,
}

/// How far a header was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// It has so many bytes, of which not all are there.
    Wants(usize),
    Whole(Header),
}

impl Header {
    /// Reads the header that `head` begins; `in_message` says whether a message was begun and not ended.
    pub(super) fn read(head: &[u8], in_message: bool) -> Result<Read, FrameError> {
        let &[first, second, ref rest @ ..] = head else { return Ok(Read::Wants(2)) };
        if first & 0x70 != 0 {
            return Err(FrameError("a reserved bit without an extension"));
        }
        if second & 0x80 != 0 {
            return Err(FrameError("a frame with a mask"));
        }
        let opcode = match first & 0x0F {
            0x0 => Opcode::Continuation,
            0x1 => return Err(FrameError("a text frame, though MQTT is sent in binary ones")),
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(FrameError("a reserved opcode")),
        };
        let len = match second {
            126 => match rest.first_chunk() {
                Some(len) => u64::from(u16::from_be_bytes(*len)),
                None => return Ok(Read::Wants(4)),
            },
            127 => match rest.first_chunk() {
                Some(len) => u64::from_be_bytes(*len),
                None => return Ok(Read::Wants(HEAD_MAX)),
            },
            short => u64::from(short),
        };
        let header = Self { opcode, is_final: first & 0x80 != 0, len };
        header.check(in_message)?;
        Ok(Read::Whole(header))
    }

    fn check(self, in_message: bool) -> Result<(), FrameError> {
        if self.opcode.is_control() {
            return match self {
                Self { is_final: false, .. } => Err(FrameError("a control frame in fragments")),
                Self { len, .. } if len > CONTROL_MAX as u64 => {
                    Err(FrameError("a control frame that is too long"))
                }
                Self { .. } => Ok(()),
            };
        }
        if self.len > i64::MAX as u64 {
            return Err(FrameError("a length with its highest bit set"));
        }
        match self.opcode {
            Opcode::Continuation if !in_message => Err(FrameError("a continuation of nothing")),
            Opcode::Binary if in_message => Err(FrameError("a message inside another")),
            Opcode::Continuation | Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => Ok(()),
        }
    }
}

/// Appends a whole frame of a client, which has a mask (§5.3).
pub(super) fn write(opcode: Opcode, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEAD_MAX + mask.len() + payload.len());
    out.push(0x80 | opcode.bits());
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// What a closing frame says (§5.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closing {
    code: Option<u16>,
    reason: String,
}

impl Closing {
    /// All is well (§7.4.1).
    const NORMAL: u16 = 1000;

    pub(super) fn parse(payload: &[u8]) -> Self {
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
        Self { code, reason: reason.chars().filter(|c| !c.is_control()).collect() }
    }

    /// Tells whether it is no more than an end.
    pub(super) fn is_normal(&self) -> bool {
        self.code.is_none_or(|code| code == Self::NORMAL)
    }

    /// Returns the payload of the closing frame that says that all is well.
    pub(super) fn normal() -> [u8; 2] {
        Self::NORMAL.to_be_bytes()
    }
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the WebSocket was closed")?;
        if let Some(code) = self.code {
            write!(f, " with {code}")?;
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}
