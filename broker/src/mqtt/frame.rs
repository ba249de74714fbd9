//! Cuts a byte stream into packets.

/// What the bytes at the front of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Part of a packet; more must come.
    NeedMore,
    /// A whole packet of this many bytes, header included.
    Whole(usize),
    /// A packet of this many bytes, which is more than allowed; its body need not have come.
    TooLarge(usize),
    /// The length is not a number (MQTT 5 §1.5.5): the stream cannot be followed any longer.
    Malformed,
}

/// Looks for a packet of at most `max` bytes, header included, at the front of `bytes`.
pub fn frame(bytes: &[u8], max: usize) -> Frame {
    let mut length = 0_usize;
    for at in 0..4 {
        let Some(byte) = bytes.get(1 + at) else {
            return Frame::NeedMore;
        };
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let whole = 2 + at + length;
            return if whole > max {
                Frame::TooLarge(whole)
            } else if whole > bytes.len() {
                Frame::NeedMore
            } else {
                Frame::Whole(whole)
            };
        }
    }
    Frame::Malformed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_at_their_length() {
        assert_eq!(frame(&[], 100), Frame::NeedMore);
        assert_eq!(frame(&[0xc0], 100), Frame::NeedMore);
        assert_eq!(frame(&[0xc0, 0], 100), Frame::Whole(2));
        assert_eq!(frame(&[0xc0, 0, 0xc0, 0], 100), Frame::Whole(2));
        assert_eq!(frame(&[0x30, 3, 1, 2], 100), Frame::NeedMore);
        assert_eq!(frame(&[0x30, 3, 1, 2, 3], 100), Frame::Whole(5));
        assert_eq!(frame(&[0x30, 0x80], 100), Frame::NeedMore);
    }

    #[test]
    fn the_limit_is_seen_in_the_header() {
        assert_eq!(frame(&[0x30, 98], 100), Frame::NeedMore);
        assert_eq!(frame(&[0x30, 99], 100), Frame::TooLarge(101));
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], 65_536), Frame::TooLarge(268_435_460));
        assert_eq!(frame(&[0x30, 0xfd, 0xff, 0x03], 65_536), Frame::TooLarge(65_537));
        assert_eq!(frame(&[0x30, 0xfc, 0xff, 0x03], 65_536), Frame::NeedMore);
    }

    #[test]
    fn a_fifth_length_byte_is_refused_even_if_four_are_there() {
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80], 100), Frame::NeedMore);
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80], 100), Frame::Malformed);
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80, 0], 100), Frame::Malformed);
    }
}
