//! One MQTT connection as bytes: socket, TLS, and what is half read or half written.
//!
//! While nothing is under way all its buffers are empty and unallocated; bytes pass through the worker's
//! [`Scratch`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wakemq_core::packet::{ClientPacket, ReasonCode, ServerPacket};
use wakemq_protocol::Transport;
use wakemq_protocol::limits::PACKET_MAX;

use crate::metrics::Refused;
use crate::mqtt::{self, DecodeError, Frame, Peer};
use crate::registry::{Mail, Mailbox};
use crate::transport::socket::set_keepalive;
use crate::transport::stream::{TlsStream, poll_unsent};
use crate::transport::tls::{Scratch, Tls, TlsError};
use crate::transport::websocket::{WebSocket, WebSocketError};

/// How long a connection may take to read our last words.
const FAREWELL: Duration = Duration::from_secs(5);
/// How much is still read, and thrown away, after our last words.
const FAREWELL_READ_MAX: usize = 256 * 1024;

/// What a connection runs over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Lets the system probe a peer that was silent for `idle`, where it can.
    fn probe_after(&self, idle: Duration) -> io::Result<()>;
}

impl Io for TcpStream {
    fn probe_after(&self, idle: Duration) -> io::Result<()> {
        set_keepalive(self, idle)
    }
}

impl Io for tokio::io::DuplexStream {
    fn probe_after(&self, _idle: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Why a connection's bytes ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireEnd {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection was lost: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    #[error(transparent)]
    Encode(#[from] mqtt::EncodeError),
}

impl WireEnd {
    /// Returns what it counts as for a connection that was not let in yet.
    pub(super) fn counts_as(&self) -> Refused {
        match self {
            Self::Closed | Self::Io(_) => Refused::Left,
            Self::Tls(_) => Refused::TlsFailure,
            Self::WebSocket(_) | Self::Encode(_) => Refused::Malformed,
        }
    }
}

/// What happened on a quiet connection.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes came: there may be packets.
    Bytes,
    /// The rest of the broker left something.
    Mail(Mail),
    /// The connection ended.
    Ended(WireEnd),
}

/// One MQTT connection as bytes.
pub(super) struct Wire<S> {
    io: S,
    tls: Tls,
    /// Only what was upgraded from HTTP has one.
    websocket: Option<Box<WebSocket>>,
    peer: Peer,
    /// Decrypted and not decoded yet, from `read` on.
    unread: Vec<u8>,
    read: usize,
    /// Sealed and not written yet, from `written` on.
    unsent: Vec<u8>,
    written: usize,
}

impl<S: Io> Wire<S> {
    /// Begins a connection before its handshake.
    pub(super) fn new(io: S, tls: Tls, peer: Peer) -> Self {
        Self { io, tls, websocket: None, peer, unread: Vec::new(), read: 0, unsent: Vec::new(), written: 0 }
    }

    /// Goes on with a connection that was upgraded from HTTP; `behind` are the bytes behind the request.
    pub(super) fn upgraded(stream: TlsStream<S>, behind: &[u8], peer: Peer) -> Result<Self, WireEnd> {
        let (io, tls, plain, unsent) = stream.into_parts();
        let mut wire = Self { websocket: Some(Box::default()), unsent, ..Self::new(io, tls, peer) };
        wire.take_in(behind)?;
        wire.take_in(&plain)?;
        Ok(wire)
    }

    pub(super) fn io(&self) -> &S {
        &self.io
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns how the peer speaks.
    pub(super) fn transport(&self) -> Transport {
        if self.websocket.is_some() { Transport::WebSocket } else { Transport::Mqtt }
    }

    /// Sets how packets are written, once CONNECT has told.
    pub(super) fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// Gives socket, TLS and what was decrypted away, for HTTP.
    pub(super) fn into_parts(mut self) -> (S, Tls, Vec<u8>) {
        self.unread.drain(..self.read);
        (self.io, self.tls, self.unread)
    }

    /// Returns what was decrypted and not taken yet.
    pub(super) fn plain(&self) -> &[u8] {
        &self.unread[self.read..]
    }

    /// Drops the first `n` bytes of what was decrypted.
    pub(super) fn consume(&mut self, n: usize) {
        self.read += n;
        if self.read >= self.unread.len() {
            self.unread = Vec::new();
            self.read = 0;
        }
    }

    /// Returns how many bytes wait to be written.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len() - self.written
    }

    /// Takes the next whole packet, if there is one.
    pub(super) fn next_packet(&mut self) -> Option<Result<ClientPacket, DecodeError>> {
        match mqtt::frame(self.plain(), PACKET_MAX) {
            Frame::NeedMore => None,
            Frame::Whole(len) => {
                let packet = mqtt::decode(self.peer.level, &self.plain()[..len]);
                self.consume(len);
                Some(packet)
            }
            Frame::TooLarge(_) => {
                Some(Err(self.bad_frame(ReasonCode::PacketTooLarge, "a packet is larger than 64 KiB")))
            }
            Frame::Malformed => {
                Some(Err(self.bad_frame(ReasonCode::MalformedPacket, "the remaining length is no number")))
            }
        }
    }

    fn bad_frame(&self, reason: ReasonCode, detail: &'static str) -> DecodeError {
        DecodeError { reason, detail, level: Some(self.peer.level) }
    }

    /// Seals a packet; it is written with the next step.
    pub(super) fn send(&mut self, packet: &ServerPacket) -> Result<(), WireEnd> {
        Scratch::with(|scratch| {
            mqtt::encode(&self.peer, packet, &mut scratch.plain)?;
            if scratch.plain.is_empty() {
                return Ok(());
            }
            let Some(websocket) = &self.websocket else { return Ok(self.seal(&scratch.plain)?) };
            websocket.wrap(&scratch.plain, &mut scratch.output);
            Ok(self.seal(&scratch.output)?)
        })
    }

    /// Seals bytes, if there are any; they are written with the next step.
    fn seal(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        if bytes.is_empty() { Ok(()) } else { self.tls.seal(bytes, &mut self.unsent) }
    }

    /// Waits until something happens: mail, bytes (only if `read`), or the end.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>, mailbox: &Mailbox, read: bool) -> Poll<Step> {
        // The socket first: what is sealed goes out before more is taken on.
        let io = self.poll_io(cx, read);
        if let Poll::Ready(Err(end)) = io {
            return Poll::Ready(Step::Ended(end));
        }
        if let Poll::Ready(mail) = mailbox.poll(cx) {
            // Bytes that came as well are looked at before the next wait.
            return Poll::Ready(Step::Mail(mail));
        }
        io.map(|_| Step::Bytes)
    }

    /// Writes what waits, then reads until there is plaintext (only if `read`).
    pub(super) fn poll_io(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Result<(), WireEnd>> {
        loop {
            // A peer that does not read is not read from: it gets no more answers than it takes.
            ready!(self.poll_flush(cx))?;
            if !read {
                return Poll::Pending;
            }
            // Here, where all that came before the closing frame has been looked at.
            if self.websocket.as_ref().is_some_and(|websocket| websocket.is_closed()) {
                return Poll::Ready(Err(WireEnd::Closed));
            }
            if ready!(self.poll_feed(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_unsent(&mut self.io, cx, &mut self.unsent, &mut self.written)
    }

    /// Reads once; tells whether there is any plaintext, or the handshake has just ended.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, WireEnd>> {
        Scratch::with(|scratch| {
            let mut input = ReadBuf::new(&mut scratch.input);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut input))?;
            let n = input.filled().len();
            if n == 0 {
                return Poll::Ready(Err(WireEnd::Closed));
            }
            Poll::Ready(self.feed_scratch(n, scratch))
        })
    }

    /// Takes in bytes that were read before TLS began.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), WireEnd> {
        Scratch::with(|scratch| {
            for chunk in bytes.chunks(scratch.input.len()) {
                scratch.input[..chunk.len()].copy_from_slice(chunk);
                self.feed_scratch(chunk.len(), scratch)?;
            }
            Ok(())
        })
    }

    fn feed_scratch(&mut self, n: usize, scratch: &mut Scratch) -> Result<bool, WireEnd> {
        let was_handshaking = self.tls.is_handshaking();
        let fed = self.tls.feed(n, scratch);
        self.unsent.append(&mut scratch.output);
        fed?;
        let had = self.plain().len();
        if !scratch.plain.is_empty() {
            self.take_in(&scratch.plain)?;
        } else if self.tls.peer_closed() {
            return Err(WireEnd::Closed);
        }
        Ok(self.plain().len() > had || was_handshaking != self.tls.is_handshaking())
    }

    /// Takes in what was decrypted.
    fn take_in(&mut self, plain: &[u8]) -> Result<(), WireEnd> {
        // What was taken goes first, or a client whose reads always end inside a packet would make it grow.
        self.unread.drain(..self.read);
        self.read = 0;
        let Some(websocket) = &mut self.websocket else {
            self.unread.extend_from_slice(plain);
            return Ok(());
        };
        let mut answers = Vec::new();
        let fed = websocket.feed(plain, &mut self.unread, &mut answers);
        self.seal(&answers)?;
        Ok(fed?)
    }

    /// Says the last words and closes so that they arrive: with bytes of the peer unread, the system would send a
    /// reset that overtakes them (RFC 9293 §3.10.4).
    pub(super) async fn farewell(mut self, last: Option<ServerPacket>) {
        if let Some(packet) = &last
            && let Err(error) = self.send(packet)
        {
            tracing::debug!(%error, "no last words");
        }
        if let Err(error) = self.close_websocket() {
            tracing::debug!(%error, "no closing frame");
        }
        self.tls.close(&mut self.unsent);
        match tokio::time::timeout(FAREWELL, self.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::trace!(%error, "the peer was gone before our last words"),
            Err(_) => tracing::debug!("the peer did not read our last words"),
        }
    }

    fn close_websocket(&mut self) -> Result<(), TlsError> {
        let Some(websocket) = &mut self.websocket else { return Ok(()) };
        let mut frame = Vec::new();
        websocket.close(&mut frame);
        self.seal(&frame)
    }

    async fn close(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await?;
        std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await?;
        let mut read = 0;
        while read < FAREWELL_READ_MAX {
            let n = std::future::poll_fn(|cx| self.poll_discard(cx)).await?;
            if n == 0 {
                break;
            }
            read += n;
        }
        Ok(())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Scratch::with(|scratch| {
            let mut input = ReadBuf::new(&mut scratch.input);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut input))?;
            Poll::Ready(Ok(input.filled().len()))
        })
    }
}
