//! What dialling gives: a stream, and what is to be known of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TlsStream;
use crate::ProxyUrl;
use crate::websocket::{Rewound, WebSocketStream};

/// A connection to a broker that is ready for its protocol.
#[derive(Debug)]
pub struct Line {
    /// The connection.
    pub stream: LineStream,
    /// Which address answered first: the broker's, or the proxy's.
    pub address: SocketAddr,
    /// The proxy that the connection goes through; `None` if it is direct.
    pub proxy: Option<ProxyUrl>,
    /// What TLS agreed upon.
    pub tls: TlsInfo,
}

/// What a TLS handshake with the broker agreed upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version: `1.2` or `1.3`.
    pub version: &'static str,
    /// The protocol that the broker chose within TLS (ALPN), if it chose one.
    pub alpn: Option<String>,
    /// Who issued the broker's certificate, if that can be read.
    pub issuer: Option<String>,
    /// Whether the certificate is trusted only because of an extra CA: somebody between opens TLS.
    pub trusted_by_extra_ca: bool,
}

impl TlsInfo {
    /// Returns who opens TLS between client and broker, if the extra CA tells that somebody does.
    pub fn intercepted_by(&self) -> Option<String> {
        let name = || self.issuer.clone().unwrap_or_else(|| "somebody whose name cannot be read".to_owned());
        self.trusted_by_extra_ca.then(name)
    }
}

/// The stream of a [`Line`]; what it carries is a stream of bytes, whatever lies below.
pub enum LineStream {
    /// TLS.
    Tls(Box<TlsStream>),
    /// A WebSocket over TLS.
    WebSocket(Box<WebSocketStream<Rewound<TlsStream>>>),
}

/// Passes a call on to the stream that there is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            LineStream::Tls($stream) => $call,
            LineStream::WebSocket($stream) => $call,
        }
    };
}

impl AsyncRead for LineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, room))
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl fmt::Debug for LineStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls(_) => "Tls",
            Self::WebSocket(_) => "WebSocket",
        })
    }
}
