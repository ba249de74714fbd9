//! A TLS listener for tests, with a certificate of its own for `localhost`.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::{Alpn, Dialer, Endpoint, Ladder, Trust};

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) trust: Trust,
    /// Its certificate.
    pub(crate) pem: String,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TestServer {
    pub(crate) async fn start(alpn: &str) -> Self {
        Self::start_with(&[alpn]).await
    }

    /// Starts one that speaks several protocols.
    pub(crate) async fn start_with(alpn: &[&str]) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            trust: Trust::from_pem(made.pem().as_bytes()).unwrap(),
            pem: made.pem(),
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// Accepts one connection; `None` if its handshake failed.
    pub(crate) async fn accept(&self) -> Option<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(stream).await.ok()
    }

    /// Accepts one connection, and closes it.
    pub(crate) async fn turn_away(&self) {
        self.listener.accept().await.unwrap();
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("localhost:{}", self.address.port()).parse().unwrap()
    }

    pub(crate) fn dialer(&self, alpn: Alpn) -> Dialer {
        Dialer::new(Ladder::from(self.endpoint()), &self.trust, alpn).unwrap()
    }
}
