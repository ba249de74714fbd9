//! Packets of both versions, byte by byte, and the codec of the other end.

mod connect;
mod fuzz;
mod packets;
mod round_trip;

use wakemq_core::packet::ProtocolLevel::{self, V4, V5};

/// Puts a header in front of a body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        frame.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    frame.extend_from_slice(body);
    frame
}

/// A string with its length in front.
fn s(text: &str) -> Vec<u8> {
    b(text.as_bytes())
}

/// Bytes with their length in front.
fn b(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The body of a CONNECT: flags, properties (MQTT 5 only), then the payload's fields.
fn connect(level: ProtocolLevel, flags: u8, properties: &[u8], fields: &[Vec<u8>]) -> Vec<u8> {
    let mut body = s("MQTT");
    body.push(if level == V4 { 4 } else { 5 });
    body.push(flags);
    body.extend([0, 60]);
    if level == V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend(fields.concat());
    framed(0x10, &body)
}
