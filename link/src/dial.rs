//! Dialling: rung after rung, all addresses of each, until one completes its TLS handshake. Where a proxy is set,
//! the rungs are tried through it first.

mod error;
mod examine;
mod issuer;
mod line;
mod way;

use std::net::SocketAddr;
use std::time::Duration;

use crate::ladder::{Failure, ProxyUse};
use crate::proxy::ProxySettings;
use crate::tunnel::{ProxyError, Tunnel};
use crate::{Alpn, Ladder, ProxyUrl, Rung, Transport, Trust, TrustError};

pub use error::{AttemptError, DialError, WayError};
pub use examine::{Examined, Fault, Stage, Step};
pub use line::{Line, LineStream, TlsInfo};
pub use way::WayDialer;

pub(crate) use error::Listed;
pub(crate) use way::connect_tcp;

use error::Rungs;
use way::Secured;

/// A TLS connection to a broker.
pub type TlsStream = tokio_rustls::client::TlsStream<Tunnel>;

/// So often a proxy may take a connection and then say nothing; then the direct way is tried, however many rungs
/// there are.
const SILENCES_MAX: usize = 2;

/// Reaches a broker along its [`Ladder`].
#[derive(Clone)]
pub struct Dialer {
    ladder: Ladder,
    alpn: Alpn,
    ways: WayDialer,
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
        Ok(Self { ladder, alpn, ways: WayDialer::new(trust, ProxySettings::none())? })
    }

    /// Sets the time limit of each attempt: of a look-up, and of one address until TLS is done.
    #[must_use]
    pub fn with_attempt_limit(mut self, limit: Duration) -> Self {
        self.ways = self.ways.with_attempt_limit(limit);
        self
    }

    /// Sets a proxy through which every rung is tried, port 443 first, before any is tried directly.
    #[must_use]
    pub fn with_proxy(self, proxy: Option<ProxyUrl>) -> Self {
        let settings = proxy.map_or_else(ProxySettings::none, |url| ProxySettings::new(url, ProxyUse::First));
        self.with_proxy_settings(settings)
    }

    /// Sets which proxy there is, and in which order it is tried.
    #[must_use]
    pub fn with_proxy_settings(mut self, proxy: ProxySettings) -> Self {
        self.ways = self.ways.with_proxy(proxy);
        self
    }

    /// Sets how long the proxy may take to accept a connection (5 s), and then to answer (10 s).
    #[must_use]
    pub fn with_proxy_limits(mut self, connect: Duration, answer: Duration) -> Self {
        self.ways = self.ways.with_proxy_limits(connect, answer);
        self
    }

    /// Returns where the dialer dials.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Dials until one rung completes TLS: through the proxy and directly, in the order that is set.
    pub async fn dial(&self) -> Result<Dialed, DialError> {
        let mut failures = Vec::new();
        let (mut silences, mut proxy_is_over, mut told) = (0, false, false);
        // The ladder of an operator's program has one transport: each door is tried once.
        let ways = self.ways.proxy().ways(&self.ladder);
        for way in ways.iter().filter(|way| way.transport == Transport::Mqtt) {
            if way.proxied && proxy_is_over {
                continue;
            }
            if !way.proxied && !failures.is_empty() && !told && self.ways.proxy().order() == ProxyUse::First {
                tracing::warn!(failures = %Rungs(&failures), "no way through the proxy; trying without it");
                told = true;
            }
            match self.ways.secure(&way.rung, way.proxied, self.alpn).await {
                Ok(Secured { stream, address, proxy }) => {
                    tracing::debug!(rung = %way.rung, proxied = way.proxied, %address, "connected");
                    return Ok(Dialed { stream, rung: way.rung.clone(), address, proxy });
                }
                Err(error) => {
                    tracing::debug!(rung = %way.rung, proxied = way.proxied, %error, "not connected");
                    let is_silent = matches!(error, WayError::Proxy { error: ProxyError::Silent(_), .. });
                    silences += usize::from(is_silent);
                    proxy_is_over |= error.failure() == Failure::Proxy || silences == SILENCES_MAX;
                    failures.push((way.rung.clone(), error));
                }
            }
        }
        Err(DialError { rungs: failures })
    }
}

#[cfg(test)]
mod tests;
