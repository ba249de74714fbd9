//! A tunnel through a proxy: of HTTP, of HTTP over TLS, or of SOCKS5.

mod connect;
mod error;
mod socks;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dial::connect_tcp;
use crate::proxy::ProxyScheme;
use crate::race::{interleave, race};
use crate::{ProxyUrl, Rung, TrustError};

pub use error::ProxyError;
pub use socks::Reply;
pub use stream::Tunnel;

/// How much of an answer an error repeats.
const SHOWN_MAX: usize = 60;

/// How long a proxy may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProxyLimits {
    /// To be looked up, and to accept a TCP connection; then again for TLS, where it speaks that.
    pub(crate) connect: Duration,
    /// To answer. It connects to the broker meanwhile.
    pub(crate) answer: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(10) }
    }
}

/// Opens a tunnel to `rung`; returns it with the proxy's address. `tls` is for a proxy that speaks TLS itself.
pub(crate) async fn open(
    proxy: &ProxyUrl,
    rung: &Rung,
    tls: impl FnOnce() -> Result<Arc<ClientConfig>, TrustError>,
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
    let (address, stream) = race(addresses, |address| connect_tcp(address, limits.connect))
        .await
        .map_err(ProxyError::Addresses)?;
    let mut tunnel = match proxy.scheme() {
        ProxyScheme::Http | ProxyScheme::Socks5 => Tunnel::Tcp(stream),
        ProxyScheme::Https => Tunnel::Tls(Box::new(secure(stream, proxy, tls()?, limits.connect).await?)),
    };
    let credentials = proxy.credentials();
    let asking = async {
        match proxy.scheme() {
            ProxyScheme::Http | ProxyScheme::Https => connect::ask(&mut tunnel, rung, credentials).await,
            ProxyScheme::Socks5 => socks::ask(&mut tunnel, rung, credentials).await,
        }
    };
    timeout(limits.answer, asking).await.map_err(|_| ProxyError::Silent(limits.answer))??;
    Ok((address, tunnel))
}

/// Does the TLS handshake with a proxy itself.
async fn secure(
    stream: TcpStream,
    proxy: &ProxyUrl,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, ProxyError> {
    let name = ServerName::try_from(proxy.host().to_owned())
        .map_err(|_| ProxyError::NoAddress("its name is none that a certificate can hold"))?;
    timeout(limit, TlsConnector::from(tls).connect(name, stream))
        .await
        .map_err(|_| ProxyError::OwnTlsTimeout(limit))?
        .map_err(ProxyError::OwnTls)
}

/// Returns the beginning of what somebody else wrote, as it can be logged.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_MAX)]);
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_others_say_is_shown_in_short() {
        assert_eq!(super::shown(&[b'x'; 1000]).len(), super::SHOWN_MAX);
    }
}
