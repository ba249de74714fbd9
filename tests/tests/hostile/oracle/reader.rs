//! The data types (MQTT 5 §1.5) and properties (§2.2.2).

use super::{Cut, Faults, MALFORMED, PROTOCOL};

/// What is left of a packet's body.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, n: usize, faults: &mut Faults) -> Result<&'a [u8], Cut> {
        let Some((taken, rest)) = self.0.split_at_checked(n) else {
            faults.add(MALFORMED);
            return Err(Cut);
        };
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self, faults: &mut Faults) -> Result<u8, Cut> {
        Ok(self.take(1, faults)?[0])
    }

    pub(super) fn number(&mut self, n: usize, faults: &mut Faults) -> Result<u32, Cut> {
        Ok(self.take(n, faults)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    pub(super) fn binary(&mut self, faults: &mut Faults) -> Result<&'a [u8], Cut> {
        let n = self.number(2, faults)?;
        self.take(n as usize, faults)
    }

    /// A UTF-8 string (§1.5.4); a bad one is told, and reading goes on behind it.
    pub(super) fn string(&mut self, faults: &mut Faults) -> Result<&'a str, Cut> {
        let bytes = self.binary(faults)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                faults.add_if(text.chars().any(is_unwelcome), MALFORMED);
                Ok(text)
            }
            Err(_) => {
                faults.add(MALFORMED);
                Ok("")
            }
        }
    }

    /// A variable byte integer (§1.5.5), in the fewest bytes.
    pub(super) fn variable(&mut self, faults: &mut Faults) -> Result<usize, Cut> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.byte(faults)?;
            value += usize::from(byte & 127) << (7 * at);
            if byte < 128 {
                faults.add_if(at > 0 && byte == 0, MALFORMED);
                return Ok(value);
            }
        }
        faults.add(MALFORMED);
        Err(Cut)
    }
}

/// U+0000 must not be there; control characters and non-characters may be refused, and WakeMQ refuses them.
fn is_unwelcome(c: char) -> bool {
    let n = c as u32;
    n < 0x20 || (0x7f..0xa0).contains(&n) || (0xfdd0..=0xfdef).contains(&n) || n % 0x1_0000 >= 0xfffe
}

/// Where properties stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    Publish,
    PubAck,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

impl Place {
    pub(crate) const ALL: [Self; 7] = [
        Self::Connect,
        Self::Will,
        Self::Publish,
        Self::PubAck,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
    ];

    /// Table 2-4, as far as a client sends them.
    pub(crate) fn allows(self, id: u8) -> bool {
        match id {
            0x26 => true,
            0x01 | 0x02 | 0x03 | 0x08 | 0x09 => matches!(self, Self::Publish | Self::Will),
            0x0B => self == Self::Subscribe,
            0x11 => matches!(self, Self::Connect | Self::Disconnect),
            0x15 | 0x16 | 0x17 | 0x19 | 0x21 | 0x22 | 0x27 => self == Self::Connect,
            0x18 => self == Self::Will,
            0x1F => matches!(self, Self::PubAck | Self::Disconnect),
            0x23 => self == Self::Publish,
            _ => false,
        }
    }
}

/// What later rules need of a block of properties.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) ids: Vec<u8>,
    pub(super) session_expiry: u32,
    pub(super) maximum_packet_size: Option<u32>,
}

/// Reads a block of properties and gathers its faults.
pub(super) fn properties(reader: &mut Reader<'_>, place: Place, faults: &mut Faults) -> Result<Seen, Cut> {
    let length = reader.variable(faults)?;
    let mut block = Reader::new(reader.take(length, faults)?);
    let mut seen = Seen::default();
    while !block.is_empty() {
        let id = block.byte(faults)?;
        if !place.allows(id) {
            // What only brokers send is a Protocol Error where the standard says so, else malformed.
            let brokers = matches!((place, id), (Place::Publish, 0x0B) | (Place::Disconnect, 0x1C));
            faults.add(if brokers { PROTOCOL } else { MALFORMED });
            return Err(Cut);
        }
        faults.add_if(seen.ids.contains(&id) && id != 0x26, PROTOCOL);
        seen.ids.push(id);
        value(&mut block, id, &mut seen, faults)?;
    }
    faults.add_if(seen.ids.contains(&0x16) && !seen.ids.contains(&0x15), PROTOCOL);
    Ok(seen)
}

fn value(block: &mut Reader<'_>, id: u8, seen: &mut Seen, faults: &mut Faults) -> Result<(), Cut> {
    match id {
        0x01 | 0x17 | 0x19 => {
            let neither = block.byte(faults)? > 1;
            faults.add_if(neither, if id == 0x01 { MALFORMED } else { PROTOCOL });
        }
        0x21 => {
            let none = block.number(2, faults)? == 0;
            faults.add_if(none, PROTOCOL);
        }
        0x22 => {
            block.number(2, faults)?;
        }
        0x23 => {
            // The broker's Topic Alias Maximum is 0 (§3.2.2.3.8).
            block.number(2, faults)?;
            faults.add(0x94);
        }
        0x02 | 0x18 => {
            block.number(4, faults)?;
        }
        0x11 => seen.session_expiry = block.number(4, faults)?,
        0x27 => {
            let size = block.number(4, faults)?;
            faults.add_if(size == 0, PROTOCOL);
            seen.maximum_packet_size = Some(size);
        }
        0x0B => {
            let none = block.variable(faults)? == 0;
            faults.add_if(none, PROTOCOL);
        }
        0x09 | 0x16 => {
            block.binary(faults)?;
        }
        0x08 => {
            let topic = block.string(faults)?;
            faults.add_if(topic.is_empty() || topic.contains(['+', '#']), PROTOCOL);
        }
        0x26 => {
            block.string(faults)?;
            block.string(faults)?;
        }
        _ => {
            block.string(faults)?;
        }
    }
    Ok(())
}
