//! A tunnel through an HTTP proxy: CONNECT (RFC 9110 §9.3.6).
//!
//! The answer's head is looked at before it is taken from the socket, so that not one byte behind it is taken
//! too: what follows belongs to the tunnel, which stays a plain TCP stream.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dial::{AttemptError, Listed, connect_tcp};
use crate::ladder::Failure;
use crate::race::{interleave, race};
use crate::{ProxyUrl, Rung};

/// Largest head of an answer, interim ones (1xx) included.
const HEAD_MAX: usize = 8 * 1024;
/// How much of an answer an error repeats.
const SHOWN_MAX: usize = 60;

/// How long a proxy may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProxyLimits {
    /// To be looked up, and to accept a TCP connection.
    pub(crate) connect: Duration,
    /// To answer CONNECT. It connects to the broker meanwhile.
    pub(crate) answer: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(10) }
    }
}

/// What leads to the broker, below TLS.
#[derive(Debug)]
pub enum Tunnel {
    /// TCP: to the broker itself, or through a proxy.
    Tcp(TcpStream),
}

impl Tunnel {
    /// Returns the TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Says why there is no connection through a proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The proxy's name could not be looked up.
    #[error("cannot look up its name: {0}")]
    Resolve(std::io::Error),
    /// The proxy's name has no address, or the look-up did not end in time.
    #[error("{0}")]
    NoAddress(&'static str),
    /// No address of the proxy took a TCP connection.
    #[error("{}", Listed(.0))]
    Addresses(Vec<(SocketAddr, AttemptError)>),
    /// It took the connection and said nothing.
    #[error("it took the connection, but gives no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It closed the connection.
    #[error("it closed the connection before it answered")]
    Closed,
    /// The connection to it failed.
    #[error("the connection to it failed: {0}")]
    Io(std::io::Error),
    /// It answered, but not in HTTP/1.
    #[error("its answer is no HTTP, and begins with {0:?}")]
    NotHttp(String),
    /// The head of its answer has no end.
    #[error("the head of its answer is larger than {} KiB", HEAD_MAX / 1024)]
    HeadTooLarge,
    /// It wants to know who asks (407).
    #[error("it wants a user name and password (407); authentication at a proxy is not supported")]
    AuthenticationRequired,
    /// It does not let anybody through to this host and port (403).
    #[error("it does not allow that host or port (403); most proxies allow 443 alone")]
    Forbidden,
    /// It answered with another status.
    #[error("it answered {status}{}{reason}", if .reason.is_empty() { "" } else { " " })]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The proxy's words.
        reason: String,
    },
    /// It agreed, but no TLS came.
    #[error("it agreed, but what it sent then is no TLS: perhaps a page of its own")]
    NotTls,
    /// TLS failed behind it.
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    /// No TLS in time.
    #[error("it agreed, but there was no TLS handshake within {} s", .0.as_secs_f32())]
    TlsTimeout(Duration),
}

impl ProxyError {
    /// Tells how much of the ladder the error concerns.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            // For another host or port it would be the same.
            Self::Resolve(_)
            | Self::NoAddress(_)
            | Self::Addresses(_)
            | Self::NotHttp(_)
            | Self::HeadTooLarge
            | Self::AuthenticationRequired => Failure::Proxy,
            Self::Silent(_) | Self::Closed | Self::Io(_) | Self::Forbidden | Self::Refused { .. } => {
                Failure::Door
            }
            Self::NotTls | Self::Tls(_) | Self::TlsTimeout(_) => Failure::Way,
        }
    }
}

/// Opens a tunnel to `rung`; returns it with the proxy's address.
pub(crate) async fn open(
    proxy: &ProxyUrl,
    rung: &Rung,
    limits: ProxyLimits,
) -> Result<(SocketAddr, Tunnel), ProxyError> {
    let found = timeout(limits.connect, tokio::net::lookup_host((proxy.host(), proxy.port())))
        .await
        .map_err(|_| ProxyError::NoAddress("the name server does not answer"))?
        .map_err(ProxyError::Resolve)?;
    let addresses = interleave(found);
    if addresses.is_empty() {
        return Err(ProxyError::NoAddress("its name has no address"));
    }
    let (address, mut stream) = race(addresses, |address| connect_tcp(address, limits.connect))
        .await
        .map_err(ProxyError::Addresses)?;
    timeout(limits.answer, ask(&mut stream, rung)).await.map_err(|_| ProxyError::Silent(limits.answer))??;
    Ok((address, Tunnel::Tcp(stream)))
}

async fn ask(stream: &mut TcpStream, rung: &Rung) -> Result<(), ProxyError> {
    let request = format!(
        "CONNECT {rung} HTTP/1.1\r\nHost: {rung}\r\nUser-Agent: wakemq/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(ProxyError::Io)?;
    let answer = read_answer(stream).await?;
    match answer.status {
        // A body is none of it, whatever the header says (RFC 9110 §9.3.6).
        200..=299 => Ok(()),
        403 => Err(ProxyError::Forbidden),
        407 => Err(ProxyError::AuthenticationRequired),
        status => Err(ProxyError::Refused { status, reason: answer.reason }),
    }
}

/// Reads the final answer's head, and nothing behind it.
async fn read_answer(stream: &mut TcpStream) -> Result<Head, ProxyError> {
    let mut buffer = vec![0; HEAD_MAX];
    // `buffer[begin..end]` was taken from the socket and begins the present head.
    let (mut begin, mut end) = (0, 0);
    loop {
        let seen = match stream.peek(&mut buffer[end..]).await {
            Ok(0) => return Err(ProxyError::Closed),
            Ok(seen) => seen,
            Err(error) => return Err(ProxyError::Io(error)),
        };
        let head = Head::parse(&buffer[begin..end + seen])?;
        let taken = head.as_ref().map_or(seen, |head| begin + head.len - end);
        stream.read_exact(&mut buffer[end..end + taken]).await.map_err(ProxyError::Io)?;
        end += taken;
        match head {
            // Interim answers come before the one that counts (RFC 9110 §15.2).
            Some(head) if head.status < 200 => begin = end,
            Some(head) => return Ok(head),
            None => {}
        }
        if end == HEAD_MAX {
            return Err(ProxyError::HeadTooLarge);
        }
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// How many bytes it takes, its empty line included.
    len: usize,
    status: u16,
    reason: String,
}

impl Head {
    /// Parses what came so far; `None` if the head is not complete. What cannot become one is refused at once.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyError> {
        const BEGIN: &[u8] = b"HTTP/1.";
        let shared = bytes.len().min(BEGIN.len());
        let not_http = || ProxyError::NotHttp(shown(bytes));
        if bytes[..shared] != BEGIN[..shared] {
            return Err(not_http());
        }
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else { return Ok(None) };
        let (status, reason) = status_line(first).ok_or_else(not_http)?;
        let mut len = first.len();
        for line in lines {
            len += line.len();
            if matches!(line, b"\r\n" | b"\n") {
                return Ok(Some(Self { len, status, reason }));
            }
        }
        Ok(None)
    }
}

/// Parses `HTTP/1.x SSS reason` (RFC 9112 §4); many proxies leave the reason out.
fn status_line(line: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(line);
    let (version, rest) = text.trim_end().split_once(' ')?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let status = code.parse().ok().filter(|status| *status >= 100)?;
    Some((status, shown(reason.trim().as_bytes())))
}

/// Returns the beginning of what somebody else wrote, as it can be logged.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_MAX)]);
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(usize, u16, String)>, ProxyError> {
        Ok(Head::parse(text.as_bytes())?.map(|head| (head.len, head.status, head.reason)))
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_is_cut() {
        let head = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]).unwrap(), None, "{cut}");
        }
        let whole = Some((head.len(), 200, "Connection established".to_owned()));
        assert_eq!(parse(head).unwrap(), whole);
        assert_eq!(parse(&format!("{head}\x16\x03\x01\n\n")).unwrap(), whole, "the rest is the tunnel's");
    }

    #[test]
    fn short_forms_are_taken() {
        assert_eq!(parse("HTTP/1.0 200\r\n\r\n").unwrap(), Some((16, 200, String::new())));
        assert_eq!(parse("HTTP/1.1 204 \n\n").unwrap(), Some((15, 204, String::new())));
    }

    #[test]
    fn what_is_no_http_is_refused_by_its_first_bytes() {
        for text in [
            "<",
            "SSH-2.0-x",
            "HTTP/2 200 OK\r\n",
            "HTTP/1.1\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.9 200 OK\r\n",
            "HTTP/1.1 099 x\r\n",
            "HTTP/1.1 +20 x\r\n",
            "\r\nHTTP/1.1 200 OK\r\n",
        ] {
            assert!(matches!(parse(text), Err(ProxyError::NotHttp(_))), "{text:?}");
        }
    }

    #[test]
    fn what_a_proxy_says_cannot_forge_a_log() {
        let Ok(Some((_, 502, reason))) = parse("HTTP/1.1 502 a\x1b[2Jb\x07c\r\n\r\n") else { panic!() };
        assert_eq!(reason, "a[2Jbc");
        assert_eq!(shown(&[b'x'; 1000]).len(), SHOWN_MAX);
    }
}
