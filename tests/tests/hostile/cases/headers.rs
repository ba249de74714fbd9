//! Every packet type with every flag nibble, and lengths of all kinds.

use crate::case::{Case, Codes, End, Peer, Verdict};
use crate::oracle::{MALFORMED, PROTOCOL};
use crate::packet::{good, varint};
use wakemq_tests::raw::{Version, frame};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all() {
        flags(peer, &mut all);
        lengths(peer, &mut all);
        empty_bodies(peer, &mut all);
    }
    all
}

/// The body of a good packet of that type, or of what a broker would send.
fn body(peer: Peer, kind: u8) -> Vec<u8> {
    let connected = Peer { connected: true, ..peer };
    let name = match kind {
        1 => return crate::packet::Connect::of(peer).body(),
        2 => return if peer.v5() { vec![0, 0, 0] } else { vec![0, 0] },
        3 => "publish-1",
        4..=7 => return vec![0, 7],
        8 => "subscribe",
        9 | 11 => return vec![0, 9, 0],
        10 => "unsubscribe",
        _ => return Vec::new(),
    };
    let found = good(connected).into_iter().find(|(of, _)| *of == name);
    let (_, packet) = found.expect("a good packet of that name");
    let header = 1 + packet.iter().skip(1).take_while(|byte| **byte > 127).count() + 1;
    packet[header..].to_vec()
}

fn flags(peer: Peer, all: &mut Vec<Case>) {
    for first in 0..=255_u8 {
        let (kind, flags) = (first >> 4, first & 15);
        let name = format!("type-{kind}-flags-{flags:04b}");
        // A PUBLISH of QoS 0 has no packet id: its two bytes are payload, or in 5 the length of properties.
        all.push(Case::modelled(peer, name, frame(first, &body(peer, kind))));
    }
    if peer.connected {
        told(peer, all);
    }
}

/// The same by hand where there is one fault, because a model may be wrong too.
fn told(peer: Peer, all: &mut Vec<Case>) {
    let mut tell = |name: &str, first: u8, code: u8| {
        let bytes = frame(first, &body(peer, first >> 4));
        all.push(Case::new(peer, format!("told/{name}"), bytes, Verdict::closes(code)));
    };
    tell("second-connect", 0x10, PROTOCOL);
    for (name, first) in [("connack", 0x20), ("suback", 0x90), ("unsuback", 0xB0), ("pingresp", 0xD0)] {
        tell(name, first, PROTOCOL);
    }
    for (name, first) in [("pubrec", 0x50), ("pubrel", 0x62), ("pubcomp", 0x70)] {
        tell(name, first, PROTOCOL);
    }
    tell("puback-of-nothing", 0x40, PROTOCOL);
    tell("reserved-type-0", 0x00, MALFORMED);
    tell("auth", 0xF0, if peer.v5() { PROTOCOL } else { MALFORMED });
    tell("qos-2", 0x34, 0x9B);
    tell("qos-3", 0x36, MALFORMED);
    for flags in (0..16).filter(|flags| *flags != 2) {
        tell(&format!("subscribe-{flags:04b}"), 0x80 | flags, MALFORMED);
        tell(&format!("unsubscribe-{flags:04b}"), 0xA0 | flags, MALFORMED);
    }
    for flags in 1..16 {
        tell(&format!("puback-{flags:04b}"), 0x40 | flags, MALFORMED);
        tell(&format!("pingreq-{flags:04b}"), 0xC0 | flags, MALFORMED);
        tell(&format!("disconnect-{flags:04b}"), 0xE0 | flags, MALFORMED);
    }
    if peer.v5() {
        tell("retain", 0x33, 0x9A);
    }
}

/// Lengths that are wrong, needlessly long, huge, or no number.
fn lengths(peer: Peer, all: &mut Vec<Case>) {
    for kind in 0..16_u8 {
        let first = kind << 4 | if [6, 8, 10].contains(&kind) { 2 } else { 0 };
        let first = if kind == 3 { 0x32 } else { first };
        let body = body(peer, kind);
        let right = body.len();
        let wrong = [0, 1, 2, 3, right.saturating_sub(1), right + 1, right + 127, 127, 128, 4093, 4094]
            .into_iter()
            .chain([16_383, 16_384, 65_532, 65_533, 2_097_151, 2_097_152, 268_435_455]);
        let wrong: std::collections::BTreeSet<_> = wrong.collect();
        for length in wrong {
            let bytes = [&[first][..], &varint(length), &body].concat();
            all.push(Case::modelled(peer, format!("length/type-{kind}-{length}-for-{right}"), bytes));
        }
        for bytes in 2..=4 {
            let mut length = varint(right);
            while length.len() < bytes {
                *length.last_mut().expect("a length") |= 128;
                length.push(0);
            }
            let packet = [&[first][..], &length, &body].concat();
            all.push(Case::modelled(peer, format!("length/type-{kind}-in-{bytes}-bytes"), packet));
        }
        for (at, fifth) in [0, 1, 0x7f, 0x80, 0xff].into_iter().enumerate() {
            for low in [0x80, 0xff] {
                let packet = [&[first, low, low, low, low, fifth][..], &body].concat();
                let name = format!("length/type-{kind}-five-bytes-{at}-{low:x}");
                all.push(if peer.connected {
                    Case::new(peer, name, packet, Verdict::closes(MALFORMED))
                } else {
                    Case::modelled(peer, name, packet)
                });
            }
        }
    }
}

/// Types whose body may not be empty.
fn empty_bodies(peer: Peer, all: &mut Vec<Case>) {
    for kind in [1, 3, 4, 8, 10_u8] {
        let first = kind << 4 | if kind >= 8 { 2 } else { 0 };
        let codes: Codes = vec![if kind == 1 { PROTOCOL } else { MALFORMED }];
        let end = match (peer.connected, kind) {
            (true, _) => End::Closes(codes),
            (false, _) => End::Drops,
        };
        all.push(Case::new(peer, format!("empty/type-{kind}"), frame(first, &[]), Verdict::only(end)));
    }
    if !peer.connected && peer.version == Version::V5 {
        let bytes = frame(0x10, b"\0\x04MQTT\x05");
        let end = End::Refuses(Version::V5, vec![MALFORMED]);
        all.push(Case::new(peer, "empty/behind-the-level", bytes, Verdict::only(end)));
    }
}
