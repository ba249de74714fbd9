//! Handshakes, and tickets.

use std::sync::Arc;

use rustls::HandshakeKind;

use super::*;

#[test]
fn handshake_and_data_in_both_versions_and_any_piece() {
    for version in BOTH {
        for piece in [1, 2, 7, 100, RECORD_MAX] {
            let (server, ca) = localhost();
            let mut pair = Pair::new(&server, client_config(&ca, version));
            pair.exchange(piece);
            assert_eq!(pair.server.version(), Some(version.version));
            assert!(!pair.server.is_resumed());
            pair.client.writer().write_all(b"ping").unwrap();
            pair.exchange(piece);
            pair.server_says(b"pong");
            pair.exchange(piece);
            assert_eq!((&pair.got[..], &pair.client_got[..]), (&b"ping"[..], &b"pong"[..]));
            assert!(pair.server.rest.is_empty(), "a quiet connection holds no bytes");
        }
    }
}

#[test]
fn data_right_behind_the_handshake() {
    for version in BOTH {
        let (server, ca) = localhost();
        let mut pair = Pair::new(&server, client_config(&ca, version));
        pair.client.writer().write_all(b"CONNECT").unwrap();
        pair.settle();
        assert_eq!(pair.got, b"CONNECT");
    }
}

#[test]
fn sealing_before_the_end_of_the_handshake_is_refused() {
    let (server, _) = localhost();
    let mut tls = Tls::new(server).unwrap();
    let mut out = b"kept".to_vec();
    assert!(matches!(tls.seal(b"x", &mut out), Err(TlsError::Handshaking)));
    tls.close(&mut out);
    assert_eq!(out, b"kept");
}

#[test]
fn a_handshake_message_without_end_is_bounded() {
    let (server, _) = localhost();
    let mut tls = Tls::new(server).unwrap();
    let mut scratch = Scratch::default();
    // A ClientHello of 60,000 bytes in small records.
    let mut stream = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
    while stream.len() < 60_000 {
        stream.extend([22, 3, 1, 0, 200]);
        stream.extend([0; 200]);
    }
    let mut fed = 0;
    let failed = stream.chunks(1_000).find_map(|chunk| {
        fed += chunk.len();
        scratch.input[..chunk.len()].copy_from_slice(chunk);
        tls.feed(chunk.len(), &mut scratch).err()
    });
    assert!(matches!(failed, Some(TlsError::TooLong)), "{failed:?}");
    assert!(fed <= RECORD_MAX + 1_000);
}

#[test]
fn tickets_resume_without_any_state_here() {
    for version in BOTH {
        let (server, ca) = localhost();
        let client = Arc::new(client_config(&ca, version));
        let mut first = Pair::new(&server, Arc::clone(&client));
        first.settle();
        assert_eq!(first.client.handshake_kind(), Some(HandshakeKind::Full));
        drop(first);
        let mut second = Pair::new(&server, client);
        second.settle();
        assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(second.server.is_resumed());
    }
}

#[test]
fn resumption_in_any_piece() {
    for version in BOTH {
        let (server, ca) = localhost();
        let client = Arc::new(client_config(&ca, version));
        for piece in [1, 2, 7, 100] {
            let mut pair = Pair::new(&server, Arc::clone(&client));
            pair.exchange(piece);
            // The first has none yet, and leaves its ticket to the second.
            assert_eq!(pair.server.is_resumed(), piece > 1);
            pair.client.writer().write_all(b"ping").unwrap();
            pair.server_says(b"pong");
            pair.exchange(piece);
            assert_eq!((&pair.got[..], &pair.client_got[..]), (&b"ping"[..], &b"pong"[..]));
            assert!(pair.server.rest.is_empty());
        }
    }
}

#[test]
fn all_that_a_client_has_to_say_in_one_piece() {
    for version in BOTH {
        let (server, ca) = localhost();
        let mut pair = Pair::new(&server, client_config(&ca, version));
        let hello = pair.client_sends();
        pair.feed(&hello).unwrap();
        pair.client_receives().unwrap();
        if version == &TLS12 {
            // Its handshake takes one round more before there may be data.
            let keys = pair.client_sends();
            pair.feed(&keys).unwrap();
            pair.client_receives().unwrap();
        }
        pair.client.writer().write_all(b"CONNECT").unwrap();
        let mut stream = pair.client_sends();
        if version == &TLS13 {
            pair.client.refresh_traffic_keys().unwrap();
        }
        pair.client.writer().write_all(b" SUBSCRIBE").unwrap();
        pair.client.send_close_notify();
        stream.extend(pair.client_sends());
        pair.feed(&stream).unwrap();
        assert_eq!(pair.got, b"CONNECT SUBSCRIBE");
        assert!(pair.server.peer_closed());

        // What waits for the client, tickets included, goes in one piece too.
        pair.server_says(b"CONNACK");
        pair.server_says(b" SUBACK");
        pair.server.close(&mut pair.to_client);
        pair.client_receives().unwrap();
        assert_eq!(pair.client_got, b"CONNACK SUBACK");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn early_data_is_refused_and_the_connection_lives() {
    let (server, ca) = localhost();
    let mut config = client_config(&ca, &TLS13);
    config.enable_early_data = true;
    let config = Arc::new(config);
    Pair::new(&server, Arc::clone(&config)).settle();
    let mut pair = Pair::new(&server, config);
    // Our tickets allow none, so rustls' client does not even offer it.
    assert!(pair.client.early_data().is_none());
    pair.settle();
    assert!(pair.server.is_resumed());
    assert!(pair.got.is_empty());
}
