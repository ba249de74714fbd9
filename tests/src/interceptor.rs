//! A middlebox that opens TLS, with a certificate of its own, and lets nothing but plain requests through.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::broker::client_tls;

/// Longest head of a request that is looked at.
const HEAD_MAX: usize = 16 * 1024;
/// What it says to a request for anything else than an answer.
const FORBIDDEN: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 9\r\nconnection: close\r\n\r\n<h1>No</h1>";

/// An interceptor within the test; ends with all its connections when dropped.
#[derive(Debug)]
pub struct Interceptor {
    address: SocketAddr,
    ca: String,
    task: JoinHandle<()>,
}

impl Interceptor {
    /// Starts one before a broker, whose CA it trusts, on a free port.
    pub async fn start(to: SocketAddr, ca: &Path) -> Result<Self> {
        let pair = rcgen::KeyPair::generate()?;
        let made = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&pair)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let connector = TlsConnector::from(client_tls(ca, &["http/1.1"])?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, to, acceptor.clone(), connector.clone()));
            }
        });
        Ok(Self { address, ca: made.pem(), task })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its certificate, which whoever is intercepted has to trust.
    pub fn ca(&self) -> &str {
        &self.ca
    }
}

impl Drop for Interceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    client: TcpStream,
    to: SocketAddr,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
) -> Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    if text.contains("upgrade: websocket") {
        client.write_all(FORBIDDEN).await?;
        return Ok(client.shutdown().await?);
    }
    let name = ServerName::try_from("127.0.0.1").context("it is an address")?;
    let mut broker = connector.connect(name, TcpStream::connect(to).await?).await?;
    broker.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}
