//! Reads the data types of the standard (MQTT 5 §1.5) off a packet, and refuses what it forbids in them.

use super::error::DecodeError;

/// What is left of a packet.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Tells how many bytes were read, counted from the beginning of the packet.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..n));
        let taken = taken.ok_or_else(|| DecodeError::malformed("the packet ends within a field"))?;
        self.at += n;
        Ok(taken)
    }

    /// Cuts off the next `n` bytes, which keep their positions in the packet.
    pub(super) fn split(&mut self, n: usize) -> Result<Self, DecodeError> {
        let at = self.at;
        self.take(n)?;
        Ok(Self { bytes: &self.bytes[..self.at], at })
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn two_bytes(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn four_bytes(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.two_bytes()?;
        self.take(usize::from(n))
    }

    /// Reads a variable byte integer, which must have no byte more than it needs.
    pub(super) fn variable(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for at in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return if byte == 0 && at > 0 {
                    Err(DecodeError::malformed("a number has more bytes than it needs"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::malformed("a number has more than four bytes"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text =
            str::from_utf8(self.binary()?).map_err(|_| DecodeError::malformed("a string is not UTF-8"))?;
        if text.chars().any(is_forbidden) {
            return Err(DecodeError::malformed("a string has a control character or a non-character"));
        }
        Ok(text)
    }
}

/// Tells whether the standard forbids a character, or lets a receiver refuse it (§1.5.4).
///
/// U+0000 must be refused. The others may be, and nothing that WakeMQ names has any use for them; logs and
/// terminals are better off without.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(body: &[u8]) -> bool {
        let mut bytes = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        Reader::new(&bytes).string().is_ok()
    }

    #[test]
    fn strings() {
        for good in ["", "a", "é", "\u{feff}bom", "日本", "😀", " "] {
            assert!(string(good.as_bytes()), "{good:?}");
        }
        for bad in
            ["\0", "a\u{1}", "tab\t", "\n", "\u{7f}", "\u{80}", "\u{9f}", "\u{fffe}", "\u{1ffff}", "\u{fdd0}"]
        {
            assert!(!string(bad.as_bytes()), "{bad:?}");
        }
        // A surrogate, an overlong NUL, a cut sequence, a lone continuation.
        for bad in [&b"\xed\xa0\x80"[..], b"\xc0\x80", b"\xe6\x97", b"\x80"] {
            assert!(!string(bad), "{bad:x?}");
        }
        assert!(Reader::new(&[0, 2, b'a']).string().is_err());
    }

    #[test]
    fn variable_byte_integers() {
        let read = |bytes: &[u8]| Reader::new(bytes).variable().ok();
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[0x7f]), Some(127));
        assert_eq!(read(&[0x80, 1]), Some(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0x7f]), Some(268_435_455));
        assert_eq!(read(&[0x80, 0]), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0x80, 1]), None);
        assert_eq!(read(&[0x80]), None);
    }
}
