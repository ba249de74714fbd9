//! Dialling: rung after rung, all addresses of each, until one completes its TLS handshake. Where a proxy is set,
//! the rungs are tried through it first.

mod error;

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
use crate::tunnel::{self, ProxyError, ProxyLimits};
use crate::{Alpn, Ladder, ProxyUrl, Rung, Trust, TrustError};

pub use error::{AttemptError, DialError, RungError};

pub(crate) use error::Listed;

use error::{Rungs, tls_error};

/// A TLS connection to a broker.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Time limit of each attempt unless said otherwise: of a look-up, and of one address until TLS is done.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);

/// TCP keep-alive of a quiet connection. MQTT's own keep-alive is the one that counts; this one only frees
/// what a crashed process left behind.
const TCP_KEEPALIVE: Duration = Duration::from_secs(600);

/// So often a proxy may take a connection and then say nothing; then the direct way is tried, however many rungs
/// there are.
const SILENCES_MAX: usize = 2;

/// Reaches a broker along its [`Ladder`].
#[derive(Clone)]
pub struct Dialer {
    ladder: Ladder,
    config: Arc<ClientConfig>,
    attempt_limit: Duration,
    proxy: Option<ProxyUrl>,
    proxy_limits: ProxyLimits,
}

/// A connection that completed its TLS handshake.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub stream: TlsStream,
    /// Which rung of the ladder it is.
    pub rung: Rung,
    /// Which address answered first: the rung's, or the proxy's.
    pub address: SocketAddr,
    /// The proxy that the connection goes through; `None` if it is direct.
    pub proxy: Option<ProxyUrl>,
}

impl Dialer {
    /// Makes a dialer that trusts `trust` and asks for `alpn`.
    pub fn new(ladder: Ladder, trust: &Trust, alpn: Alpn) -> Result<Self, TrustError> {
        Ok(Self {
            ladder,
            config: trust.client_config(alpn)?,
            attempt_limit: ATTEMPT_LIMIT,
            proxy: None,
            proxy_limits: ProxyLimits::default(),
        })
    }

    /// Sets the time limit of each attempt: of a look-up, and of one address until TLS is done.
    #[must_use]
    pub fn with_attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt_limit = limit;
        self
    }

    /// Sets a proxy through which every rung is tried, port 443 first, before any is tried directly.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Option<ProxyUrl>) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sets how long the proxy may take to accept a connection (5 s), and then to answer (10 s).
    #[must_use]
    pub fn with_proxy_limits(mut self, connect: Duration, answer: Duration) -> Self {
        self.proxy_limits = ProxyLimits { connect, answer };
        self
    }

    /// Returns where the dialer dials.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Dials until one rung completes TLS: through the proxy if there is one, then directly.
    pub async fn dial(&self) -> Result<Dialed, DialError> {
        let mut failures = Vec::new();
        if let Some(proxy) = &self.proxy {
            if let Some(dialed) = self.dial_proxied(proxy, &mut failures).await {
                return Ok(dialed);
            }
            tracing::warn!(failures = %Rungs(&failures), "no way through the proxy; trying without it");
        }
        for rung in self.ladder.rungs() {
            match self.dial_rung(&rung).await {
                Ok((address, stream)) => {
                    tracing::debug!(%rung, %address, "connected");
                    return Ok(Dialed { stream, rung, address, proxy: None });
                }
                Err(error) => {
                    tracing::debug!(%rung, %error, "not connected");
                    failures.push((rung, error));
                }
            }
        }
        Err(DialError { rungs: failures })
    }

    /// Tries the rungs through the proxy, for as long as there is hope.
    async fn dial_proxied(&self, proxy: &ProxyUrl, failures: &mut Vec<(Rung, RungError)>) -> Option<Dialed> {
        let mut silences = 0;
        for rung in self.ladder.proxied_rungs() {
            let Ok(name) = server_name(&rung) else {
                failures.push((rung, RungError::Name));
                continue;
            };
            match self.connect_proxied(proxy, &rung, name).await {
                Ok((address, stream)) => {
                    tracing::debug!(%rung, %proxy, %address, "connected");
                    return Some(Dialed { stream, rung, address, proxy: Some(proxy.clone()) });
                }
                Err(error) => {
                    tracing::debug!(%rung, %proxy, %error, "not connected");
                    silences += usize::from(matches!(error, ProxyError::Silent(_)));
                    let is_the_proxys = error.is_the_proxys();
                    failures.push((rung, RungError::Proxy { proxy: proxy.clone(), error }));
                    if is_the_proxys || silences == SILENCES_MAX {
                        break;
                    }
                }
            }
        }
        None
    }

    async fn connect_proxied(
        &self,
        proxy: &ProxyUrl,
        rung: &Rung,
        name: ServerName<'static>,
    ) -> Result<(SocketAddr, TlsStream), ProxyError> {
        let (address, tunnel) = tunnel::open(proxy, rung, self.proxy_limits).await?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = timeout(self.attempt_limit, connector.connect(name, tunnel))
            .await
            .map_err(|_| ProxyError::TlsTimeout(self.attempt_limit))?
            .map_err(|error| match tls_error(&error) {
                Some(rustls::Error::InvalidMessage(_)) => ProxyError::NotTls,
                Some(_) | None => ProxyError::Tls(error),
            })?;
        Ok((address, stream))
    }

    async fn dial_rung(&self, rung: &Rung) -> Result<(SocketAddr, TlsStream), RungError> {
        let name = server_name(rung)?;
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

/// Returns the name that the broker's certificate must hold.
fn server_name(rung: &Rung) -> Result<ServerName<'static>, RungError> {
    ServerName::try_from(rung.host.to_string()).map_err(|_| RungError::Name)
}

/// Connects to one address, TLS included, within `limit`.
async fn attempt(
    address: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<TlsStream, AttemptError> {
    let deadline = tokio::time::Instant::now() + limit;
    let stream = connect_tcp(address, limit).await?;
    tokio::time::timeout_at(deadline, connector.connect(name, stream))
        .await
        .map_err(|_| AttemptError::TlsTimeout(limit))?
        .map_err(AttemptError::Tls)
}

/// Connects to one address within `limit`.
pub(crate) async fn connect_tcp(address: SocketAddr, limit: Duration) -> Result<TcpStream, AttemptError> {
    let stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| AttemptError::TcpTimeout(limit))?
        .map_err(AttemptError::Tcp)?;
    stream.set_nodelay(true).map_err(AttemptError::Tcp)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))
        .map_err(AttemptError::Tcp)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
