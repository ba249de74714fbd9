//! Dialling one way: until TLS is up, or the 101 of a WebSocket.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::tls_error;
use super::issuer::issuer;
use super::line::{Line, LineStream, TlsInfo};
use super::{AttemptError, TlsStream, WayError};
use crate::ladder::Way;
use crate::proxy::ProxySettings;
use crate::race::{interleave, race};
use crate::tunnel::{self, ProxyError, ProxyLimits, Tunnel};
use crate::websocket::{UpgradeError, upgrade};
use crate::{Alpn, ProxyUrl, Rung, Transport, Trust, TrustError};

/// Time limit of each attempt unless said otherwise: of a look-up, and of one address until TLS is done.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);

/// TCP keep-alive of a quiet connection. MQTT's own keep-alive is the one that counts; this one only frees
/// what a crashed process left behind. It is longer than any heartbeat, or it would keep alive in a middlebox what a
/// heartbeat is measured by.
const TCP_KEEPALIVE: Duration = Duration::from_secs(7200);

/// Dials one [`Way`] at a time; cloned for free.
#[derive(Clone)]
pub struct WayDialer {
    mqtt: Arc<ClientConfig>,
    http: Arc<ClientConfig>,
    trust: Trust,
    /// For a proxy that speaks TLS itself; made when the first is met.
    proxy_tls: Arc<OnceLock<Arc<ClientConfig>>>,
    proxy: Arc<ProxySettings>,
    attempt_limit: Duration,
    proxy_limits: ProxyLimits,
}

/// A stream that completed its TLS handshake, and who answered first.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream,
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Option<ProxyUrl>,
}

impl WayDialer {
    /// Makes a dialer that trusts `trust`, and goes through what `proxy` says where a way does.
    pub fn new(trust: &Trust, proxy: ProxySettings) -> Result<Self, TrustError> {
        Ok(Self {
            mqtt: trust.client_config(Alpn::Mqtt)?,
            http: trust.client_config(Alpn::Http1)?,
            trust: trust.clone(),
            proxy_tls: Arc::default(),
            proxy: Arc::new(proxy),
            attempt_limit: ATTEMPT_LIMIT,
            proxy_limits: ProxyLimits::default(),
        })
    }

    /// Sets the time limit of each attempt: of a look-up, and of one address until TLS is done (10 s).
    #[must_use]
    pub fn with_attempt_limit(mut self, limit: Duration) -> Self {
        self.attempt_limit = limit;
        self
    }

    /// Sets how long the proxy may take to accept a connection (5 s), and then to answer (10 s).
    #[must_use]
    pub fn with_proxy_limits(mut self, connect: Duration, answer: Duration) -> Self {
        self.proxy_limits = ProxyLimits { connect, answer };
        self
    }

    /// Sets other proxies.
    #[must_use]
    pub fn with_proxy(mut self, proxy: ProxySettings) -> Self {
        self.proxy = Arc::new(proxy);
        self
    }

    /// Returns which proxy there is, and for what.
    pub fn proxy(&self) -> &ProxySettings {
        &self.proxy
    }

    /// Dials until TLS is up, or a WebSocket is. Dropping the future gives the attempt up.
    pub async fn dial(&self, way: &Way) -> Result<Line, WayError> {
        let alpn = match way.transport {
            Transport::Mqtt => Alpn::Mqtt,
            Transport::WebSocket | Transport::Poll => Alpn::Http1,
        };
        let Secured { stream, address, proxy } = self.secure(&way.rung, way.proxied, alpn).await?;
        let tls = self.tls_info(&stream, &way.rung);
        let stream = match way.transport {
            Transport::Mqtt | Transport::Poll => LineStream::Tls(Box::new(stream)),
            Transport::WebSocket => {
                let upgraded = timeout(self.attempt_limit, upgrade(stream, &way.rung))
                    .await
                    .map_err(|_| UpgradeError::TimedOut(self.attempt_limit))??;
                LineStream::WebSocket(Box::new(upgraded))
            }
        };
        Ok(Line { stream, address, proxy, tls })
    }

    /// Dials until TLS is up.
    pub(crate) async fn secure(&self, rung: &Rung, proxied: bool, alpn: Alpn) -> Result<Secured, WayError> {
        let name = server_name(rung)?;
        let config = match alpn {
            Alpn::Mqtt => &self.mqtt,
            Alpn::Http1 => &self.http,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        if !proxied {
            let (address, stream) = self.connect_directly(rung, &name, &connector).await?;
            return Ok(Secured { stream, address, proxy: None });
        }
        let proxy = self.proxy.url().ok_or(WayError::NoProxy)?;
        match self.connect_proxied(proxy, rung, name, &connector).await {
            Ok((address, stream)) => Ok(Secured { stream, address, proxy: Some(proxy.clone()) }),
            Err(error) => Err(WayError::Proxy { proxy: Box::new(proxy.clone()), error }),
        }
    }

    pub(super) fn attempt_limit(&self) -> Duration {
        self.attempt_limit
    }

    pub(super) fn proxy_limits(&self) -> ProxyLimits {
        self.proxy_limits
    }

    /// Returns the TLS settings of a transport.
    pub(super) fn config(&self, transport: Transport) -> &Arc<ClientConfig> {
        match transport {
            Transport::Mqtt => &self.mqtt,
            Transport::WebSocket | Transport::Poll => &self.http,
        }
    }

    /// Returns the TLS settings for a proxy that speaks TLS itself.
    pub(super) fn proxy_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        if let Some(config) = self.proxy_tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = self.trust.proxy_config()?;
        Ok(Arc::clone(self.proxy_tls.get_or_init(|| config)))
    }

    /// Returns what a handshake agreed upon.
    pub(crate) fn tls_info(&self, stream: &TlsStream, rung: &Rung) -> TlsInfo {
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        TlsInfo {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                // Nothing else is offered.
                Some(_) | None => "1.3",
            },
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            issuer: chain.first().and_then(|certificate| issuer(certificate)),
            trusted_by_extra_ca: server_name(rung).is_ok_and(|name| self.trust.is_by_extra(chain, &name)),
        }
    }

    async fn connect_proxied(
        &self,
        proxy: &ProxyUrl,
        rung: &Rung,
        name: ServerName<'static>,
        connector: &TlsConnector,
    ) -> Result<(SocketAddr, TlsStream), ProxyError> {
        let (address, tunnel) = tunnel::open(proxy, rung, || self.proxy_config(), self.proxy_limits).await?;
        let stream = timeout(self.attempt_limit, connector.connect(name, tunnel))
            .await
            .map_err(|_| ProxyError::TlsTimeout(self.attempt_limit))?
            .map_err(|error| match tls_error(&error) {
                Some(rustls::Error::InvalidMessage(_)) => ProxyError::NotTls,
                Some(_) | None => ProxyError::Tls(error),
            })?;
        Ok((address, stream))
    }

    async fn connect_directly(
        &self,
        rung: &Rung,
        name: &ServerName<'static>,
        connector: &TlsConnector,
    ) -> Result<(SocketAddr, TlsStream), WayError> {
        let found = timeout(self.attempt_limit, tokio::net::lookup_host((&*rung.host, rung.port)))
            .await
            .map_err(|_| WayError::NoAddress("the name server does not answer"))?
            .map_err(WayError::Resolve)?;
        let addresses = interleave(found);
        if addresses.is_empty() {
            return Err(WayError::NoAddress("the name has no address"));
        }
        connect_any(addresses, name, connector, self.attempt_limit).await.map_err(WayError::Addresses)
    }
}

impl std::fmt::Debug for WayDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WayDialer").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// Races TLS over all addresses of a name.
pub(super) async fn connect_any(
    addresses: Vec<SocketAddr>,
    name: &ServerName<'static>,
    connector: &TlsConnector,
    limit: Duration,
) -> Result<(SocketAddr, TlsStream), Vec<(SocketAddr, AttemptError)>> {
    race(addresses, |address| attempt(address, connector.clone(), name.clone(), limit)).await
}

/// Returns the name that the broker's certificate must hold.
pub(super) fn server_name(rung: &Rung) -> Result<ServerName<'static>, WayError> {
    ServerName::try_from(rung.host.to_string()).map_err(|_| WayError::Name)
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
    tokio::time::timeout_at(deadline, connector.connect(name, Tunnel::Tcp(stream)))
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
