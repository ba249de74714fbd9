//! UTF-8 of all bad kinds, in every field that is a string.

use wakemq_tests::raw::{Version, text};

use crate::case::{Case, End, Peer, Verdict};
use crate::cases::properties::packet;
use crate::oracle::{MALFORMED, Place};
use crate::packet::{Connect, Will, publish, subscribe, unsubscribe};

/// Bytes that are no UTF-8, or characters that a string must not have (MQTT 5 §1.5.4), by name.
pub(crate) const BAD: [(&str, &[u8]); 38] = [
    ("overlong-nul", b"\xc0\x80"),
    ("overlong-2", b"\xc1\xbf"),
    ("overlong-slash", b"\xc0\xaf"),
    ("overlong-3", b"\xe0\x80\xaf"),
    ("overlong-3-last", b"\xe0\x9f\xbf"),
    ("overlong-4", b"\xf0\x80\x80\xaf"),
    ("overlong-4-last", b"\xf0\x8f\xbf\xbf"),
    ("five-bytes", b"\xf8\x88\x80\x80\x80"),
    ("six-bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("surrogate-first", b"\xed\xa0\x80"),
    ("surrogate-last", b"\xed\xbf\xbf"),
    ("surrogate-pair", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("above-10ffff", b"\xf4\x90\x80\x80"),
    ("f5", b"\xf5\x80\x80\x80"),
    ("fe", b"\xfe"),
    ("ff", b"\xff"),
    ("utf-16-mark", b"\xff\xfe"),
    ("latin-1", b"caf\xe9"),
    ("lone-continuation", b"\x80"),
    ("last-continuation", b"a\xbf"),
    ("cut-2", b"\xc3"),
    ("cut-3", b"\xe6\x97"),
    ("cut-4", b"\xf0\x9f\x98"),
    ("cut-inside", b"\xe6\x97a"),
    ("nul", b"\0"),
    ("nul-inside", b"a\0b"),
    ("u0001", b"\x01"),
    ("tab", b"a\tb"),
    ("newline", b"a\nb"),
    ("escape", b"\x1b[31m"),
    ("delete", b"\x7f"),
    ("u0080", b"\xc2\x80"),
    ("u009f", b"\xc2\x9f"),
    ("ufffe", b"\xef\xbf\xbe"),
    ("uffff", b"\xef\xbf\xbf"),
    ("ufdd0", b"\xef\xb7\x90"),
    ("u1fffe", b"\xf0\x9f\xbf\xbe"),
    ("u10ffff", b"\xf4\x8f\xbf\xbf"),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all() {
        for (name, bad) in BAD {
            for (field, bytes) in fields(peer, bad) {
                let end = match (peer.connected, peer.v5()) {
                    (true, _) => End::Closes(vec![MALFORMED]),
                    (false, true) => End::Refuses(Version::V5, vec![MALFORMED]),
                    (false, false) => End::Drops,
                };
                all.push(Case::new(peer, format!("utf-8/{field}-{name}"), bytes, Verdict::only(end)));
            }
        }
        binary(peer, &mut all);
        lengths(peer, &mut all);
    }
    all
}

/// Packets with bad bytes in one string each.
fn fields(peer: Peer, bad: &[u8]) -> Vec<(String, Vec<u8>)> {
    let version = peer.version;
    let topic = [b"wake/v1/", bad].concat();
    let mut all = Vec::new();
    let mut put = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    if peer.connected {
        put("topic", publish(version, 0, &topic, &[], b"{}"));
        put("topic-qos-1", publish(version, 2, &topic, &[], b"{}"));
        put("filter", subscribe(version, &[], &[(b"a", 1), (&topic, 1)]));
        put("filter-off", unsubscribe(version, &[], &[b"a", &topic]));
    } else {
        let good = Connect::of(peer);
        put("client-id", Connect { client_id: bad.to_vec(), ..good.clone() }.bytes());
        put("user", Connect { user: Some(bad.to_vec()), ..good.clone() }.bytes());
        let will = Some(Will { topic, ..Will::of(peer.role) });
        put("will-topic", Connect { will, ..good }.bytes());
    }
    if peer.v5() {
        for place in Place::ALL {
            if matches!(place, Place::Connect | Place::Will) == peer.connected {
                continue;
            }
            for id in [0x03, 0x08, 0x15, 0x1F].into_iter().filter(|id| place.allows(*id)) {
                let property = [&[id][..], &text(bad)].concat();
                put(&format!("{place:?}-{id:02x}"), packet(peer, place, &property));
            }
            for (name, user) in [("name", [text(bad), text(b"x")]), ("value", [text(b"x"), text(bad)])] {
                let property = [&[0x26][..], &user.concat()].concat();
                put(&format!("{place:?}-user-{name}"), packet(peer, place, &property));
            }
        }
    }
    all
}

/// Binary data takes all of it.
fn binary(peer: Peer, all: &mut Vec<Case>) {
    for (name, bad) in BAD {
        if peer.connected {
            let topic = peer.role.own_topic();
            let bytes = publish(peer.version, 2, topic.as_bytes(), &[], bad);
            all.push(Case::modelled(peer, format!("binary/payload-{name}"), bytes));
        } else {
            let will = Some(Will { payload: bad.to_vec(), ..Will::of(peer.role) });
            let bytes = Connect { will, ..Connect::of(peer) }.bytes();
            all.push(Case::modelled(peer, format!("binary/will-{name}"), bytes));
        }
        let places = [(Place::Publish, true), (Place::Will, false)];
        for (place, _) in places.into_iter().filter(|(_, after)| peer.v5() && *after == peer.connected) {
            let property = [&[0x09][..], &text(bad)].concat();
            all.push(Case::modelled(
                peer,
                format!("binary/{place:?}-{name}"),
                packet(peer, place, &property),
            ));
        }
    }
}

/// Strings that claim more bytes than the packet has.
fn lengths(peer: Peer, all: &mut Vec<Case>) {
    for claimed in [1_u16, 2, 9, 255, 256, 32_767, 32_768, 65_535] {
        let mut string = claimed.to_be_bytes().to_vec();
        string.extend(b"a");
        let bytes = if peer.connected {
            wakemq_tests::raw::frame(0x30, &string)
        } else {
            let mut body = Connect::of(peer).body();
            let at = body.len() - text(peer.role.secret().as_bytes()).len();
            body.truncate(at);
            body.extend(string);
            wakemq_tests::raw::frame(0x10, &body)
        };
        all.push(Case::modelled(peer, format!("string-length/{claimed}"), bytes));
    }
}
