//! Packets as bytes: MQTT 3.1.1 §2 and §3, MQTT 5 §2 and §3, as far as a client needs them.

use anyhow::{Context as _, Result, bail, ensure};

use super::Login;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V4,
    /// 5
    V5,
}

impl Version {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V5];
}

/// A property of MQTT 5 by its number (§2.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// One byte.
    Byte(u8, u8),
    /// Two bytes.
    Two(u8, u16),
    /// Four bytes.
    Four(u8, u32),
    /// A text, or binary data.
    Data(u8, Vec<u8>),
    /// A user property.
    User(String, String),
}

impl Property {
    /// Makes a Response Topic.
    pub fn response_topic(topic: &str) -> Self {
        Self::Data(0x08, topic.as_bytes().to_vec())
    }

    /// Makes Correlation Data.
    pub fn correlation(data: &[u8]) -> Self {
        Self::Data(0x09, data.to_vec())
    }
}

/// The properties of a packet that came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Returns the Reason String.
    pub fn reason(&self) -> Option<String> {
        self.data(0x1F).map(|data| String::from_utf8_lossy(data).into_owned())
    }

    /// Returns a text or binary data by its number.
    pub fn data(&self, number: u8) -> Option<&[u8]> {
        self.0.iter().find_map(|property| {
            let Property::Data(of, data) = property else { return None };
            (*of == number).then_some(&**data)
        })
    }

    /// Returns a user property.
    pub fn user(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|property| {
            let Property::User(of, value) = property else { return None };
            (of == name).then_some(&**value)
        })
    }
}

/// A packet of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the standard")]
pub enum Packet {
    /// §3.2; Session Present is always 0, or it is an error.
    ConnAck { code: u8, properties: Properties },
    /// §3.3
    Publish { topic: String, payload: Vec<u8>, packet_id: Option<u16>, dup: bool, properties: Properties },
    /// §3.4
    PubAck { packet_id: u16, code: u8, properties: Properties },
    /// §3.9
    SubAck { packet_id: u16, codes: Vec<u8>, properties: Properties },
    /// §3.11
    UnsubAck { packet_id: u16, codes: Vec<u8> },
    /// §3.13
    PingResp,
    /// §3.14; MQTT 5 alone.
    Disconnect { code: u8, properties: Properties },
}

/// Writes a text or binary data with its length.
pub fn text(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], &data[..usize::from(len)]].concat()
}

/// Writes a packet of a first byte and a body of any length.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &varint(body.len()), body].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Writes properties with their length.
pub fn properties(all: &[Property]) -> Vec<u8> {
    let mut body = Vec::new();
    for property in all {
        match property {
            Property::Byte(number, value) => body.extend([*number, *value]),
            Property::Two(number, value) => {
                body.push(*number);
                body.extend(value.to_be_bytes());
            }
            Property::Four(number, value) => {
                body.push(*number);
                body.extend(value.to_be_bytes());
            }
            Property::Data(number, data) => {
                body.push(*number);
                body.extend(text(data));
            }
            Property::User(name, value) => {
                body.push(0x26);
                body.extend(text(name.as_bytes()));
                body.extend(text(value.as_bytes()));
            }
        }
    }
    [varint(body.len()), body].concat()
}

/// Writes a CONNECT with a clean session, a user name and a password.
pub fn connect(login: &Login) -> Vec<u8> {
    let mut body = text(b"MQTT");
    body.push(match login.version {
        Version::V4 => 4,
        Version::V5 => 5,
    });
    body.push(0b1100_0010);
    body.extend(login.keep_alive.to_be_bytes());
    if login.version == Version::V5 {
        body.extend(properties(&login.properties));
    }
    for field in [&login.client_id, &login.user, &login.password] {
        body.extend(text(field.as_bytes()));
    }
    frame(0x10, &body)
}

/// Writes a SUBSCRIBE with one filter.
pub fn subscribe(version: Version, packet_id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(filter.as_bytes()));
    body.push(qos);
    frame(0x82, &body)
}

/// Writes a PUBLISH at QoS 1.
pub fn publish(version: Version, packet_id: u16, topic: &str, payload: &[u8], with: &[Property]) -> Vec<u8> {
    let mut body = text(topic.as_bytes());
    body.extend(packet_id.to_be_bytes());
    if version == Version::V5 {
        body.extend(properties(with));
    }
    body.extend(payload);
    frame(0x32, &body)
}

/// Reads the first packet, if it is whole, and returns how long it was.
pub fn parse(version: Version, bytes: &[u8]) -> Result<Option<(Packet, usize)>> {
    let mut reader = Reader(bytes);
    let (Some(first), Some(len)) = (reader.take(1), reader.varint()?) else { return Ok(None) };
    let Some(body) = reader.take(len) else { return Ok(None) };
    let whole = bytes.len() - reader.0.len();
    let packet =
        parse_body(version, first[0], Reader(body)).with_context(|| format!("{:x?}", &bytes[..whole]))?;
    Ok(Some((packet, whole)))
}

fn parse_body(version: Version, first: u8, mut body: Reader<'_>) -> Result<Packet> {
    let v5 = version == Version::V5;
    let packet = match (first >> 4, first & 0x0F) {
        (2, 0) => {
            let (flags, code) = (body.byte()?, body.byte()?);
            ensure!(flags == 0, "Session Present is {flags}");
            Packet::ConnAck { code, properties: if v5 { body.properties()? } else { Properties::default() } }
        }
        (3, flags) => {
            let topic = String::from_utf8(body.data()?.to_vec())?;
            let packet_id = if flags & 0b0110 == 0 { None } else { Some(body.two()?) };
            let properties = if v5 { body.properties()? } else { Properties::default() };
            let payload = std::mem::take(&mut body.0).to_vec();
            Packet::Publish { topic, payload, packet_id, dup: flags & 0b1000 != 0, properties }
        }
        (4, 0) => {
            let packet_id = body.two()?;
            let code = if body.0.is_empty() { 0 } else { body.byte()? };
            let properties = if body.0.is_empty() { Properties::default() } else { body.properties()? };
            ensure!(v5 || code == 0, "a PUBACK of 3.1.1 has no code");
            Packet::PubAck { packet_id, code, properties }
        }
        (9, 0) => {
            let packet_id = body.two()?;
            let properties = if v5 { body.properties()? } else { Properties::default() };
            Packet::SubAck { packet_id, codes: std::mem::take(&mut body.0).to_vec(), properties }
        }
        (11, 0) => {
            let packet_id = body.two()?;
            if v5 {
                body.properties()?;
            }
            Packet::UnsubAck { packet_id, codes: std::mem::take(&mut body.0).to_vec() }
        }
        (13, 0) => Packet::PingResp,
        (14, 0) if v5 => {
            let code = if body.0.is_empty() { 0 } else { body.byte()? };
            let properties = if body.0.is_empty() { Properties::default() } else { body.properties()? };
            Packet::Disconnect { code, properties }
        }
        (kind, flags) => bail!("a broker sends no packet {kind} with flags {flags:04b}"),
    };
    ensure!(body.0.is_empty(), "{} bytes too many", body.0.len());
    Ok(packet)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn need(&mut self, n: usize) -> Result<&'a [u8]> {
        self.take(n).context("the packet is too short")
    }

    fn varint(&mut self) -> Result<Option<usize>> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let Some(byte) = self.take(1) else { return Ok(None) };
            value |= usize::from(byte[0] & 0x7F) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        bail!("a length of more than four bytes")
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.need(1)?[0])
    }

    fn two(&mut self) -> Result<u16> {
        let bytes = self.need(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn four(&mut self) -> Result<u32> {
        Ok(u32::from(self.two()?) << 16 | u32::from(self.two()?))
    }

    fn data(&mut self) -> Result<&'a [u8]> {
        let len = self.two()?;
        self.need(len.into())
    }

    fn properties(&mut self) -> Result<Properties> {
        let len = self.varint()?.context("no length of properties")?;
        let mut body = Reader(self.need(len)?);
        let mut all = Vec::new();
        while !body.0.is_empty() {
            let number = body.byte()?;
            all.push(match number {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Property::Byte(number, body.byte()?),
                0x13 | 0x21 | 0x22 | 0x23 => Property::Two(number, body.two()?),
                0x02 | 0x11 | 0x18 | 0x27 => Property::Four(number, body.four()?),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => {
                    Property::Data(number, body.data()?.to_vec())
                }
                0x26 => {
                    let (name, value) = (body.data()?, body.data()?);
                    Property::User(String::from_utf8(name.to_vec())?, String::from_utf8(value.to_vec())?)
                }
                _ => bail!("no such property: {number:#x}"),
            });
        }
        Ok(Properties(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_the_standard_shows_them() {
        for (value, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (16_384, &[0x80, 0x80, 1])] {
            assert_eq!(varint(value), bytes);
            assert_eq!(Reader(bytes).varint().unwrap(), Some(value));
        }
    }

    #[test]
    fn a_packet_is_read_only_when_it_is_whole() {
        let bytes = [0x40, 0x03, 0x00, 0x07, 0x87];
        for len in 0..bytes.len() {
            assert!(parse(Version::V5, &bytes[..len]).unwrap().is_none());
        }
        let (packet, len) = parse(Version::V5, &bytes).unwrap().unwrap();
        let properties = Properties::default();
        assert_eq!((packet, len), (Packet::PubAck { packet_id: 7, code: 0x87, properties }, 5));
        assert!(parse(Version::V4, &bytes).is_err());
    }
}
