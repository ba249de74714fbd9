//! Records: whole, in pieces, and many at a time.

use proptest::prelude::*;

use super::*;

#[test]
fn every_split_of_a_record() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let mut sent = 0;
        loop {
            pair.client.writer().write_all(b"heartbeat").unwrap();
            let record = pair.client_sends();
            sent += 1;
            if sent >= record.len() {
                break;
            }
            pair.feed(&record[..sent]).unwrap();
            assert_eq!(pair.server.rest.len(), sent);
            pair.feed(&record[sent..]).unwrap();
            assert!(pair.server.rest.is_empty());
            assert_eq!(pair.got.len(), 9 * sent);
        }
    }
}

#[test]
fn many_records_in_one_piece() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let mut stream = Vec::new();
        for at in 0..100_u8 {
            pair.client.writer().write_all(&[at; 50]).unwrap();
            stream.extend(pair.client_sends());
        }
        pair.feed(&stream).unwrap();
        assert_eq!(pair.got.len(), 5_000);
        assert!(
            pair.got
                .chunks(50)
                .enumerate()
                .all(|(at, chunk)| chunk.iter().all(|byte| usize::from(*byte) == at))
        );
    }
}

#[test]
fn large_payloads_both_ways() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let large = bytes(200_000);
        pair.client.set_buffer_limit(None);
        pair.client.writer().write_all(&large).unwrap();
        pair.exchange(5_000);
        assert!(pair.got == large);

        pair.server_says(&large);
        let overhead = pair.to_client.len() - large.len();
        assert!(overhead <= 13 * SEAL_OVERHEAD_MAX, "13 records");
        pair.settle();
        assert!(pair.client_got == large);
        pair.server_says(b"");
        assert!(pair.to_client.is_empty());
    }
}

#[test]
fn sealing_between_two_halves_of_a_record() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"question").unwrap();
        let record = pair.client_sends();
        pair.feed(&record[..11]).unwrap();
        pair.server_says(b"unasked");
        pair.client_receives().unwrap();
        pair.feed(&record[11..]).unwrap();
        assert_eq!((&pair.got[..], &pair.client_got[..]), (&b"question"[..], &b"unasked"[..]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the stream is cut, the same plaintext comes out, and answers may be sealed at any time.
    #[test]
    fn any_fragmentation(
        v13: bool,
        writes in prop::collection::vec(1_usize..3_000, 1..8),
        cuts in prop::collection::vec(1_usize..1_500, 1..20),
    ) {
        let mut pair = Pair::connected(if v13 { &TLS13 } else { &TLS12 });
        let mut expected = Vec::new();
        let mut stream = Vec::new();
        for (at, n) in writes.iter().enumerate() {
            if v13 && at % 3 == 2 {
                pair.client.refresh_traffic_keys().unwrap();
            }
            let plain = bytes(*n);
            pair.client.writer().write_all(&plain).unwrap();
            expected.extend(plain);
            stream.extend(pair.client_sends());
        }
        let mut answers = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            rest = after;
            pair.feed(piece).unwrap();
            pair.server_says(&[1, 2, 3]);
            answers.extend([1, 2, 3]);
            if rest.is_empty() {
                break;
            }
        }
        pair.client_receives().unwrap();
        prop_assert!(pair.got == expected);
        prop_assert_eq!(&pair.client_got, &answers);
        prop_assert!(pair.server.rest.is_empty());
    }

    #[test]
    fn any_bytes_end_in_an_error_or_wait(garbage in prop::collection::vec(any::<u8>(), 0..300), tls: bool) {
        let (server, _) = localhost();
        let mut driver = Tls::new(server).unwrap();
        let mut scratch = Scratch::default();
        let mut stream = if tls { vec![22, 3, 3, 0, 80, 1, 0, 0, 76] } else { Vec::new() };
        stream.extend(garbage);
        scratch.input[..stream.len()].copy_from_slice(&stream);
        let _ = driver.feed(stream.len(), &mut scratch);
        prop_assert!(scratch.plain.is_empty());
    }
}
