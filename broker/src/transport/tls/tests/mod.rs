//! Against rustls' own buffered client, in memory.

mod alpn;
mod ending;
mod handshake;
mod keys;
mod records;

use std::io::{Read, Write};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ServerConfig;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::super::server_config::tests::localhost;
use super::*;
use rustls::crypto::ring;
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
        self.client_receives_in(usize::MAX)
    }

    /// Does the same in pieces of at most `piece` bytes.
    fn client_receives_in(&mut self, piece: usize) -> Result<(), rustls::Error> {
        let bytes = std::mem::take(&mut self.to_client);
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                self.client.process_new_packets()?;
                let mut plain = Vec::new();
                let read = self.client.reader().read_to_end(&mut plain);
                assert!(read.is_ok() || read.unwrap_err().kind() == std::io::ErrorKind::WouldBlock);
                self.client_got.extend(plain);
            }
        }
        Ok(())
    }

    /// Exchanges until nobody has anything to say, in pieces of at most `piece` bytes both ways.
    fn exchange(&mut self, piece: usize) {
        loop {
            let bytes = self.client_sends();
            for bytes in bytes.chunks(piece) {
                self.feed(bytes).unwrap();
            }
            let quiet = bytes.is_empty() && self.to_client.is_empty();
            self.client_receives_in(piece).unwrap();
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
