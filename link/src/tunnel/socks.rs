//! SOCKS5 (RFC 1928), with a user name and password where there are some (RFC 1929).
//!
//! It is spoken by hand: the libraries for it bring their own way to dial, and tell its refusals apart less well than
//! a person needs it. Nothing is read that is not the proxy's.

use std::fmt;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ProxyError, shown};
use crate::Rung;
use crate::proxy::Credentials;

const VERSION: u8 = 5;
/// Methods (RFC 1928 §3).
const NO_AUTHENTICATION: u8 = 0;
const USER_NAME: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;
/// The version of the exchange of a user name (RFC 1929 §2).
const USER_NAME_VERSION: u8 = 1;
const CONNECT: u8 = 1;
/// Kinds of addresses (RFC 1928 §5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why a proxy refused (RFC 1928 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 1
    GeneralFailure,
    /// 2
    NotAllowed,
    /// 3
    NetworkUnreachable,
    /// 4
    HostUnreachable,
    /// 5
    ConnectionRefused,
    /// 6
    TtlExpired,
    /// 7
    CommandNotSupported,
    /// 8
    AddressTypeNotSupported,
    /// What the standard does not name.
    Other(u8),
}

impl Reply {
    fn parse(code: u8) -> Result<(), Self> {
        Err(match code {
            0 => return Ok(()),
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneralFailure => "it failed, without a reason (SOCKS5 reply 1)",
            Self::NotAllowed => "its rules do not allow that host or port (SOCKS5 reply 2)",
            Self::NetworkUnreachable => "the network of that host is unreachable (SOCKS5 reply 3)",
            Self::HostUnreachable => "that host is unreachable, or its name unknown (SOCKS5 reply 4)",
            Self::ConnectionRefused => "that host refused the connection (SOCKS5 reply 5)",
            Self::TtlExpired => "that host did not answer in time (SOCKS5 reply 6)",
            Self::CommandNotSupported => "it makes no connections for others (SOCKS5 reply 7)",
            Self::AddressTypeNotSupported => "it does not take addresses of that kind (SOCKS5 reply 8)",
            Self::Other(code) => return write!(f, "SOCKS5 reply {code}, which no standard names"),
        })
    }
}

/// Asks a proxy for a tunnel to `rung`.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    rung: &Rung,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError> {
    let request = request(rung)?;
    match credentials {
        None => write(stream, &[VERSION, 1, NO_AUTHENTICATION]).await?,
        Some(_) => write(stream, &[VERSION, 2, NO_AUTHENTICATION, USER_NAME]).await?,
    }
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyError::NotSocks(shown(&[version, method])));
    }
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => {}
        (USER_NAME, Some(credentials)) => prove(stream, credentials).await?,
        // It takes neither none nor a user name: whichever was offered is not enough.
        (NONE_ACCEPTABLE, None) => return Err(ProxyError::CredentialsWanted),
        (NONE_ACCEPTABLE, Some(_)) => return Err(ProxyError::CredentialsRefused),
        (method, _) => return Err(ProxyError::NotSocks(shown(&[version, method]))),
    }
    write(stream, &request).await?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyError::NotSocks(shown(&[version, reply])));
    }
    Reply::parse(reply).map_err(ProxyError::Socks)?;
    // From where it connects is of no interest, but stands before what belongs to the tunnel.
    match kind {
        IPV4 => read::<S, 6>(stream).await.map(drop),
        IPV6 => read::<S, 18>(stream).await.map(drop),
        NAME => {
            let [len] = read(stream).await?;
            let mut rest = vec![0; usize::from(len) + 2];
            stream.read_exact(&mut rest).await.map(drop).map_err(failed)
        }
        other => Err(ProxyError::NotSocks(shown(&[version, reply, 0, other]))),
    }
}

/// Says who asks (RFC 1929).
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &Credentials,
) -> Result<(), ProxyError> {
    let mut request = vec![USER_NAME_VERSION];
    for text in [credentials.user(), credentials.expose_password()] {
        // Neither is longer than what has room: that was looked at when they were made.
        request.push(text.len() as u8);
        request.extend_from_slice(text.as_bytes());
    }
    write(stream, &request).await?;
    let [_, status] = read(stream).await?;
    if status == 0 { Ok(()) } else { Err(ProxyError::CredentialsRefused) }
}

fn request(rung: &Rung) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match rung.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.extend([NAME, u8::try_from(rung.host.len()).map_err(|_| ProxyError::NameTooLong)?]);
            request.extend_from_slice(rung.host.as_bytes());
        }
    }
    request.extend_from_slice(&rung.port.to_be_bytes());
    Ok(request)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), ProxyError> {
    stream.write_all(bytes).await.map_err(ProxyError::Io)?;
    stream.flush().await.map_err(ProxyError::Io)
}

async fn read<S: AsyncRead + Unpin, const N: usize>(stream: &mut S) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

fn failed(error: std::io::Error) -> ProxyError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { ProxyError::Closed } else { ProxyError::Io(error) }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Asks a proxy that answers each of the client's messages by one of its own; returns what the client said.
    async fn talk(
        host: &str,
        credentials: Option<Credentials>,
        answers: &[&[u8]],
    ) -> (Result<(), ProxyError>, Vec<Vec<u8>>, Vec<u8>) {
        let (mut client, mut proxy) = duplex(1024);
        let rung = Rung { host: host.into(), port: 443 };
        let serving = async {
            let mut said = Vec::new();
            for answer in answers {
                let mut message = vec![0; 600];
                let count = proxy.read(&mut message).await.unwrap();
                message.truncate(count);
                said.push(message);
                proxy.write_all(answer).await.unwrap();
            }
            drop(proxy);
            said
        };
        let asking = async {
            let result = ask(&mut client, &rung, credentials.as_ref()).await;
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            (result, rest)
        };
        let ((result, rest), said) = tokio::join!(asking, serving);
        (result, said, rest)
    }

    fn me() -> Option<Credentials> {
        Some(Credentials::new("me", "s3cret").unwrap())
    }

    #[tokio::test]
    async fn what_follows_the_answer_belongs_to_the_tunnel() {
        for bound in [&b"\x01\0\0\0\0\0\0"[..], &[&[4][..], &[0; 18]].concat(), b"\x03\x04name\0\0"] {
            let granted = [b"\x05\0\0", bound, b"tunnel"].concat();
            let (result, said, rest) = talk("broker", None, &[b"\x05\0", &granted]).await;
            result.unwrap();
            assert_eq!(said, [b"\x05\x01\0".to_vec(), b"\x05\x01\0\x03\x06broker\x01\xbb".to_vec()]);
            assert_eq!(rest, b"tunnel");
        }
    }

    #[tokio::test]
    async fn addresses_go_as_addresses_and_names_as_names() {
        let granted = b"\x05\0\0\x01\0\0\0\0\0\0";
        let (_, said, _) = talk("10.0.0.1", None, &[b"\x05\0", granted]).await;
        assert_eq!(said[1], b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb");
        let (_, said, _) = talk("::1", None, &[b"\x05\0", granted]).await;
        assert_eq!(said[1], [&b"\x05\x01\0\x04"[..], &[0; 15], b"\x01\x01\xbb"].concat());
        let long = "x".repeat(256);
        assert!(matches!(talk(&long, None, &[]).await.0, Err(ProxyError::NameTooLong)));
    }

    #[tokio::test]
    async fn who_asks_is_told_where_it_is_wanted() {
        let granted = b"\x05\0\0\x01\0\0\0\0\0\0";
        let (result, said, _) = talk("a", me(), &[b"\x05\x02", b"\x01\0", granted]).await;
        result.unwrap();
        assert_eq!(said[..2], [b"\x05\x02\0\x02".to_vec(), b"\x01\x02me\x06s3cret".to_vec()]);
        let (result, said, _) = talk("a", me(), &[b"\x05\0", granted]).await;
        result.unwrap();
        assert_eq!(said.len(), 2, "one that does not want it is not told");
    }

    #[tokio::test]
    async fn every_refusal_has_its_own_words() {
        use crate::ladder::Failure;
        let replies = [
            (1, "without a reason"),
            (2, "its rules do not allow"),
            (3, "network of that host"),
            (4, "host is unreachable"),
            (5, "refused the connection"),
            (6, "in time"),
            (8, "of that kind"),
            (9, "reply 9, which"),
        ];
        for (code, expected) in replies {
            let error = talk("a", None, &[b"\x05\0", &[5, code, 0, 1]]).await.0.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.failure(), Failure::Door);
        }
        for (credentials, answers, expected) in [
            (None, &[&b"\x05\0"[..], b"\x05\x07\0\x01"][..], "makes no connections"),
            (None, &[b"\x05\xff"], "wants a user name and password"),
            (me(), &[b"\x05\xff"], "did not accept"),
            (me(), &[b"\x05\x02", b"\x01\x01"], "did not accept"),
            (None, &[b"HTTP/1.1 400"], "no SOCKS5, and begins with \"HT"),
            (None, &[b"\x05\x02"], "no SOCKS5"),
        ] {
            let error = talk("a", credentials, answers).await.0.unwrap_err();
            assert!(error.to_string().contains(expected), "{expected:?}: {error}");
            assert_eq!(error.failure(), Failure::Proxy);
        }
        assert!(matches!(talk("a", None, &[b"\x05"]).await.0, Err(ProxyError::Closed)));
    }
}
