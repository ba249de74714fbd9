//! The request that asks for a WebSocket (RFC 6455 §4.1), and whatever answers it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::WebSocketStream;
use crate::Rung;
use crate::tunnel::shown;

/// Where a broker takes MQTT in a WebSocket.
const PATH: &str = "/mqtt";
/// What a server appends to the client's key (§4.2.2).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How much of an answer that is no upgrade is read, to be told.
const BODY_MAX: usize = 4096;

/// Says why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The connection failed before an answer came, or the answer is no HTTP.
    #[error("the request for a WebSocket failed: {0}")]
    Http(#[from] hyper::Error),
    /// The host cannot be put into a request.
    #[error("not a valid request: {0}")]
    Request(#[from] hyper::http::Error),
    /// It was answered, but not by an upgrade.
    #[error("the request for a WebSocket was answered {status}{}: {}", Page(.page), check(*.status, .page))]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// How the page begins that came with it.
        page: String,
    },
    /// The answer promises a WebSocket, but another than was asked for.
    #[error("the answer to the request for a WebSocket is not a broker's: {0}")]
    Foreign(&'static str),
    /// No answer in time.
    #[error("the request for a WebSocket was not answered within {} s", .0.as_secs_f32())]
    TimedOut(std::time::Duration),
    /// There are no random numbers.
    #[error("no random numbers")]
    Random,
}

/// Prints how a page begins.
struct Page<'a>(&'a str);

impl std::fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({:?})", self.0) }
    }
}

/// Says what a person is to look at.
fn check(status: StatusCode, page: &str) -> &'static str {
    match status.as_u16() {
        200..=299 if page.contains('<') => {
            "that is a page of somebody between, or of another server; is the host a WakeMQ broker?"
        }
        300..=399 => "that is a redirect, as login pages of guest networks make it",
        400 | 426 => {
            "somebody between removed what asks for the upgrade; let a proxy pass Upgrade and Connection on"
        }
        401 | 403 => "a firewall or reverse proxy does not let WebSockets through; allow GET /mqtt there",
        404 | 405 => {
            "what answers there is no WakeMQ broker, or a reverse proxy does not pass /mqtt on to it"
        }
        502..=504 => "a reverse proxy answers, but does not reach the broker behind it",
        _ => "is the host a WakeMQ broker, and does a reverse proxy before it allow WebSockets?",
    }
}

/// Asks for a WebSocket on a stream.
pub(crate) async fn upgrade<S>(stream: S, rung: &Rung) -> Result<WebSocketStream<Rewound<S>>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).map_err(|_| UpgradeError::Random)?;
    let key = STANDARD.encode(nonce);
    let request = request(rung, &key)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driven = Driven { connection, has_ended: false };
    let response = driven.until(sender.send_request(request)).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let page = driven.until(first_of(response.into_body())).await;
        return Err(UpgradeError::Refused { status, page });
    }
    check_accepted(response.headers(), &key)?;
    driven.end().await?;
    let parts = driven.connection.into_parts();
    Ok(WebSocketStream::new(Rewound { first: parts.read_buf, inner: parts.io.into_inner() }))
}

/// A connection that moves while something else is awaited.
struct Driven<S: AsyncRead + AsyncWrite + Unpin> {
    connection: http1::Connection<TokioIo<S>, Empty<Bytes>>,
    has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driven<S> {
    async fn until<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            // What goes wrong with the connection is told to whoever waits for the response.
            self.has_ended = self.has_ended || self.connection.poll_without_shutdown(cx).is_ready();
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Waits for the end that comes with an upgrade.
    async fn end(&mut self) -> Result<(), hyper::Error> {
        if self.has_ended { Ok(()) } else { poll_fn(|cx| self.connection.poll_without_shutdown(cx)).await }
    }
}

fn request(rung: &Rung, key: &str) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    Request::get(PATH)
        .header(HOST, rung.to_string())
        .header(USER_AGENT, concat!("wakemq/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_PROTOCOL, "mqtt")
        .header(SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
}

/// Reads how a page begins; what goes wrong meanwhile tells less than the status.
async fn first_of(mut body: Incoming) -> String {
    let mut page = Vec::new();
    while page.len() < BODY_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        page.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    shown(&page)
}

/// Checks what a server has to answer (§4.1).
fn check_accepted(headers: &HeaderMap, key: &str) -> Result<(), UpgradeError> {
    let value = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes());
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), ACCEPT_SUFFIX].concat());
    if value(&SEC_WEBSOCKET_ACCEPT) != Some(STANDARD.encode(hash.as_ref()).as_bytes()) {
        return Err(UpgradeError::Foreign("it does not know the key that was sent"));
    }
    if value(&SEC_WEBSOCKET_PROTOCOL) != Some(b"mqtt") {
        return Err(UpgradeError::Foreign("it does not speak MQTT"));
    }
    Ok(())
}

/// A stream of which the first bytes were read already.
#[derive(Debug)]
pub struct Rewound<S> {
    first: Bytes,
    inner: S,
}

impl<S> Rewound<S> {
    /// Returns the stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, room);
        }
        let count = this.first.len().min(room.remaining());
        room.put_slice(&this.first[..count]);
        this.first.advance(count);
        if this.first.is_empty() {
            // Not even an empty part of hyper's buffer is kept.
            this.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
