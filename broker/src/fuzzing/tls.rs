//! TLS: records, whole or not, into the driver, before, within and after a real handshake.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::pieces;
use crate::transport::client_hello::peek;
use crate::transport::server_config::server_config;
use crate::transport::sniff::sniff;
use crate::transport::tls::{RECORD_MAX, Scratch, Tls, TlsError};

/// What one step may add to what is sent: a flight of the handshake, tickets and alerts.
const OUTPUT_MAX: usize = 32 * 1024;

struct Configs {
    server: Arc<ServerConfig>,
    clients: [Arc<ClientConfig>; 2],
}

/// Makes a certificate, once for each process.
fn configs() -> &'static Configs {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let made = params.self_signed(&pair).expect("a certificate");
        let dir = std::env::temp_dir().join(format!("wakemq-fuzzing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        std::fs::write(&certificate, made.pem()).expect("a file");
        std::fs::write(&key, pair.serialize_pem()).expect("a file");
        let server = server_config(&certificate, &key).expect("a server's configuration");
        std::fs::remove_dir_all(&dir).expect("the directory is ours");
        let clients = [&TLS13, &TLS12].map(|version| Arc::new(client(made.der(), version)));
        Configs { server, clients }
    })
}

fn client(ca: &CertificateDer<'static>, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).expect("a CA");
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}

/// Both ends of a connection, the client's a real one.
struct Pair {
    client: ClientConnection,
    server: Tls,
    scratch: Scratch,
    plain: Vec<u8>,
    failed: bool,
}

impl Pair {
    fn new(version: usize) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let configs = configs();
        Self {
            client: ClientConnection::new(configs.clients[version].clone(), name).expect("a client"),
            server: Tls::new(configs.server.clone()).expect("a server"),
            scratch: Scratch::default(),
            plain: Vec::new(),
            failed: false,
        }
    }

    /// Feeds the server, and checks what its documentation promises.
    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(RECORD_MAX) {
            self.scratch.input[..piece.len()].copy_from_slice(piece);
            self.scratch.output.clear();
            let was_handshaking = self.server.is_handshaking();
            let had_ended = self.server.peer_closed();
            let fed = self.server.feed(piece.len(), &mut self.scratch);
            assert!(self.scratch.output.len() <= OUTPUT_MAX, "{} bytes to send", self.scratch.output.len());
            if self.failed {
                assert!(matches!(fed, Err(TlsError::Closed)), "a failed connection goes on");
            }
            if was_handshaking && self.server.is_handshaking() {
                assert!(self.scratch.plain.is_empty(), "plaintext within the handshake");
                let sealed = self.server.seal(b"x", &mut Vec::new());
                assert!(sealed.is_err(), "sealed within the handshake");
            }
            assert!(!had_ended || self.scratch.plain.is_empty(), "plaintext after the end");
            self.plain.extend_from_slice(&self.scratch.plain);
            self.failed |= fed.is_err();
        }
    }

    /// What the client has to send.
    fn flight(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("memory takes all");
        }
        bytes
    }

    /// Gives the client what the server has sealed since; a client that refuses it is as good as gone.
    fn answer(&mut self) -> bool {
        let output = std::mem::take(&mut self.scratch.output);
        let mut rest = &output[..];
        while !rest.is_empty() {
            if self.client.read_tls(&mut rest).is_err() || self.client.process_new_packets().is_err() {
                return false;
            }
        }
        true
    }

    /// Does the whole handshake.
    fn shake_hands(&mut self) {
        while self.client.is_handshaking() || self.client.wants_write() {
            let flight = self.flight();
            self.feed(&flight);
            assert!(!self.failed && self.answer(), "a good handshake fails");
        }
        assert!(!self.server.is_handshaking());
    }

    /// Ends as the door does.
    fn close(&mut self) {
        let mut out = Vec::new();
        if !self.failed && !self.server.is_handshaking() {
            self.server.seal(b"last words", &mut out).expect("an open connection can be written to");
        }
        self.server.close(&mut out);
        assert!(out.len() <= OUTPUT_MAX);
    }
}

/// Takes bytes; the first one says when they come and in what form.
pub fn tls(data: &[u8]) {
    let [mode, data @ ..] = data else { return };
    let _ = (peek(data), sniff(None, data));
    let mut pair = Pair::new(usize::from(mode >> 3 & 1));
    match mode & 7 {
        // From nothing.
        0 | 1 => pieces(data).for_each(|piece| pair.feed(piece)),
        // Changes in the client's first flight: pairs of a place and what is there in place of it.
        2 => {
            let mut hello = pair.flight();
            change(&mut hello, data);
            assert_eq!(pair.plain.len(), 0);
            pair.feed(&hello);
        }
        // Behind a good ClientHello.
        3 => {
            let hello = pair.flight();
            pair.feed(&hello);
            pieces(data).for_each(|piece| pair.feed(piece));
        }
        // Changes in the client's second flight.
        4 => {
            let hello = pair.flight();
            pair.feed(&hello);
            if pair.answer() {
                let mut flight = pair.flight();
                change(&mut flight, data);
                pair.feed(&flight);
            }
        }
        // Bytes behind a whole handshake.
        5 => {
            pair.shake_hands();
            pieces(data).for_each(|piece| pair.feed(piece));
        }
        // Good records in pieces: all arrives, in order, whatever the pieces.
        6 if data.len() <= 8192 => {
            pair.shake_hands();
            for plain in pieces(data) {
                pair.client.writer().write_all(plain).expect("a client takes it");
                let sealed = pair.flight();
                for piece in sealed.chunks(1 + usize::from(mode >> 4) * 7) {
                    pair.feed(piece);
                }
            }
            assert!(!pair.failed);
            assert_eq!(pair.plain, pieces(data).collect::<Vec<_>>().concat());
            pair.scratch.output.clear();
            let mut out = Vec::new();
            pair.server.seal(data, &mut out).expect("it is open");
            pair.scratch.output = out;
            assert!(pair.answer());
            let mut back = Vec::new();
            // There is no more than that, which the client calls WouldBlock.
            let _ = pair.client.reader().read_to_end(&mut back);
            assert_eq!(back, data);
        }
        // Changes in a sealed record: nothing of it may come through.
        _ => {
            pair.shake_hands();
            pair.client.writer().write_all(data).expect("a client takes it");
            let good = pair.flight();
            let mut sealed = good.clone();
            change(&mut sealed, data);
            pair.feed(&sealed);
            if sealed.len() == good.len() && sealed.get(5..) != good.get(5..) {
                assert!(pair.plain.len() < data.len(), "a changed record came through");
            }
        }
    }
    pair.close();
}

/// Changes bytes: two of the data say where, the third is put there.
fn change(bytes: &mut [u8], data: &[u8]) {
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change[2];
        }
    }
}
