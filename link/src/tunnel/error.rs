//! Why there is no connection through a proxy.

use std::net::SocketAddr;
use std::time::Duration;

use super::connect::HEAD_MAX;
use super::socks::Reply;
use crate::TrustError;
use crate::dial::{AttemptError, Listed};
use crate::ladder::Failure;

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
    /// There is nobody to trust who vouches for the proxy itself.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// TLS to the proxy itself failed.
    #[error("TLS to the proxy itself failed: {0}")]
    OwnTls(std::io::Error),
    /// No TLS to the proxy itself in time.
    #[error("it took the connection, but there was no TLS handshake with it within {} s; does it speak TLS?", .0.as_secs_f32())]
    OwnTlsTimeout(Duration),
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
    /// It answered, but not in SOCKS5.
    #[error("its answer is no SOCKS5, and begins with {0:?}; is it an HTTP proxy?")]
    NotSocks(String),
    /// It wants to know who asks, and was told nothing.
    #[error("it wants a user name and password, and has none; give them as USER:PASSWORD@ before its host")]
    CredentialsWanted,
    /// It did not accept user name and password.
    #[error("it did not accept the user name and password that it was given")]
    CredentialsRefused,
    /// It wants to know who asks in a way that is not spoken here (407).
    #[error(
        "it wants to know who asks by {0} (407), and Basic alone is spoken here; have it offer that, or let the broker through without"
    )]
    AuthenticationUnknown(String),
    /// It does not let anybody through to this port (403).
    #[error("it does not allow that host or port (403); most proxies allow 443 alone")]
    Forbidden,
    /// It does not let anybody through to this host, though the port is that of HTTPS (403).
    #[error("it does not allow that host (403), though the port is 443; have the host allowed there")]
    ForbiddenHost,
    /// It answered with another status.
    #[error("it answered {status}{}{reason}", if .reason.is_empty() { "" } else { " " })]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The proxy's words.
        reason: String,
    },
    /// It refused in SOCKS5.
    #[error("it answered: {0}")]
    Socks(Reply),
    /// A name is longer than SOCKS5 has room for.
    #[error("the host's name is longer than 255 bytes")]
    NameTooLong,
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
            | Self::Trust(_)
            | Self::OwnTls(_)
            | Self::OwnTlsTimeout(_)
            | Self::NotHttp(_)
            | Self::HeadTooLarge
            | Self::NotSocks(_)
            | Self::CredentialsWanted
            | Self::CredentialsRefused
            | Self::AuthenticationUnknown(_)
            | Self::Socks(Reply::CommandNotSupported) => Failure::Proxy,
            Self::Silent(_)
            | Self::Closed
            | Self::Io(_)
            | Self::Forbidden
            | Self::ForbiddenHost
            | Self::Refused { .. }
            | Self::Socks(_)
            | Self::NameTooLong => Failure::Door,
            Self::NotTls | Self::Tls(_) | Self::TlsTimeout(_) => Failure::Way,
        }
    }
}
