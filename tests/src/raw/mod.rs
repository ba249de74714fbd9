//! An MQTT client of our own, for 3.1.1 and 5, that sends what it is told, faults included.
//!
//! It shares no code with the broker's or the agent's codec, and shows codes as the numbers on the wire.

mod bytes;
mod websocket;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use bytes::{
    Packet, Properties, Property, Version, connect, frame, parse, properties, publish, subscribe, text,
};

use crate::broker::client_tls;
use crate::wait::within;

/// What a client runs over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A CONNECT.
#[derive(Debug, Clone)]
pub struct Login {
    /// Version of MQTT.
    pub version: Version,
    /// User name.
    pub user: String,
    /// Client id.
    pub client_id: String,
    /// Password.
    pub password: String,
    /// Keep-alive in seconds.
    pub keep_alive: u16,
    /// Properties of MQTT 5.
    pub properties: Vec<Property>,
}

impl Login {
    /// Makes the CONNECT of an agent, or with `op:NAME` of an operator without a client id.
    pub fn new(version: Version, user: &str, password: &str) -> Self {
        let client_id = if user.starts_with("op:") { "" } else { user };
        Self {
            version,
            user: user.to_owned(),
            client_id: client_id.to_owned(),
            password: password.to_owned(),
            keep_alive: 60,
            properties: Vec::new(),
        }
    }
}

/// Does the TLS handshake over a stream, as a client that speaks one protocol.
pub async fn handshake<S: Io>(io: S, ca: &Path, alpn: &str) -> Result<TlsStream<S>> {
    let connector = TlsConnector::from(client_tls(ca, &[alpn])?);
    let name = ServerName::try_from("localhost")?;
    within("a TLS handshake", connector.connect(name, io)).await?.context("no TLS handshake")
}

/// A connected client.
pub struct Client {
    io: Box<dyn Io>,
    version: Version,
    unread: Vec<u8>,
    last_id: u16,
}

impl Client {
    /// Dials a broker over TLS.
    pub async fn dial(address: SocketAddr, ca: &Path) -> Result<Self> {
        let tcp = within("a TCP connection", TcpStream::connect(address)).await??;
        Self::over(tcp, ca).await
    }

    /// Does the TLS handshake over a stream.
    pub async fn over(io: impl Io + 'static, ca: &Path) -> Result<Self> {
        Ok(Self::on(handshake(io, ca, "mqtt").await?, Version::V5))
    }

    /// Dials a broker over TLS, and speaks MQTT in a WebSocket, in binary messages of at most `message` bytes.
    pub async fn dial_websocket(address: SocketAddr, ca: &Path, message: usize) -> Result<Self> {
        let tcp = within("a TCP connection", TcpStream::connect(address)).await??;
        let tls = handshake(tcp, ca, "http/1.1").await?;
        Ok(Self::on(websocket::open(tls, message).await?, Version::V5))
    }

    /// Speaks over a stream whose handshake is done.
    pub fn on(io: impl Io + 'static, version: Version) -> Self {
        Self { io: Box::new(io), version, unread: Vec::new(), last_id: 0 }
    }

    /// Sets the version in which what comes is read.
    pub fn speak(&mut self, version: Version) {
        self.version = version;
    }

    /// Ends its own side of the stream; what the broker says is still read.
    pub async fn finish(&mut self) -> Result<()> {
        within("the end of a stream to be taken", self.io.shutdown()).await?.context("it cannot be ended")
    }

    /// Sends a CONNECT and returns the first answer; `None` is a silent close.
    pub async fn login(&mut self, login: &Login) -> Result<Option<Packet>> {
        self.version = login.version;
        self.send(&connect(login)).await?;
        self.next().await
    }

    /// Does the same, and fails unless it is let in.
    pub async fn enter(&mut self, login: &Login) -> Result<Properties> {
        match self.login(login).await? {
            Some(Packet::ConnAck { code: 0, properties }) => Ok(properties),
            other => bail!("not let in: {other:?}"),
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        within("bytes to be taken", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await?
        .context("the broker does not take bytes")
    }

    /// Sends a SUBSCRIBE, and returns the one code of its SUBACK.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<u8> {
        let packet_id = self.packet_id();
        self.send(&subscribe(self.version, packet_id, filter, qos)).await?;
        match self.next().await? {
            Some(Packet::SubAck { packet_id: of, codes, .. }) if of == packet_id && codes.len() == 1 => {
                Ok(codes[0])
            }
            other => bail!("no SUBACK for {filter}: {other:?}"),
        }
    }

    /// Sends a PUBLISH at QoS 1, and returns its packet id.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], with: &[Property]) -> Result<u16> {
        let packet_id = self.packet_id();
        self.send(&publish(self.version, packet_id, topic, payload, with)).await?;
        Ok(packet_id)
    }

    /// Sends a PUBLISH at QoS 1, and returns the code of its PUBACK and the Reason String.
    pub async fn published(&mut self, topic: &str, payload: &[u8]) -> Result<(u8, Option<String>)> {
        let packet_id = self.publish(topic, payload, &[]).await?;
        match self.next().await? {
            Some(Packet::PubAck { packet_id: of, code, properties }) if of == packet_id => {
                Ok((code, properties.reason()))
            }
            other => bail!("no PUBACK for {topic}: {other:?}"),
        }
    }

    /// Sends a PUBACK.
    pub async fn acknowledge(&mut self, packet_id: u16) -> Result<()> {
        self.send(&frame(0x40, &packet_id.to_be_bytes())).await
    }

    /// Returns the next packet; `None` if the broker has closed the connection.
    pub async fn next(&mut self) -> Result<Option<Packet>> {
        within("a packet of the broker", self.read()).await?
    }

    /// Returns the next command that is delivered: packet id and payload.
    pub async fn command(&mut self) -> Result<(u16, serde_json::Value)> {
        match self.next().await? {
            Some(Packet::Publish { packet_id: Some(packet_id), payload, .. }) => {
                Ok((packet_id, serde_json::from_slice(&payload)?))
            }
            other => bail!("no command: {other:?}"),
        }
    }

    /// Reads until the broker has closed, and returns the code of its DISCONNECT, if it sent one.
    pub async fn closed(&mut self) -> Result<Option<u8>> {
        let mut told = None;
        while let Some(packet) = self.next().await? {
            ensure!(told.is_none(), "after DISCONNECT came {packet:?}");
            if let Packet::Disconnect { code, .. } = packet {
                told = Some(code);
            }
        }
        Ok(told)
    }

    /// Asks for a sign of life, and fails unless that is the next packet.
    pub async fn ping(&mut self) -> Result<()> {
        self.send(&frame(0xC0, &[])).await?;
        match self.next().await? {
            Some(Packet::PingResp) => Ok(()),
            other => bail!("no PINGRESP: {other:?}"),
        }
    }

    fn packet_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    async fn read(&mut self) -> Result<Option<Packet>> {
        loop {
            if let Some((packet, len)) = bytes::parse(self.version, &self.unread)? {
                self.unread.drain(..len);
                return Ok(Some(packet));
            }
            let mut piece = [0; 4096];
            match self.io.read(&mut piece).await {
                // A close without TLS's own goodbye, or a reset, is a close too.
                Ok(0) | Err(_) => {
                    ensure!(self.unread.is_empty(), "closed within a packet: {:?}", self.unread);
                    return Ok(None);
                }
                Ok(n) => self.unread.extend_from_slice(&piece[..n]),
            }
        }
    }
}
