//! Dialling: rung after rung, all addresses of each, until one completes its TLS handshake.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::race::{interleave, race};
use crate::{Alpn, Ladder, Rung, Trust, TrustError};

/// A TLS connection to a broker.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Time limit of each attempt unless said otherwise: of a look-up, and of one address until TLS is done.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);

/// TCP keep-alive of a quiet connection. MQTT's own keep-alive is the one that counts; this one only frees
/// what a crashed process left behind.
const TCP_KEEPALIVE: Duration = Duration::from_secs(600);

/// Reaches a broker along its [`Ladder`].
#[derive(Clone)]
pub struct Dialer {
    ladder: Ladder,
    config: Arc<ClientConfig>,
    attempt_limit: Duration,
}

/// A connection that completed its TLS handshake.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub stream: TlsStream,
    /// Which rung of the ladder it is.
    pub rung: Rung,
    /// Which of its addresses answered first.
    pub address: SocketAddr,
}

/// Says why no rung led to a connection, each with its own reason.
#[derive(Debug, thiserror::Error)]
pub struct DialError {
    /// What became of each rung, in order.
    pub rungs: Vec<(Rung, RungError)>,
}

/// Says why one rung led to no connection.
#[derive(Debug, thiserror::Error)]
pub enum RungError {
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
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    }
}

impl DialError {
    /// Tells whether some address was reached whose certificate was not accepted.
    pub fn is_certificate(&self) -> bool {
        self.rungs.iter().any(|(_, error)| match error {
            RungError::Addresses(failures) => failures.iter().any(|(_, error)| error.is_certificate()),
            RungError::Name | RungError::Resolve(_) | RungError::NoAddress(_) => false,
        })
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker cannot be reached: ")?;
        for (index, (rung, error)) in self.rungs.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{rung}: {error}")?;
        }
        Ok(())
    }
}

/// Prints addresses with their errors.
struct Listed<'a>(&'a [(SocketAddr, AttemptError)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}: {error}", address.ip())?;
        }
        Ok(())
    }
}

impl Dialer {
    /// Makes a dialer that trusts `trust` and asks for `alpn`.
    pub fn new(ladder: Ladder, trust: &Trust, alpn: Alpn) -> Result<Self, TrustError> {
        Ok(Self { ladder, config: trust.client_config(alpn)?, attempt_limit: ATTEMPT_LIMIT })
    }

    /// Sets the time limit of each attempt: of a look-up, and of one address until TLS is done.
    #[must_use]
    pub fn with_attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt_limit = limit;
        self
    }

    /// Returns where the dialer dials.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Dials until one address of one rung completes TLS.
    pub async fn dial(&self) -> Result<Dialed, DialError> {
        let mut rungs = Vec::new();
        for rung in self.ladder.rungs() {
            match self.dial_rung(&rung).await {
                Ok((address, stream)) => {
                    tracing::debug!(%rung, %address, "connected");
                    return Ok(Dialed { stream, rung, address });
                }
                Err(error) => {
                    tracing::debug!(%rung, %error, "not connected");
                    rungs.push((rung, error));
                }
            }
        }
        Err(DialError { rungs })
    }

    async fn dial_rung(&self, rung: &Rung) -> Result<(SocketAddr, TlsStream), RungError> {
        let name = ServerName::try_from(rung.host.to_string()).map_err(|_| RungError::Name)?;
        let found = timeout(self.attempt_limit, tokio::net::lookup_host((&*rung.host, rung.port)))
            .await
            .map_err(|_| RungError::NoAddress("the name server does not answer"))?
            .map_err(RungError::Resolve)?;
        let addresses = interleave(found);
        if addresses.is_empty() {
            return Err(RungError::NoAddress("the name has no address"));
        }
        self.connect_any(addresses, &name).await.map_err(RungError::Addresses)
    }

    async fn connect_any(
        &self,
        addresses: Vec<SocketAddr>,
        name: &ServerName<'static>,
    ) -> Result<(SocketAddr, TlsStream), Vec<(SocketAddr, AttemptError)>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        race(addresses, |address| attempt(address, connector.clone(), name.clone(), self.attempt_limit)).await
    }
}

/// Connects to one address, TLS included, within `limit`.
async fn attempt(
    address: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<TlsStream, AttemptError> {
    let deadline = tokio::time::Instant::now() + limit;
    let stream = tokio::time::timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| AttemptError::TcpTimeout(limit))?
        .map_err(AttemptError::Tcp)?;
    stream.set_nodelay(true).map_err(AttemptError::Tcp)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))
        .map_err(AttemptError::Tcp)?;
    tokio::time::timeout_at(deadline, connector.connect(name, stream))
        .await
        .map_err(|_| AttemptError::TlsTimeout(limit))?
        .map_err(AttemptError::Tls)
}

#[cfg(test)]
mod tests;
