//! From the first byte to the end of the TLS handshake, and what is spoken inside.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::time::{Instant, timeout_at};
use wakemq_core::packet::ProtocolLevel;

use super::wire::{Io, Wire, WireEnd};
use super::{Door, Serves};
use crate::metrics::Refused;
use crate::mqtt::Peer;
use crate::transport::client_hello::{Peek, peek};
use crate::transport::proxy_header::{self, ProxyHeader};
use crate::transport::sniff::{HttpVersion, Sniff, sniff};
use crate::transport::socket::canonical;
use crate::transport::stream::TlsStream;
use crate::transport::tls::{Scratch, Tls};

/// A connection that has said what it speaks.
pub(super) enum Opened<S> {
    /// MQTT of some version, and until when its CONNECT must have come.
    Mqtt(Box<Wire<S>>, Instant),
    /// HTTP of some version.
    Http(Box<TlsStream<S>>, HttpVersion),
    /// Nothing: there was no room for it, and why.
    TurnedAway(S, Refused),
}

/// What became of a handshake.
enum Shaken<S> {
    Done(Box<Wire<S>>),
    TurnedAway(S, Refused),
}

/// Why a connection ended before it said what it speaks.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("it did not end its handshake in time")]
    HandshakeTimedOut,
    #[error("it did not say in time what it speaks")]
    TimedOut,
    #[error("a balancer did not say whose it is, by the PROXY protocol")]
    NoProxyHeader,
    #[error("it does not speak TLS")]
    NotTls,
    #[error("its ClientHello is too long")]
    TooLong,
    #[error("it speaks nothing that this door serves")]
    UnknownProtocol,
    #[error("the broker stops")]
    Draining,
    #[error(transparent)]
    Wire(#[from] WireEnd),
}

impl OpenError {
    /// Returns what it counts as.
    pub(super) fn counts_as(&self) -> Refused {
        match self {
            Self::HandshakeTimedOut => Refused::HandshakeTimeout,
            Self::TimedOut => Refused::ConnectTimeout,
            Self::NoProxyHeader => Refused::NoProxyHeader,
            Self::NotTls => Refused::NotTls,
            Self::TooLong => Refused::TlsFailure,
            Self::UnknownProtocol => Refused::UnknownProtocol,
            Self::Draining => Refused::Draining,
            Self::Wire(end) => end.counts_as(),
        }
    }
}

/// Returns whose connection it is, and what has come behind that, if it is from a balancer that tells.
pub(super) async fn passed_on<S: Io>(
    door: &Door,
    io: &mut S,
    address: SocketAddr,
    deadline: Instant,
) -> Result<(SocketAddr, Vec<u8>), OpenError> {
    let mut bytes = Vec::new();
    if !door.limits.balancers.iter().any(|balancer| balancer.contains(&address.ip())) {
        return Ok((address, bytes));
    }
    let mut draining = door.draining.subscribe();
    let header = async {
        loop {
            match proxy_header::read(&bytes) {
                ProxyHeader::NeedMore => poll_fn(|cx| poll_append(io, cx, &mut bytes)).await?,
                ProxyHeader::Whole { source, len } => {
                    bytes.drain(..len);
                    return Ok((source.map_or(address, canonical), bytes));
                }
                ProxyHeader::Bad => return Err(OpenError::NoProxyHeader),
            }
        }
    };
    tokio::select! {
        header = timeout_at(deadline, header) => header.map_err(|_| OpenError::HandshakeTimedOut)?,
        _ = draining.wait_for(|draining| *draining) => Err(OpenError::Draining),
    }
}

/// Opens a connection, of which the first bytes have come already; its handshake is to end by `deadline`.
pub(super) async fn open<S: Io>(
    door: &Door,
    io: S,
    begun: Vec<u8>,
    address: SocketAddr,
    serves: Serves,
    deadline: Instant,
) -> Result<Opened<S>, OpenError> {
    let mut draining = door.draining.subscribe();
    let opened = async {
        // Boxed, so that what a handshake needs is gone from a parked connection's task.
        let shaken = Box::pin(timeout_at(deadline, handshake(door, io, begun, (address, serves), deadline)))
            .await
            .map_err(|_| OpenError::HandshakeTimedOut)??;
        let mut wire = match shaken {
            Shaken::Done(wire) => wire,
            Shaken::TurnedAway(io, why) => return Ok(Opened::TurnedAway(io, why)),
        };
        let deadline = Instant::now() + door.limits.connect;
        let spoken = timeout_at(deadline, find_out(&mut wire)).await.map_err(|_| OpenError::TimedOut)??;
        tracing::trace!(%address, tls = ?wire.tls().version(), resumed = wire.tls().is_resumed(), ?spoken);
        match spoken {
            Sniff::Mqtt if serves == Serves::Clients => Ok(Opened::Mqtt(wire, deadline)),
            Sniff::Http(version) => {
                let (io, tls, plain) = wire.into_parts();
                Ok(Opened::Http(Box::new(TlsStream::new(io, tls, plain)), version))
            }
            Sniff::Mqtt | Sniff::Unknown | Sniff::NeedMore => {
                wire.farewell(None).await;
                Err(OpenError::UnknownProtocol)
            }
        }
    };
    tokio::select! {
        opened = opened => opened,
        _ = draining.wait_for(|draining| *draining) => Err(OpenError::Draining),
    }
}

async fn handshake<S: Io>(
    door: &Door,
    mut io: S,
    begun: Vec<u8>,
    (address, serves): (SocketAddr, Serves),
    deadline: Instant,
) -> Result<Shaken<S>, OpenError> {
    let hello = read_hello(&mut io, begun).await?;
    // Only who has said all of its hello takes a turn and a place from others. The administrators' places are few
    // enough as it is, and are to be had when everybody else comes at once.
    let permit = match serves {
        Serves::Clients => match door.gate.pass(address, deadline, door.metrics()).await {
            Ok(permit) => Some(permit),
            Err(why) => return Ok(Shaken::TurnedAway(io, why)),
        },
        Serves::Admin => None,
    };
    let tls = Tls::new(door.tls.clone()).map_err(WireEnd::from)?;
    let mut wire = Box::new(Wire::new(io, tls, Peer::unknown(ProtocolLevel::V5)));
    let shaken = async {
        wire.feed(&hello)?;
        drop(hello);
        while wire.tls().is_handshaking() {
            poll_fn(|cx| wire.poll_io(cx, true)).await?;
        }
        poll_fn(|cx| wire.poll_flush(cx)).await?;
        Ok::<_, WireEnd>(())
    };
    let shaken = shaken.await;
    drop(permit);
    match shaken {
        Ok(()) => Ok(Shaken::Done(wire)),
        Err(end) => {
            // The alert that tells the peer why is sealed already.
            wire.farewell(None).await;
            Err(end.into())
        }
    }
}

async fn read_hello<S: Io>(io: &mut S, mut hello: Vec<u8>) -> Result<Vec<u8>, OpenError> {
    loop {
        match peek(&hello) {
            Peek::Complete => return Ok(hello),
            Peek::Incomplete => poll_fn(|cx| poll_append(io, cx, &mut hello)).await?,
            Peek::NotTls => return Err(OpenError::NotTls),
            Peek::TooLong => return Err(OpenError::TooLong),
        }
    }
}

fn poll_append<S: Io>(io: &mut S, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), WireEnd>> {
    Scratch::with(|scratch| {
        let mut input = ReadBuf::new(&mut scratch.input);
        ready!(Pin::new(io).poll_read(cx, &mut input))?;
        match input.filled() {
            [] => Poll::Ready(Err(WireEnd::Closed)),
            new => {
                bytes.extend_from_slice(new);
                Poll::Ready(Ok(()))
            }
        }
    })
}

async fn find_out<S: Io>(wire: &mut Wire<S>) -> Result<Sniff, WireEnd> {
    loop {
        match sniff(wire.tls().alpn(), wire.plain()) {
            Sniff::NeedMore => poll_fn(|cx| wire.poll_io(cx, true)).await?,
            spoken @ (Sniff::Mqtt | Sniff::Http(_) | Sniff::Unknown) => return Ok(spoken),
        }
    }
}
