//! Packets over a stream: small buffers that are given back while it is quiet, and nothing lost on cancel.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, SubscribeReasonCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::frame::{decode, next_frame};
use super::{ReasonCode, SessionError};
use crate::timer::Time;

/// Room for reading while nothing is expected.
const READ_IDLE: usize = 256;
/// Room for reading while much is coming.
const READ_BUSY: usize = 8 * 1024;
/// A quiet connection keeps no buffer larger than this.
const BUFFER_KEPT: usize = 1024;
/// Above this many bytes not yet written, reading pauses: what is read would only add acknowledgements.
const WRITE_HIGH: usize = 256 * 1024;

/// A stream with its two buffers.
pub(crate) struct Wire<S> {
    stream: S,
    read: BytesMut,
    write: BytesMut,
    /// How much room to make for the next read.
    room: usize,
    flush: bool,
    max_incoming: u32,
    pub(crate) time: Time,
    /// When something was last written.
    pub(crate) last_sent: Instant,
    /// When something was last read.
    pub(crate) last_received: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, max_incoming: u32, time: Time) -> Self {
        let now = time.now();
        Self {
            stream,
            read: BytesMut::new(),
            write: BytesMut::new(),
            room: READ_IDLE,
            flush: false,
            max_incoming,
            time,
            last_sent: now,
            last_received: now,
        }
    }

    /// Queues a packet; it is written while the wire is polled.
    pub(crate) fn send(&mut self, packet: &Packet) -> Result<(), SessionError> {
        packet.write(&mut self.write, None).map_err(protocol)?;
        Ok(())
    }

    /// Queues DISCONNECT 0x82. The codec gives a DISCONNECT with a reason a wrong length.
    pub(crate) fn send_protocol_error(&mut self) {
        self.write.extend_from_slice(&[0xE0, 2, 0x82, 0]);
    }

    /// Takes the next packet out of what was already read.
    pub(crate) fn take_packet(&mut self) -> Result<Option<Packet>, SessionError> {
        match next_frame(&mut self.read, self.max_incoming).map_err(protocol)? {
            Ok(frame) => decode(frame).map(Some).map_err(protocol),
            Err(more) => {
                self.room = self.room.max(more);
                Ok(None)
            }
        }
    }

    /// Waits for the next packet, writing meanwhile what is queued.
    pub(crate) async fn next_packet(&mut self) -> Result<Packet, SessionError> {
        loop {
            if let Some(packet) = self.take_packet()? {
                return Ok(packet);
            }
            poll_fn(|cx| self.poll(cx)).await?;
        }
    }

    /// Writes what is queued and reads what there is; ready when something was read.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // What the server said before it closed tells more than a failed write.
            return match self.poll_read(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Err(error.into())),
            };
        }
        if self.write.len() > WRITE_HIGH { Poll::Pending } else { self.poll_read(cx) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.read.reserve(self.room);
        // `read_buf` keeps nothing between polls, so a new future for each poll loses nothing.
        let count = match pin!(self.stream.read_buf(&mut self.read)).poll(cx) {
            Poll::Pending => {
                self.room = READ_IDLE;
                if self.read.is_empty() && self.read.capacity() > BUFFER_KEPT {
                    self.read = BytesMut::new();
                }
                return Poll::Pending;
            }
            // TLS without its farewell: the broker died, or something between closed the connection.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Poll::Ready(result) => result?,
        };
        if count == 0 {
            return Poll::Ready(Err(SessionError::Closed));
        }
        self.room = if count >= self.room { READ_BUSY } else { READ_IDLE };
        self.last_received = self.time.now();
        Poll::Ready(Ok(()))
    }

    /// Writes and flushes what is queued; ready when nothing is left.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.write))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write.advance(count);
            self.flush = true;
            self.last_sent = self.time.now();
        }
        if self.write.capacity() > BUFFER_KEPT {
            self.write = BytesMut::new();
        }
        if self.flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is queued, then closes the stream.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.close_half().await
    }

    /// Writes what is queued, closes the stream, and waits until the other end has closed it too.
    pub(crate) async fn close_and_wait(mut self) -> io::Result<()> {
        self.close_half().await?;
        let mut rest = [0; READ_IDLE];
        // However it ends, it has ended.
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        Ok(())
    }

    async fn close_half(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }
}

/// Makes a codec's error the session's.
pub(crate) fn protocol(error: impl std::fmt::Display) -> SessionError {
    SessionError::Protocol(error.to_string())
}

/// Names a packet's type.
pub(crate) fn name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Auth(_) => "AUTH",
        Packet::Connect(..) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PingReq(_) => "PINGREQ",
        Packet::PingResp(_) => "PINGRESP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::Disconnect(_) => "DISCONNECT",
    }
}

/// Returns the byte that the codec made an enum of.
pub(crate) fn connect_code(code: ConnectReturnCode) -> ReasonCode {
    ReasonCode(match code {
        ConnectReturnCode::Success => 0,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
        ConnectReturnCode::UnspecifiedError => 0x80,
    })
}

/// Returns the byte that the codec made an enum of.
pub(crate) fn puback_code(reason: PubAckReason) -> ReasonCode {
    ReasonCode(match reason {
        PubAckReason::Success => 0,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    })
}

/// Returns the byte that the codec made an enum of.
pub(crate) fn suback_code(reason: SubscribeReasonCode) -> ReasonCode {
    ReasonCode(match reason {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
    })
}
