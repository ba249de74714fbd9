//! CONNECT of HTTP (RFC 9110 §9.3.6).
//!
//! The answer's head is read byte by byte, so that not one byte behind it is taken: what follows belongs to the
//! tunnel.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{ProxyError, shown};
use crate::Rung;
use crate::proxy::Credentials;

/// Largest head of an answer, interim ones (1xx) included.
pub(super) const HEAD_MAX: usize = 8 * 1024;
/// How much of what is no HTTP is read, to be told, and how long that may take.
const STRANGE_MAX: usize = 240;
const STRANGE_LIMIT: Duration = Duration::from_millis(200);

/// Asks a proxy for a tunnel to `rung`.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    rung: &Rung,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError> {
    let mut request = format!(
        "CONNECT {rung} HTTP/1.1\r\nHost: {rung}\r\nUser-Agent: wakemq/{}\r\n",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(credentials) = credentials {
        // Basic (RFC 7617 §2), without being asked for it: a proxy that wants it answers nothing else.
        let pair = format!("{}:{}", credentials.user(), credentials.expose_password());
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair)));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(ProxyError::Io)?;
    stream.flush().await.map_err(ProxyError::Io)?;
    let answer = read_answer(stream).await?;
    match answer.status {
        // A body is none of it, whatever the header says (RFC 9110 §9.3.6).
        200..=299 => Ok(()),
        403 if rung.is_https() => Err(ProxyError::ForbiddenHost),
        403 => Err(ProxyError::Forbidden),
        407 if !answer.schemes.is_empty() && !answer.offers_basic() => {
            Err(ProxyError::AuthenticationUnknown(answer.schemes.join(", ")))
        }
        407 if credentials.is_some() => Err(ProxyError::CredentialsRefused),
        407 => Err(ProxyError::CredentialsWanted),
        status => Err(ProxyError::Refused { status, reason: answer.reason }),
    }
}

/// Reads the final answer's head, and nothing behind it.
async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Head, ProxyError> {
    let mut head = Vec::new();
    let mut total = 0;
    loop {
        let byte = match stream.read_u8().await {
            Ok(byte) => byte,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(ProxyError::Closed);
            }
            Err(error) => return Err(ProxyError::Io(error)),
        };
        head.push(byte);
        total += 1;
        if byte == b'\n' || head.len() <= BEGIN.len() {
            match Head::parse(&head) {
                // Interim answers come before the one that counts (RFC 9110 §15.2).
                Ok(Some(interim)) if interim.status < 200 => head.clear(),
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(NotHttp) => return Err(strange(stream, head).await),
            }
        }
        if total == HEAD_MAX {
            return Err(ProxyError::HeadTooLarge);
        }
    }
}

/// Tells how what is no HTTP begins, as far as it is there.
async fn strange<S: AsyncRead + Unpin>(stream: &mut S, mut begin: Vec<u8>) -> ProxyError {
    begin.reserve(STRANGE_MAX);
    let mut rest = stream.take(STRANGE_MAX as u64);
    // Nothing more, or no more in time, is told just as well.
    _ = timeout(STRANGE_LIMIT, rest.read_buf(&mut begin)).await;
    ProxyError::NotHttp(shown(&begin))
}

/// How every answer begins.
const BEGIN: &[u8] = b"HTTP/1.";

/// Says that an answer is none of HTTP/1.
#[derive(Debug, PartialEq, Eq)]
struct NotHttp;

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    reason: String,
    /// By which schemes it wants to know who asks (RFC 9110 §11.7.1).
    schemes: Vec<String>,
}

impl Head {
    /// Parses what came so far; `None` if the head is not complete. What cannot become one is refused at once.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, NotHttp> {
        let shared = bytes.len().min(BEGIN.len());
        if bytes[..shared] != BEGIN[..shared] {
            return Err(NotHttp);
        }
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else { return Ok(None) };
        let (status, reason) = status_line(first).ok_or(NotHttp)?;
        let mut schemes = Vec::new();
        for line in lines {
            if matches!(line, b"\r\n" | b"\n") {
                return Ok(Some(Self { status, reason, schemes }));
            }
            schemes.extend(scheme(line));
        }
        Ok(None)
    }

    fn offers_basic(&self) -> bool {
        self.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"))
    }
}

/// Returns the scheme that a line `Proxy-Authenticate` offers.
fn scheme(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let (name, value) = text.split_once(':')?;
    name.eq_ignore_ascii_case("proxy-authenticate").then_some(())?;
    value
        .split([' ', ',', '\t'])
        .map(str::trim)
        .find(|word| !word.is_empty())
        .map(|word| shown(word.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(u16, String)>, NotHttp> {
        Ok(Head::parse(text.as_bytes())?.map(|head| (head.status, head.reason)))
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_is_cut() {
        let head = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(parse(head).unwrap(), Some((200, "Connection established".to_owned())));
    }

    #[test]
    fn short_forms_are_taken() {
        assert_eq!(parse("HTTP/1.0 200\r\n\r\n").unwrap(), Some((200, String::new())));
        assert_eq!(parse("HTTP/1.1 204 \n\n").unwrap(), Some((204, String::new())));
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
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_proxy_says_cannot_forge_a_log() {
        let Ok(Some((502, reason))) = parse("HTTP/1.1 502 a\x1b[2Jb\x07c\r\n\r\n") else { panic!() };
        assert_eq!(reason, "a[2Jbc");
    }

    #[test]
    fn what_a_proxy_offers_to_be_told_who_asks_is_read() {
        let head = "HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nPROXY-authenticate:  NTLM abc\r\n\r\n";
        let head = Head::parse(head.as_bytes()).unwrap().unwrap();
        assert_eq!((head.schemes.join(" "), head.offers_basic()), ("Negotiate NTLM".to_owned(), false));
        let head = "HTTP/1.1 407 x\r\nProxy-Authenticate: basic realm=\"x\"\r\n\r\n";
        assert!(Head::parse(head.as_bytes()).unwrap().unwrap().offers_basic());
    }
}
