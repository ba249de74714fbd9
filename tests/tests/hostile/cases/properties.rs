//! Every property of MQTT 5, and numbers that are none, in every packet: once, twice, cut, with bad values.

use wakemq_tests::raw::{Version, text};

use crate::case::{Case, End, Peer, Said, Verdict};
use crate::oracle::{MALFORMED, PROTOCOL, Place};
use crate::packet::{Connect, Will, disconnect, payload, puback, publish, subscribe, unsubscribe, varint};

/// All that the standard defines (table 2-4).
pub(crate) const DEFINED: [u8; 27] = [
    0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1C, 0x1F,
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
];

/// A good value of a property, its number in front.
pub(crate) fn property(id: u8) -> Vec<u8> {
    let value = match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => vec![1],
        0x0B => vec![5],
        0x11 => vec![0, 0, 0, 0],
        0x27 => vec![0, 1, 0, 0],
        0x02 | 0x18 => vec![0, 0, 0, 9],
        0x13 | 0x21 | 0x22 | 0x23 => vec![0, 9],
        0x08 => text(b"wake/v1/operators/admin/responses/x"),
        0x26 => [text(b"instance"), text(b"x")].concat(),
        _ => text(b"abc"),
    };
    [vec![id], value].concat()
}

/// All properties of a place that harm nothing: no alias, no authentication method, no subscription identifier.
pub(crate) fn all_of(place: Place) -> Vec<u8> {
    let harmless = |id: &u8| place.allows(*id) && ![0x15, 0x16, 0x23, 0x0B].contains(id);
    DEFINED.into_iter().filter(harmless).chain([0x26]).flat_map(property).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all().filter(|peer| peer.v5()) {
        for place in Place::ALL {
            if matches!(place, Place::Connect | Place::Will) == peer.connected {
                continue;
            }
            each(peer, place, &mut all);
            values(peer, place, &mut all);
            blocks(peer, place, &mut all);
        }
    }
    all
}

/// A packet that is good but for its properties.
pub(crate) fn packet(peer: Peer, place: Place, properties: &[u8]) -> Vec<u8> {
    let filter = peer.role.own_filter().into_bytes();
    let topic = peer.role.own_topic().into_bytes();
    match place {
        Place::Connect => Connect { properties: properties.to_vec(), ..Connect::of(peer) }.bytes(),
        Place::Will => {
            let will = Some(Will { properties: properties.to_vec(), ..Will::of(peer.role) });
            Connect { will, ..Connect::of(peer) }.bytes()
        }
        Place::Publish => publish(Version::V5, 2, &topic, properties, &payload(peer.role)),
        Place::PubAck => puback(0, properties),
        Place::Subscribe => subscribe(Version::V5, properties, &[(&filter, 1)]),
        Place::Unsubscribe => unsubscribe(Version::V5, properties, &[&filter]),
        Place::Disconnect => disconnect(0, properties),
    }
}

/// What a fault in the properties is answered with.
fn faulty(peer: Peer, code: u8) -> Verdict {
    let code = vec![code];
    Verdict::only(if peer.connected { End::Closes(code) } else { End::Refuses(Version::V5, code) })
}

fn each(peer: Peer, place: Place, all: &mut Vec<Case>) {
    for id in 0..=0x7f_u8 {
        let one = property(id);
        let name = |what: &str| format!("property/{place:?}-{id:02x}-{what}");
        let once = packet(peer, place, &one);
        let twice = packet(peer, place, &one.repeat(2));
        let apart = packet(peer, place, &[&one[..], &property(0x26), &one].concat());
        if place.allows(id) {
            all.push(Case::modelled(peer, name("once"), once));
            // An alias is refused at once, Authentication Data without a method at the end.
            let said_otherwise = matches!((place, id), (_, 0x15 | 0x16 | 0x23 | 0x26));
            for (what, bytes) in [("twice", twice), ("twice-apart", apart)] {
                all.push(if said_otherwise {
                    Case::modelled(peer, name(what), bytes)
                } else {
                    Case::new(peer, name(what), bytes, faulty(peer, PROTOCOL))
                });
            }
            for cut in 1..one.len() {
                let bytes = packet(peer, place, &one[..cut]);
                all.push(Case::new(peer, name(&format!("cut-{cut}")), bytes, faulty(peer, MALFORMED)));
            }
        } else {
            let code = match (place, id) {
                (Place::Publish, 0x0B) | (Place::Disconnect, 0x1C) => PROTOCOL,
                _ => MALFORMED,
            };
            all.push(Case::new(peer, name("misplaced"), once, faulty(peer, code)));
            if DEFINED.contains(&id) {
                all.push(Case::new(peer, name("misplaced-twice"), twice, faulty(peer, code)));
            }
        }
    }
    // A number in more bytes than one.
    for number in [&[0x80, 0x01][..], &[0x81, 0x00], &[0xff, 0xff, 0xff, 0x7f], &[0x80, 0x80, 0x80, 0x80]] {
        let name = format!("property/{place:?}-number-{number:02x?}").replace([' ', ','], "");
        all.push(Case::new(peer, name, packet(peer, place, number), faulty(peer, MALFORMED)));
    }
    all.push(Case::modelled(peer, format!("property/{place:?}-all"), packet(peer, place, &all_of(place))));
}

/// Values that the standard forbids.
fn values(peer: Peer, place: Place, all: &mut Vec<Case>) {
    let mut bad = |id: u8, value: &[u8], code: u8| {
        if place.allows(id) {
            let hex: String = value.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            let bytes = packet(peer, place, &[&[id][..], value].concat());
            all.push(Case::new(peer, format!("value/{place:?}-{id:02x}-{hex}"), bytes, faulty(peer, code)));
        }
    };
    for value in [2, 3, 0x7f, 0x80, 0xff] {
        bad(0x01, &[value], MALFORMED);
        bad(0x17, &[value], PROTOCOL);
        bad(0x19, &[value], PROTOCOL);
    }
    bad(0x21, &[0, 0], PROTOCOL);
    bad(0x27, &[0, 0, 0, 0], PROTOCOL);
    bad(0x0B, &[0], PROTOCOL);
    bad(0x0B, &[0x80, 0x00], MALFORMED);
    bad(0x0B, &[0x80, 0x80, 0x80, 0x80, 0x01], MALFORMED);
    for alias in [[0, 0], [0, 1], [0xff, 0xff]] {
        bad(0x23, &alias, 0x94);
    }
    for topic in ["", "#", "+", "a/#", "a/+/b", "a#"] {
        bad(0x08, &text(topic.as_bytes()), PROTOCOL);
    }
    bad(0x08, &text(b"a\0b"), MALFORMED);
    bad(0x26, &[text(b"\xff"), text(b"x")].concat(), MALFORMED);
    bad(0x26, &[text(b"x"), text(b"\xed\xa0\x80")].concat(), MALFORMED);
    bad(0x26, &[0xff, 0xff], MALFORMED);
    if place == Place::Disconnect {
        bad(0x11, &[0, 0, 0, 1], PROTOCOL);
        bad(0x11, &[0xff; 4], PROTOCOL);
    }
}

/// Lengths of the block that are not those of the properties, and very many properties.
fn blocks(peer: Peer, place: Place, all: &mut Vec<Case>) {
    let good = property(0x26);
    let right = packet(peer, place, &good);
    let at = find(&right, &[varint(good.len()), good.clone()].concat());
    for length in [0, 1, good.len() - 1, good.len() + 1, 100, 127] {
        let mut bytes = right.clone();
        bytes[at] = length as u8;
        all.push(Case::modelled(peer, format!("block/{place:?}-length-{length}"), bytes));
    }
    for (name, length) in [("overlong", &[good.len() as u8 | 128, 0][..]), ("endless", &[0xff; 5])] {
        // The packet's own length is corrected, so that only the block's is wrong.
        let header = 1 + right.iter().skip(1).take_while(|byte| **byte > 127).count() + 1;
        let body = [&right[header..at], length, &right[at + 1..]].concat();
        let bytes = wakemq_tests::raw::frame(right[0], &body);
        all.push(Case::modelled(peer, format!("block/{place:?}-{name}"), bytes));
    }
    let many = packet(peer, place, &[0x26, 0, 0, 0, 0].repeat(700));
    all.push(Case::modelled(peer, format!("block/{place:?}-many"), many));
    if peer.connected {
        let most = packet(peer, place, &[0x26, 0, 0, 0, 0].repeat(13_000));
        all.push(Case::modelled(peer, format!("block/{place:?}-most"), most));
    }
    if place == Place::Publish {
        // Request Problem Information does not spare the PUBACK itself.
        let verdict = Verdict { said: vec![Said::PubAck(7, vec![0x99])], end: End::Alive };
        let topic = peer.role.own_topic();
        let bytes = publish(Version::V5, 2, topic.as_bytes(), &property(0x26), b"no json");
        all.push(Case::new(peer, "block/bad-payload-with-properties", bytes, verdict));
    }
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("the block is there")
}
