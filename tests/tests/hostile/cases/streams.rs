//! Good packets cut at every byte, glued together, and changed at random by a seed.

use wakemq_tests::raw::{Version, frame};

use crate::case::{Case, End, Peer, Role, Said, Verdict};
use crate::oracle::{MALFORMED, PROTOCOL};
use crate::packet::{good, payload, ping, publish};

/// The generator's seed; another one makes other changes.
const SEED: u64 = 0x57_41_4B_45;
/// How many changed streams there are for each peer.
const CHANGED: usize = 250;

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all() {
        let good = good(peer);
        for (name, packet) in &good {
            all.push(Case::modelled(peer, format!("good/{name}"), packet.clone()));
            cut(peer, name, packet, &mut all);
        }
        glued(peer, &good, &mut all);
        if peer.connected {
            behind_good_ones(peer, &mut all);
        }
        changed(peer, &good, &mut all);
        sizes(peer, &mut all);
    }
    all
}

/// Cut with the stream; cut with the length put right; cut with another packet behind it.
fn cut(peer: Peer, name: &str, packet: &[u8], all: &mut Vec<Case>) {
    let header = 1 + packet.iter().skip(1).take_while(|byte| **byte > 127).count() + 1;
    // Long packets are cut at every byte at their beginning and end, and at every fifth between.
    let every = |at: &usize| *at < 60 || at.is_multiple_of(5) || packet.len() - at < 20;
    for at in (1..packet.len()).filter(every) {
        all.push(Case::modelled(peer, format!("cut/{name}-{at}"), packet[..at].to_vec()));
        if at >= header {
            let shortened = frame(packet[0], &packet[header..at]);
            all.push(Case::modelled(peer, format!("cut/{name}-{at}-shortened"), shortened.clone()));
            all.push(Case::modelled(peer, format!("cut/{name}-{at}-glued"), [shortened, ping()].concat()));
        }
        let behind = [&packet[..at], &ping().repeat(3)].concat();
        all.push(Case::modelled(peer, format!("cut/{name}-{at}-and-pings"), behind));
    }
    let longer = frame(packet[0], &[&packet[header..], &[0][..]].concat());
    all.push(Case::modelled(peer, format!("cut/{name}-longer-0"), longer));
    let longer = frame(packet[0], &[&packet[header..], &[0xff; 9][..]].concat());
    all.push(Case::modelled(peer, format!("cut/{name}-longer-ff"), longer));
}

/// What came whole before a fault counts, and is answered before the close.
fn behind_good_ones(peer: Peer, all: &mut Vec<Case>) {
    let topic = peer.role.own_topic();
    let good = publish(peer.version, 2, topic.as_bytes(), &[], &payload(peer.role));
    for (name, bad) in
        [("reserved-type", vec![0, 0]), ("endless-length", vec![0xff; 6]), ("connack", vec![0x20, 0])]
    {
        let codes = vec![if name == "connack" { PROTOCOL } else { MALFORMED }];
        let said = vec![Said::PubAck(7, vec![0]); 3];
        let bytes = [good.repeat(3), bad].concat();
        let verdict = Verdict { said, end: End::Closes(codes) };
        all.push(Case::new(peer, format!("behind-good-ones/{name}"), bytes, verdict));
    }
}

/// Each packet behind each other one, in one piece.
fn glued(peer: Peer, good: &[(&'static str, Vec<u8>)], all: &mut Vec<Case>) {
    for (first_name, first) in good {
        for (second_name, second) in good {
            let bytes = [&first[..], second, &ping()].concat();
            all.push(Case::modelled(peer, format!("glued/{first_name}+{second_name}"), bytes));
        }
    }
}

/// Bytes changed, put in and taken out at random.
fn changed(peer: Peer, good: &[(&'static str, Vec<u8>)], all: &mut Vec<Case>) {
    let own =
        u64::from(peer.v5()) << 2 | u64::from(peer.role == Role::Agent) << 1 | u64::from(peer.connected);
    let mut random = fastrand::Rng::with_seed(SEED ^ own);
    for number in 0..CHANGED {
        let mut bytes = Vec::new();
        for _ in 0..random.usize(1..4) {
            let mut packet = good[random.usize(..good.len())].1.clone();
            let keep_length = random.bool();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..packet.len());
                match random.u8(..4) {
                    0 => packet[at] = random.u8(..),
                    1 => packet[at] ^= 1 << random.u8(..8),
                    2 => packet.insert(at, random.u8(..)),
                    _ if packet.len() > 2 => drop(packet.remove(at)),
                    _ => {}
                }
            }
            if !keep_length {
                let header =
                    (1 + packet.iter().skip(1).take_while(|byte| **byte > 127).count() + 1).min(packet.len());
                packet = frame(packet[0], &packet[header..]);
            }
            bytes.extend(packet);
        }
        all.push(Case::modelled(peer, format!("changed/{number}"), bytes));
    }
}

/// At and above the largest packet.
fn sizes(peer: Peer, all: &mut Vec<Case>) {
    let (topic, max) = (peer.role.own_topic(), if peer.connected { 65_536 } else { 4096 });
    let empty = publish(peer.version, 2, topic.as_bytes(), &[], &[]).len();
    for over in [-1_i64, 0, 1, 2] {
        // Two bytes more of length than the empty one has, in the larger ones.
        let grown = if peer.connected { 2 } else { 1 };
        let payload = usize::try_from(max as i64 + over).expect("positive") - empty - grown;
        let bytes = publish(peer.version, 2, topic.as_bytes(), &[], &vec![b' '; payload]);
        all.push(Case::modelled(peer, format!("size/{}", bytes.len()), bytes));
    }
    if peer.connected && peer.version == Version::V5 {
        let flood = [&ping().repeat(2_000)[..], &[0xE0, 0]].concat();
        all.push(Case::modelled(peer, "size/pings", flood));
    }
}
