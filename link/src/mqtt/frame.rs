//! Bytes to packets and back: rumqttc's codec, with what it does not take mended before it.

use bytes::{BufMut, BytesMut};
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Packet, PacketType, check};

/// Splits the next whole packet off what was read; `Err(n)` within `Ok` asks for at least `n` bytes more.
pub(crate) fn next_frame(read: &mut BytesMut, max: u32) -> Result<Result<BytesMut, usize>, Error> {
    match check(read.iter(), Some(max)) {
        Ok(header) => Ok(Ok(read.split_to(header.frame_length()))),
        Err(Error::InsufficientBytes(more)) => Ok(Err(more)),
        Err(error) => Err(error),
    }
}

/// Decodes one whole packet.
pub(crate) fn decode(mut frame: BytesMut) -> Result<Packet, Error> {
    let kind = check(frame.iter(), None)?.packet_type()?;
    if kind == PacketType::Disconnect {
        complete_disconnect(&mut frame);
    }
    match Packet::read(&mut frame, None) {
        // The frame is whole, so what asks for more bytes is malformed.
        Err(Error::InsufficientBytes(_)) => Err(Error::MalformedPacket),
        result => result,
    }
}

/// Writes out what MQTT 5 §3.14.2 lets a server leave out of a DISCONNECT, which the codec does not expect.
fn complete_disconnect(frame: &mut BytesMut) {
    match frame[..] {
        [first, 0] => *frame = BytesMut::from(&[first, 2, 0, 0][..]),
        [first, 1, reason] => {
            frame.clear();
            frame.put_slice(&[first, 2, reason, 0]);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5::DisconnectReasonCode;

    #[test]
    fn short_disconnects_are_understood() {
        for (bytes, reason) in [
            (&[0xE0, 0][..], DisconnectReasonCode::NormalDisconnection),
            (&[0xE0, 1, 0x8E], DisconnectReasonCode::SessionTakenOver),
            (&[0xE0, 2, 0x8B, 0], DisconnectReasonCode::ServerShuttingDown),
        ] {
            match decode(BytesMut::from(bytes)) {
                Ok(Packet::Disconnect(packet)) => assert_eq!(packet.reason_code, reason),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn frames_are_split_and_bounded() {
        let mut read = BytesMut::from(&[0xD0, 0, 0xD0][..]);
        assert_eq!(next_frame(&mut read, 100).unwrap().unwrap()[..], [0xD0, 0]);
        assert_eq!(next_frame(&mut read, 100).unwrap(), Err(1));
        let mut read = BytesMut::from(&[0x30, 0xFF, 0x7F][..]);
        assert!(next_frame(&mut read, 100).is_err(), "a large packet is refused before it is read");
    }

    #[test]
    fn a_whole_packet_that_lies_about_its_inside_is_malformed() {
        // CONNACK without a property length.
        assert!(matches!(decode(BytesMut::from(&[0x20, 2, 0, 0][..])), Err(Error::MalformedPacket)));
    }
}
