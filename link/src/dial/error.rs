//! Why a dialler found no way.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ladder::Failure;
use crate::tunnel::ProxyError;
use crate::websocket::UpgradeError;
use crate::{ProxyUrl, Rung};

/// Says why no rung led to a connection, each with its own reason.
#[derive(Debug, thiserror::Error)]
pub struct DialError {
    /// What became of each rung, in order.
    pub rungs: Vec<(Rung, WayError)>,
}

/// Says why one way led to no connection.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    /// The host is neither a name nor an address.
    #[error("not a valid host name")]
    Name,
    /// The name could not be looked up.
    #[error("cannot look up the name: {0}")]
    Resolve(std::io::Error),
    /// The name has no address, or the look-up did not end in time.
    #[error("{0}")]
    NoAddress(&'static str),
    /// No address led to a connection.
    #[error("{}", Listed(.0))]
    Addresses(Vec<(SocketAddr, AttemptError)>),
    /// The way goes through a proxy, and there is none.
    #[error("there is no proxy")]
    NoProxy,
    /// The proxy led to no connection.
    #[error("through the proxy {proxy}: {error}")]
    Proxy {
        /// The proxy.
        proxy: Box<ProxyUrl>,
        /// Why not.
        error: ProxyError,
    },
    /// The broker was reached, but there is no WebSocket.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
}

/// Says why one address led to no connection.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// TCP failed.
    #[error("{0}")]
    Tcp(std::io::Error),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    /// No TCP connection in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TcpTimeout(Duration),
    /// A TCP connection, but no TLS in time.
    #[error("connected, but no TLS handshake within {} s", .0.as_secs_f32())]
    TlsTimeout(Duration),
}

impl AttemptError {
    /// Tells whether the broker's certificate was not accepted: a person has to mend that.
    pub fn is_certificate(&self) -> bool {
        let Self::Tls(error) = self else { return false };
        is_certificate(error)
    }

    /// Tells whether there was not even a TCP connection.
    fn is_tcp(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::TcpTimeout(_) => true,
            Self::Tls(_) | Self::TlsTimeout(_) => false,
        }
    }
}

impl WayError {
    /// Tells how much of the ladder the error concerns.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Name | Self::Resolve(_) | Self::NoAddress(_) => Failure::Door,
            // Where one address took the connection, another way to it may be better.
            Self::Addresses(failures) if failures.iter().all(|(_, error)| error.is_tcp()) => Failure::Door,
            Self::Addresses(_) => Failure::Way,
            Self::Upgrade(_) => Failure::Way,
            Self::NoProxy => Failure::Proxy,
            Self::Proxy { error, .. } => error.failure(),
        }
    }

    /// Tells whether the broker was reached, and its certificate was not accepted: a person has to mend that.
    pub fn is_certificate(&self) -> bool {
        match self {
            Self::Addresses(failures) => failures.iter().any(|(_, error)| error.is_certificate()),
            Self::Proxy { error: ProxyError::Tls(error), .. } => is_certificate(error),
            Self::Name
            | Self::Resolve(_)
            | Self::NoAddress(_)
            | Self::NoProxy
            | Self::Proxy { .. }
            | Self::Upgrade(_) => false,
        }
    }
}

impl DialError {
    /// Tells whether some address was reached whose certificate was not accepted.
    pub fn is_certificate(&self) -> bool {
        self.rungs.iter().any(|(_, error)| error.is_certificate())
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker cannot be reached: {}", Rungs(&self.rungs))
    }
}

/// Returns what TLS itself found wrong, if it was that.
pub(super) fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn is_certificate(error: &std::io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// Prints rungs with their errors.
pub(super) struct Rungs<'a>(pub(super) &'a [(Rung, WayError)]);

impl fmt::Display for Rungs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (rung, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{rung}: {error}")?;
        }
        Ok(())
    }
}

/// Prints addresses with their errors.
pub(crate) struct Listed<'a>(pub(crate) &'a [(SocketAddr, AttemptError)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}: {error}", address.ip())?;
        }
        Ok(())
    }
}
