use super::super::{Frame, decode, decode_connect, frame};
use super::*;
use proptest::prelude::*;

/// One good packet of each kind.
fn seeds(level: ProtocolLevel) -> Vec<Vec<u8>> {
    let p: &[u8] = if level == V5 { &[0] } else { &[] };
    let mut all = vec![
        connect(level, 2, &[], &[s("agent-1")]),
        connect(level, 0xce, &[], &[s("a"), p.to_vec(), s("w"), b(b"x"), s("u"), b(b"p")]),
        framed(0x30, &[&s("a/b")[..], p, b"{}"].concat()),
        framed(0x32, &[&s("a/b")[..], &[0, 9], p, b"{}"].concat()),
        framed(0x40, &[0, 9]),
        framed(0x82, &[&[0, 9][..], p, &s("a/+/#"), &[1], &s("$share/g/x"), &[0]].concat()),
        framed(0xa2, &[&[0, 9][..], p, &s("a/+/#")].concat()),
        framed(0xc0, &[]),
        framed(0xe0, &[]),
    ];
    if level == V5 {
        let properties = [&[0x11, 0, 0, 0, 0, 0x21, 0, 9, 0x26][..], &s("instance"), &s("x")].concat();
        all.push(connect(level, 2, &properties, &[s("a")]));
        let body = [&s("t")[..], &[10, 2, 0, 0, 0, 0, 8, 0, 2, b'r', b'/'], b"{}"].concat();
        all.push(framed(0x30, &body));
        all.push(framed(0xe0, &[0, 5, 0x11, 0, 0, 0, 0]));
    }
    all
}

fn level() -> impl Strategy<Value = ProtocolLevel> {
    prop_oneof![Just(V4), Just(V5)]
}

#[test]
fn the_seeds_are_good() {
    for level in [V4, V5] {
        for seed in seeds(level) {
            assert_eq!(frame(&seed, 4096), Frame::Whole(seed.len()));
            if seed[0] == 0x10 {
                decode_connect(&seed).unwrap();
            } else {
                decode(level, &seed).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4_000), ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(level in level(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = frame(&bytes, 64);
        let _ = decode_connect(&bytes);
        let _ = decode(level, &bytes);
    }

    /// A good length around any body gets past the first check.
    #[test]
    fn any_body(level in level(), first: u8, body in prop::collection::vec(any::<u8>(), 0..80)) {
        let bytes = framed(first, &body);
        let _ = decode_connect(&bytes);
        let _ = decode(level, &bytes);
    }

    /// Whatever the check lets through, the codec behind it takes too.
    #[test]
    fn changed_packets(
        level in level(),
        seed: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..5),
    ) {
        let seeds = seeds(level);
        let mut body = seed.get(&seeds).clone();
        let first = body.remove(0);
        body.remove(0);
        for (at, byte, kind) in changes {
            let at = at.index(body.len() + 1);
            match kind {
                0 => body.insert(at, byte),
                1 if at < body.len() => body[at] = byte,
                2 if at < body.len() => drop(body.remove(at)),
                _ => {}
            }
        }
        let bytes = framed(first, &body);
        let detail = if first == 0x10 {
            decode_connect(&bytes).map(drop).map_err(|error| error.detail)
        } else {
            decode(level, &bytes).map(drop).map_err(|error| error.detail)
        };
        prop_assert_ne!(detail, Err("refused by the decoder"));
    }

    #[test]
    fn frames_follow_each_other(level in level(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6), cut: prop::sample::Index) {
        let seeds = seeds(level);
        let stream: Vec<u8> = picks.iter().flat_map(|pick| pick.get(&seeds).clone()).collect();
        let end = cut.index(stream.len() + 1);
        let mut rest = &stream[..end];
        let mut whole = 0;
        while let Frame::Whole(length) = frame(rest, 4096) {
            rest = &rest[length..];
            whole += 1;
        }
        prop_assert_eq!(frame(rest, 4096), Frame::NeedMore);
        let mut expected = 0;
        let mut length = 0;
        for pick in picks {
            length += pick.get(&seeds).len();
            expected += usize::from(length <= end);
        }
        prop_assert_eq!(whole, expected);
    }
}
