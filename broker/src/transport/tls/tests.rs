//! Against rustls' own buffered client, in memory.

use std::io::{Read, Write};

use proptest::prelude::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ServerConfig;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::super::server_config::tests::localhost;
use super::*;
use rustls::version::{TLS12, TLS13};

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn client_config(ca: &CertificateDer<'static>, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Both ends, and what they have sent and received.
struct Pair {
    client: ClientConnection,
    server: Tls,
    scratch: Scratch,
    /// Plaintext that the server decrypted.
    got: Vec<u8>,
    /// Plaintext that the client decrypted.
    client_got: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    fn new(server: &Arc<ServerConfig>, client: impl Into<Arc<ClientConfig>>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            client: ClientConnection::new(client.into(), name).unwrap(),
            server: Tls::new(Arc::clone(server)).unwrap(),
            scratch: Scratch::default(),
            got: Vec::new(),
            client_got: Vec::new(),
            to_client: Vec::new(),
        }
    }

    fn connected(version: &'static SupportedProtocolVersion) -> Self {
        let (server, ca) = localhost();
        let mut pair = Self::new(&server, client_config(&ca, version));
        pair.settle();
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
        pair
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        self.scratch.input[..bytes.len()].copy_from_slice(bytes);
        self.scratch.output.clear();
        let fed = self.server.feed(bytes.len(), &mut self.scratch);
        self.got.extend_from_slice(&self.scratch.plain);
        self.to_client.extend_from_slice(&self.scratch.output);
        fed
    }

    fn client_sends(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn client_receives(&mut self) -> Result<(), rustls::Error> {
        let bytes = std::mem::take(&mut self.to_client);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
            let mut plain = Vec::new();
            let read = self.client.reader().read_to_end(&mut plain);
            assert!(read.is_ok() || read.unwrap_err().kind() == std::io::ErrorKind::WouldBlock);
            self.client_got.extend(plain);
        }
        Ok(())
    }

    /// Exchanges until nobody has anything to say, in pieces of at most `piece` bytes towards the server.
    fn exchange(&mut self, piece: usize) {
        loop {
            let bytes = self.client_sends();
            for bytes in bytes.chunks(piece) {
                self.feed(bytes).unwrap();
            }
            let quiet = bytes.is_empty() && self.to_client.is_empty();
            self.client_receives().unwrap();
            if quiet {
                break;
            }
        }
    }

    fn settle(&mut self) {
        self.exchange(RECORD_MAX);
    }

    fn server_says(&mut self, plain: &[u8]) {
        self.server.seal(plain, &mut self.to_client).unwrap();
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at * 31 % 251) as u8).collect()
}

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
fn sealing_before_the_end_of_the_handshake_is_refused() {
    let (server, _) = localhost();
    let mut tls = Tls::new(server).unwrap();
    let mut out = b"kept".to_vec();
    assert!(matches!(tls.seal(b"x", &mut out), Err(TlsError::Handshaking)));
    tls.close(&mut out);
    assert_eq!(out, b"kept");
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

#[test]
fn the_peers_key_updates_are_followed_and_answered() {
    let mut pair = Pair::connected(&TLS13);
    for round in 0..5_u8 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(&[round]).unwrap();
        pair.exchange(3);
        // The answer stands in front of the next data (RFC 8446 §4.6.3).
        let before = pair.to_client.len();
        pair.server_says(&[round]);
        assert!(pair.to_client.len() - before > 2 * 22, "a record of key update and one of data");
        pair.settle();
    }
    assert_eq!((pair.got, pair.client_got), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]));
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

#[test]
fn both_say_goodbye() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        let mut stream = pair.client_sends();
        stream.extend_from_slice(b"garbage behind the end");
        pair.feed(&stream).unwrap();
        assert!(pair.server.peer_closed());
        assert_eq!(pair.got, b"last words");
        assert!(pair.server.rest.is_empty());
        pair.feed(b"more garbage").unwrap();

        pair.server_says(b"so long");
        pair.server.close(&mut pair.to_client);
        pair.client_receives().unwrap();
        assert_eq!(pair.client_got, b"so long");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());

        pair.server.close(&mut pair.to_client);
        assert!(pair.to_client.is_empty(), "once is enough");
        assert!(matches!(pair.server.seal(b"x", &mut pair.to_client), Err(TlsError::Closed)));
    }
}

#[test]
fn a_damaged_record_is_answered_by_an_alert() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"fine").unwrap();
        let mut stream = pair.client_sends();
        pair.client.writer().write_all(b"damaged").unwrap();
        let mut damaged = pair.client_sends();
        *damaged.last_mut().unwrap() ^= 1;
        stream.extend(damaged);
        assert!(matches!(pair.feed(&stream), Err(TlsError::Protocol(rustls::Error::DecryptError))));
        assert_eq!(pair.got, b"fine");
        assert!(matches!(
            pair.client_receives(),
            Err(rustls::Error::AlertReceived(AlertDescription::BadRecordMac))
        ));
        assert!(matches!(pair.feed(b"x"), Err(TlsError::Closed)));
        assert!(matches!(pair.server.seal(b"x", &mut pair.to_client), Err(TlsError::Closed)));
        assert!(pair.to_client.is_empty());
    }
}

#[test]
fn what_is_not_tls_is_answered_by_an_alert() {
    let (server, _) = localhost();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x10, 5, 0, 4, b'M', b'Q'], &[22, 3, 1, 0xff, 0xff, 1]]
    {
        let mut tls = Tls::new(Arc::clone(&server)).unwrap();
        let mut scratch = Scratch::default();
        scratch.input[..garbage.len()].copy_from_slice(garbage);
        assert!(matches!(tls.feed(garbage.len(), &mut scratch), Err(TlsError::Protocol(_))));
        assert_eq!(scratch.output[0], 21, "an alert record");
    }
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
fn the_clients_alert_ends_the_connection() {
    let (server, _) = localhost();
    let (_, other_ca) = localhost();
    let mut pair = Pair::new(&server, client_config(&other_ca, &TLS13));
    let hello = pair.client_sends();
    pair.feed(&hello).unwrap();
    assert!(pair.client_receives().is_err(), "the certificate is of another");
    let alert = pair.client_sends();
    assert!(matches!(pair.feed(&alert), Err(TlsError::Protocol(rustls::Error::AlertReceived(_)))));
}

#[test]
fn alpn_settles_or_refuses() {
    let (server, ca) = localhost();
    let with = |protocols: &[&[u8]]| {
        let mut config = client_config(&ca, &TLS13);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Pair::new(&server, config)
    };
    for (offered, settled) in [
        (&[][..], None),
        (&[&b"mqtt"[..]][..], Some(&b"mqtt"[..])),
        (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"http/1.1"[..])),
    ] {
        let mut pair = with(offered);
        pair.settle();
        assert_eq!(pair.server.alpn(), settled);
    }
    let mut pair = with(&[b"imap"]);
    let hello = pair.client_sends();
    assert!(pair.feed(&hello).is_err());
    assert!(matches!(
        pair.client_receives(),
        Err(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
    ));
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

#[test]
fn the_workers_buffers_never_show_another_connections_bytes() {
    Scratch::with(|scratch| {
        scratch.plain.extend_from_slice(b"secret");
        scratch.output.reserve(SCRATCH_KEEP_MAX + 1);
        scratch.output.extend_from_slice(b"sealed");
        Scratch::with(|inner| assert!(inner.plain.is_empty() && inner.output.is_empty()));
    });
    Scratch::with(|scratch| {
        assert!(scratch.plain.is_empty() && scratch.output.is_empty());
        assert!(scratch.output.capacity() <= SCRATCH_KEEP_MAX);
    });
}

#[test]
fn what_a_parked_connection_holds_inline() {
    assert!(size_of::<Tls>() <= 1_300, "{}", size_of::<Tls>());
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
