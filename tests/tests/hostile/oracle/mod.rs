//! A model of what MQTT 3.1.1 and 5 say to a stream of bytes, written from the standards.
//!
//! It shares no code with the broker. Where a packet has several faults, the code of any is right, so it gathers
//! all that it can find; a fault behind which nothing can be read ends the search. Codes of 3.1.1 are worked out
//! from those of 5.

mod connect;
mod packets;
mod reader;

use wakemq_tests::raw::Version;

use crate::case::{Codes, End, Peer, Said, Verdict};
pub(crate) use reader::Place;
use reader::Reader;

pub(crate) const MALFORMED: u8 = 0x81;
pub(crate) const PROTOCOL: u8 = 0x82;
pub(crate) const TOO_LARGE: u8 = 0x95;

/// Largest packet before and after CONNECT (design §4).
const MAX: [usize; 2] = [4 * 1024, 64 * 1024];

/// Faults of one packet; none is good.
#[derive(Debug, Default)]
struct Faults(Codes);

impl Faults {
    fn add(&mut self, code: u8) {
        if !self.0.contains(&code) {
            self.0.push(code);
        }
    }

    fn add_if(&mut self, faulty: bool, code: u8) {
        if faulty {
            self.add(code);
        }
    }
}

/// A packet ended within a field, or cannot be read any further.
struct Cut;

/// The first bytes of a stream (MQTT 5 §2.1).
enum Header {
    Incomplete,
    /// A fifth byte of length.
    Bad,
    Whole {
        header: usize,
        whole: usize,
        minimal: bool,
    },
}

fn header(bytes: &[u8]) -> Header {
    let mut length = 0;
    for at in 0..4 {
        let Some(&byte) = bytes.get(1 + at) else { return Header::Incomplete };
        length += usize::from(byte & 127) * 128_usize.pow(at as u32);
        if byte < 128 {
            let header = at + 2;
            return Header::Whole { header, whole: header + length, minimal: at == 0 || byte != 0 };
        }
    }
    Header::Bad
}

/// Judges all the bytes of a connection, or all after its CONNECT.
pub(crate) fn judge(peer: Peer, bytes: &[u8]) -> Verdict {
    let mut said = Vec::new();
    let mut rest = bytes;
    let mut connected = peer.connected;
    let mut version = peer.version;
    let end = loop {
        if rest.is_empty() {
            break if connected { End::Alive } else { End::Waits };
        }
        let (header, whole, minimal) = match header(rest) {
            Header::Incomplete => break End::Waits,
            Header::Bad if connected => break End::Closes(vec![MALFORMED]),
            Header::Bad => break connect::refused_early(rest, MALFORMED),
            Header::Whole { header, whole, minimal } => (header, whole, minimal),
        };
        if whole > MAX[usize::from(connected)] {
            break if connected {
                End::Closes(vec![TOO_LARGE])
            } else {
                connect::refused_early(rest, TOO_LARGE)
            };
        }
        let Some(packet) = rest.get(..whole) else { break End::Waits };
        rest = &rest[whole..];
        if !connected {
            match connect::judge(peer.role, packet, header, minimal) {
                Ok(of) => version = of,
                Err(end) => break end,
            }
            connected = true;
            said.push(Said::Welcome);
            continue;
        }
        let mut faults = Faults::default();
        faults.add_if(!minimal && version == Version::V5, MALFORMED);
        let peer = Peer { version, ..peer };
        let answer = packets::judge(peer, packet[0], Reader::new(&packet[header..]), &mut faults);
        if !faults.0.is_empty() {
            break End::Closes(faults.0);
        }
        match answer {
            Ok(packets::Answer::Says(answer)) => said.extend(answer),
            Ok(packets::Answer::Leaves) => break End::Leaves,
            // The faults tell why.
            Err(Cut) => break End::Closes(vec![MALFORMED]),
        }
    };
    Verdict { said, end }
}
