//! New keys: the client's, and our own after many records.

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;

use super::*;

#[test]
fn the_peers_key_updates_are_followed_and_answered() {
    for piece in [1, 3, RECORD_MAX] {
        let mut pair = Pair::connected(&TLS13);
        for round in 0..5_u8 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.client.writer().write_all(&[round]).unwrap();
            pair.exchange(piece);
            // The answer stands in front of the next data (RFC 8446 §4.6.3).
            let before = pair.to_client.len();
            pair.server_says(&[round]);
            assert!(pair.to_client.len() - before > 2 * 22, "a record of key update and one of data");
            pair.exchange(piece);
        }
        assert_eq!((pair.got, pair.client_got), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]));
    }
}

#[test]
fn key_updates_that_come_together_are_followed() {
    let mut pair = Pair::connected(&TLS13);
    let mut stream = Vec::new();
    for round in 0..5_u8 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(&[round]).unwrap();
        stream.extend(pair.client_sends());
    }
    pair.feed(&stream).unwrap();
    pair.server_says(b"all");
    pair.settle();
    assert_eq!((pair.got, &pair.client_got[..]), (vec![0, 1, 2, 3, 4], &b"all"[..]));
}

/// A cipher suite whose keys may seal only a few records.
fn short_lived(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let common = rustls::crypto::CipherSuiteCommon { confidentiality_limit: 8, ..suite.common };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(rustls::Tls13CipherSuite { common, ..*suite })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            let common = rustls::crypto::CipherSuiteCommon { confidentiality_limit: 8, ..suite.common };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(rustls::Tls12CipherSuite { common, ..*suite })))
        }
    }
}

fn short_lived_server() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&pair).unwrap();
    let good = ring::default_provider();
    let provider = CryptoProvider {
        cipher_suites: good.cipher_suites.iter().copied().map(short_lived).collect(),
        ..good
    };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], pair.into())
        .unwrap();
    (Arc::new(config), made.der().clone())
}

#[test]
fn keys_are_renewed_after_many_records() {
    let (server, ca) = short_lived_server();
    let mut pair = Pair::new(&server, client_config(&ca, &TLS13));
    pair.settle();
    for round in 0..100_u8 {
        pair.server_says(&[round]);
        pair.settle();
    }
    assert_eq!(pair.client_got, (0..100).collect::<Vec<u8>>());
}

#[test]
fn version_1_2_ends_when_its_keys_are_used_up() {
    let (server, ca) = short_lived_server();
    let mut pair = Pair::new(&server, client_config(&ca, &TLS12));
    pair.settle();
    let ended = (0..100).map(|_| pair.server.seal(b"x", &mut pair.to_client)).find_map(Result::err);
    assert!(matches!(ended, Some(TlsError::Exhausted)));
    pair.client_receives().unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    assert!(matches!(pair.server.seal(b"x", &mut pair.to_client), Err(TlsError::Closed)));
}
