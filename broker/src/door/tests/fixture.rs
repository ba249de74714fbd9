//! A door over in-memory streams, and clients that speak TLS and a little MQTT.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wakemq_protocol::{Secret, SecretHash, SecretKind};

use crate::bus::Bus;
use crate::clock::Clock;
use crate::door::{Door, Limits, Serves};
use crate::engine::{Advertise, Engine};
use crate::metrics::{Metrics, Refused, Waited};
use crate::store::{Admin, AdminOp, AdminOutcome, Durability, Store};
use crate::transport::server_config::tests::localhost;

/// What a stream holds.
const STREAM_BYTES: usize = 16 * 1024;

/// A door, and what its clients need.
pub(super) struct Fixture {
    pub(super) door: Arc<Door>,
    pub(super) metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    clock: Clock,
    tls: Arc<ClientConfig>,
}

impl Fixture {
    /// Makes a door over a store.
    pub(super) fn new(limits: Limits, store: Arc<dyn Store>) -> Self {
        let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new()));
        let bus = Bus::start(metrics.clone());
        let advertise = Advertise { endpoints: Vec::new(), ca: None };
        let engine = Engine::new(store.clone(), clock.clone(), advertise, metrics.clone(), bus.clone());
        let (server, ca) = localhost();
        let door = Door::new(Arc::new(engine), bus, server, limits);
        Self { door, metrics, store, clock, tls: client_config(ca) }
    }

    /// Opens a stream to the clients' door.
    pub(super) fn dial(&self) -> DuplexStream {
        self.dial_as(Serves::Clients)
    }

    /// Opens a stream to a door.
    pub(super) fn dial_as(&self, serves: Serves) -> DuplexStream {
        self.dial_from(Ipv4Addr::LOCALHOST.into(), serves)
    }

    /// Opens a stream to a door, as somebody else.
    pub(super) fn dial_from(&self, address: IpAddr, serves: Serves) -> DuplexStream {
        let (near, far) = duplex(STREAM_BYTES);
        tokio::spawn(self.door.clone().serve_as(far, (address, 1).into(), serves));
        near
    }

    /// Does the TLS handshake, and returns how long that took.
    pub(super) async fn shake(
        &self,
        io: DuplexStream,
    ) -> Result<(TlsStream<DuplexStream>, Duration), Duration> {
        shake(self.tls.clone(), io).await
    }

    /// Does the TLS handshake for HTTP.
    pub(super) async fn shake_http(&self, io: DuplexStream) -> Result<TlsStream<DuplexStream>, Duration> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(shake(Arc::new(tls), io).await?.0)
    }

    /// Says a ClientHello, and then nothing.
    pub(super) async fn half_shake(&self) -> DuplexStream {
        let mut io = self.dial();
        let name = ServerName::try_from("localhost").unwrap();
        let mut hello = Vec::new();
        ClientConnection::new(self.tls.clone(), name).unwrap().write_tls(&mut hello).unwrap();
        io.write_all(&hello).await.unwrap();
        io
    }

    /// Creates an agent, whose secret goes by the length of its name.
    pub(super) async fn create(&self, agent: &str) -> Secret {
        let secret = Secret::from_random(SecretKind::Agent, &[agent.len() as u8; 32]);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret.expose().as_bytes()).as_ref());
        let op = AdminOp::CreateAgent {
            agent: agent.parse().unwrap(),
            group: "test".parse().unwrap(),
            secret: SecretHash(hash),
        };
        let ops = vec![Admin { op, actor: None }];
        let outcome = self.store.write(ops, Durability::Flushed, self.clock.now()).await.unwrap();
        assert_eq!(outcome, [AdminOutcome::Done]);
        secret
    }

    /// Lets an agent in that has been created, and returns what it is advised.
    pub(super) async fn enter(&self, agent: &str, secret: &Secret) -> (Mqtt, String) {
        let (tls, _) = self.shake(self.dial()).await.unwrap();
        let mut mqtt = Mqtt(tls);
        let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let head = [&text("MQTT")[..], &[5, 0xC2, 0, 60, 0]].concat();
        let body = [head, text(agent), text(agent), text(secret.expose())].concat();
        mqtt.send(0x10, &body).await;
        let (kind, body) = mqtt.next().await.unwrap();
        assert_eq!((kind, body[1]), (0x20, 0), "a CONNACK that lets it in");
        (mqtt, advice(&body))
    }

    pub(super) fn refused(&self, why: Refused) -> u64 {
        self.metrics.refusals.of(why).get()
    }

    pub(super) fn waited(&self, what: Waited) -> u64 {
        self.metrics.admission_waits.of(what).get()
    }
}

async fn shake(
    tls: Arc<ClientConfig>,
    io: DuplexStream,
) -> Result<(TlsStream<DuplexStream>, Duration), Duration> {
    let began = Instant::now();
    let name = ServerName::try_from("localhost").unwrap();
    match TlsConnector::from(tls).connect(name, io).await {
        Ok(stream) => Ok((stream, began.elapsed())),
        Err(_) => Err(began.elapsed()),
    }
}

fn client_config(ca: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    Arc::new(config)
}

/// An agent's connection, as bytes of MQTT 5.
pub(super) struct Mqtt(TlsStream<DuplexStream>);

impl Mqtt {
    /// Sends a packet of less than 128 bytes, or up to 16 KiB.
    pub(super) async fn send(&mut self, first: u8, body: &[u8]) {
        let len = body.len();
        let len = if len < 128 { vec![len as u8] } else { vec![(len % 128) as u8 | 128, (len / 128) as u8] };
        self.0.write_all(&[&[first], &len[..], body].concat()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Takes the next packet of less than 16 KiB: its first byte, and what follows its length.
    pub(super) async fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await?;
        let mut len = usize::from(self.0.read_u8().await?);
        if len >= 128 {
            len = len - 128 + usize::from(self.0.read_u8().await?) * 128;
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).await?;
        Ok((first, body))
    }
}

/// Finds the advice when to come back in a packet's properties.
pub(super) fn advice(body: &[u8]) -> String {
    const NAME: &[u8] = b"wakemq-return";
    let at = body.windows(NAME.len()).position(|bytes| bytes == NAME).expect("no advice") + NAME.len();
    let len = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    String::from_utf8(body[at + 2..at + 2 + len].to_vec()).unwrap()
}
