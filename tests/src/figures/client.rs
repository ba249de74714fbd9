//! A lean client: MQTT 5 over TLS, with a full handshake each time and no time limits of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wakemq_protocol::limits::{IN_FLIGHT_MAX, PACKET_MAX};
use wakemq_protocol::{AgentId, Secret, Topic};

use crate::broker::client_tls;
use crate::raw::{self, Login, Property, Version, connect, frame, parse, subscribe};

/// The longest keep-alive that the broker grants, in seconds: nothing moves on a parked connection.
pub const KEEP_ALIVE_SECS: u16 = 1200;

/// How to reach a server.
#[derive(Clone)]
pub struct Dialer {
    connector: TlsConnector,
    name: ServerName<'static>,
    address: SocketAddr,
}

impl Dialer {
    /// Trusts a CA and offers `mqtt`.
    pub fn new(address: SocketAddr, ca: &Path) -> Result<Self> {
        Self::with(client_tls(ca, &["mqtt"])?, address)
    }

    /// Dials with a TLS configuration, but without its tickets: a fleet that comes for the first time has none.
    pub fn with(config: Arc<ClientConfig>, address: SocketAddr) -> Result<Self> {
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("localhost")?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, address })
    }

    /// Dials, from `source` if that is given, and does the TLS handshake.
    pub async fn dial(&self, source: Option<Ipv4Addr>) -> Result<Lean> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = source {
            socket.bind(SocketAddr::from((source, 0)))?;
        }
        let tcp = socket.connect(self.address).await.context("cannot connect")?;
        tcp.set_nodelay(true)?;
        self.over(tcp).await
    }

    /// Does the TLS handshake over a stream.
    pub async fn over<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S) -> Result<Lean<S>> {
        let io = self.connector.connect(self.name.clone(), io).await.context("no TLS")?;
        Ok(Lean { io, unread: Vec::new() })
    }

    /// Dials as an agent does, and subscribes to its commands.
    pub async fn agent(&self, agent: &AgentId, secret: &Secret, source: Option<Ipv4Addr>) -> Result<Lean> {
        let mut lean = self.dial(source).await?;
        lean.enter(&agent_login(agent, secret)?).await?;
        lean.subscribe(&Topic::AgentCommands(agent.clone()).to_string()).await?;
        Ok(lean)
    }
}

/// Returns the CONNECT of an agent.
pub fn agent_login(agent: &AgentId, secret: &Secret) -> Result<Login> {
    let mut login = Login::new(Version::V5, agent.as_str(), secret.expose());
    login.keep_alive = KEEP_ALIVE_SECS;
    login.properties = vec![
        Property::Two(0x21, IN_FLIGHT_MAX),
        Property::Four(0x27, u32::try_from(PACKET_MAX)?),
        Property::User("instance".into(), format!("{:032x}", fastrand::u128(..))),
    ];
    Ok(login)
}

/// A packet of the server.
#[derive(Debug)]
pub struct Packet {
    /// The type: MQTT 5 §2.1.2.
    pub kind: u8,
    /// All behind the fixed header.
    pub body: Vec<u8>,
}

impl Packet {
    /// Returns packet id and payload of a PUBLISH at QoS 1 without a topic alias: MQTT 5 §3.3.
    pub fn publish(&self) -> Result<(u16, &[u8])> {
        ensure!(self.kind == 3, "a packet {} in place of a PUBLISH", self.kind);
        let too_short = "a PUBLISH is too short";
        let (len, rest) = self.body.split_first_chunk().context(too_short)?;
        let rest = rest.get(usize::from(u16::from_be_bytes(*len))..).context(too_short)?;
        let (packet_id, rest) = rest.split_first_chunk().context(too_short)?;
        let (len, at) = varint(rest)?.context(too_short)?;
        Ok((u16::from_be_bytes(*packet_id), rest.get(at + len..).context(too_short)?))
    }

    /// Returns a user property of a CONNACK: MQTT 5 §3.2.2.3.10.
    pub fn user_property(&self, name: &str) -> Result<Option<String>> {
        ensure!(self.kind == 2, "a packet {} in place of a CONNACK", self.kind);
        let Some((parsed, _)) = parse(Version::V5, &frame(0x20, &self.body))? else {
            bail!("a CONNACK is too short")
        };
        let raw::Packet::ConnAck { properties, .. } = parsed else { bail!("no CONNACK: {parsed:?}") };
        Ok(properties.user(name).map(str::to_owned))
    }

    /// Returns the packet id of a PUBACK that accepts: MQTT 5 §3.4.
    pub fn puback(&self) -> Result<u16> {
        ensure!(self.kind == 4, "a packet {} in place of a PUBACK", self.kind);
        let (packet_id, rest) = self.body.split_first_chunk().context("a PUBACK is too short")?;
        let code = rest.first().copied().unwrap_or(0);
        ensure!(code < 0x80, "a PUBACK refuses: {code:#x} {:?}", String::from_utf8_lossy(rest));
        Ok(u16::from_be_bytes(*packet_id))
    }
}

/// A connected client.
pub struct Lean<S = TcpStream> {
    io: TlsStream<S>,
    unread: Vec<u8>,
}

impl Lean {
    /// Drops the connection so that the server is sent a reset.
    pub fn reset(self) -> Result<()> {
        let (tcp, _) = self.io.get_ref();
        Ok(tcp.set_zero_linger()?)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lean<S> {
    /// Returns the stream, of which nothing was read yet.
    pub fn into_io(self) -> TlsStream<S> {
        self.io
    }

    /// Returns what it runs over.
    pub fn stream(&self) -> &S {
        self.io.get_ref().0
    }

    /// Sends a CONNECT, and fails unless it is let in; returns the CONNACK.
    pub async fn enter(&mut self, login: &Login) -> Result<Packet> {
        self.send(&connect(login)).await?;
        let answer = self.next().await?;
        ensure!(answer.kind == 2 && answer.body.get(1) == Some(&0), "not let in: {answer:?}");
        Ok(answer)
    }

    /// Subscribes at QoS 1, and fails unless that is granted.
    pub async fn subscribe(&mut self, filter: &str) -> Result<()> {
        self.send(&subscribe(Version::V5, 1, filter, 1)).await?;
        let answer = self.next().await?;
        ensure!(answer.kind == 9 && answer.body.last() == Some(&1), "not subscribed: {answer:?}");
        Ok(())
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.io.write_all(bytes).await?;
        Ok(self.io.flush().await?)
    }

    /// Sends a PUBACK.
    pub async fn acknowledge(&mut self, packet_id: u16) -> Result<()> {
        self.send(&frame(0x40, &packet_id.to_be_bytes())).await
    }

    /// Says goodbye, and closes the connection in order.
    pub async fn leave(mut self) -> Result<()> {
        self.send(&frame(0xE0, &[])).await?;
        Ok(self.io.shutdown().await?)
    }

    /// Waits for the next packet, however long.
    pub async fn next(&mut self) -> Result<Packet> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            let read = self.io.read_buf(&mut self.unread).await.context("the connection was lost")?;
            ensure!(read > 0, "the server closed the connection");
        }
    }

    /// Takes a packet that has come, if there is a whole one.
    pub fn take(&mut self) -> Result<Option<Packet>> {
        let Some((&first, rest)) = self.unread.split_first() else { return Ok(None) };
        let Some((len, at)) = varint(rest)? else { return Ok(None) };
        let Some(body) = rest.get(at..at + len) else { return Ok(None) };
        let packet = Packet { kind: first >> 4, body: body.to_vec() };
        self.unread.drain(..1 + at + len);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        Ok(Some(packet))
    }
}

/// Reads a variable byte integer (MQTT 5 §1.5.5) and returns how long it was; `None` if it is not whole.
fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 {
        bail!("a length of more than four bytes");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_read_as_it_was_written() {
        let properties = [Property::Four(0x02, 60), Property::User("a".into(), "b".into())];
        let bytes = crate::raw::publish(Version::V5, 513, "some/topic", b"payload", &properties);
        let (len, at) = varint(&bytes[1..]).unwrap().unwrap();
        assert_eq!(len + at + 1, bytes.len());
        let packet = Packet { kind: bytes[0] >> 4, body: bytes[1 + at..].to_vec() };
        assert_eq!(packet.publish().unwrap(), (513, &b"payload"[..]));
        assert!(packet.puback().is_err());
    }

    #[test]
    fn user_properties_are_found() {
        let properties = [Property::Two(0x21, 16), Property::User("wakemq-return".into(), "60".into())];
        let body = [&[0, 0][..], &raw::properties(&properties)].concat();
        let connack = Packet { kind: 2, body };
        assert_eq!(connack.user_property("wakemq-return").unwrap().as_deref(), Some("60"));
        assert_eq!(connack.user_property("other").unwrap(), None);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let puback = |body: &[u8]| Packet { kind: 4, body: body.to_vec() }.puback();
        assert_eq!(puback(&[1, 2]).unwrap(), 258);
        assert_eq!(puback(&[1, 2, 0x10]).unwrap(), 258);
        assert!(puback(&[1, 2, 0x97]).is_err());
    }
}
