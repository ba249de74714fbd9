//! Ways of which TLS is more than one layer, or not the broker's own; and those through SOCKS5.

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpStream;

use super::*;
use crate::ladder::{Failure, Way};
use crate::{ProxySettings, Trust};

fn way(transport: Transport, port: u16, proxied: bool) -> Way {
    Way { transport, rung: Rung { host: "localhost".into(), port }, proxied }
}

fn through(url: &str) -> ProxySettings {
    ProxySettings::new(url.parse().unwrap(), ProxyUse::First)
}

#[tokio::test]
async fn a_proxy_may_speak_tls_itself_and_the_brokers_tls_goes_inside() {
    let (server, proxy) = (TestServer::start("mqtt").await, TestServer::start("http/1.1").await);
    let trust = Trust::from_pem([&*server.pem, &proxy.pem].concat().as_bytes()).unwrap();
    let url = format!("https://localhost:{}", proxy.address.port());
    let dialer = WayDialer::new(&trust, through(&url)).unwrap();
    let tunnelling = async {
        let mut client = BufReader::with_capacity(1, proxy.accept().await.unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            client.read_line(&mut head).await.unwrap();
        }
        assert!(head.starts_with("CONNECT localhost:"), "{head}");
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        copy_bidirectional(&mut client, &mut stream).await.ok();
    };
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let way = way(Transport::Mqtt, server.address.port(), true);
    let dialing = async {
        let mut line = dialer.dial(&way).await.unwrap();
        let mut read = [0; 5];
        line.stream.read_exact(&mut read).await.unwrap();
        (line, read)
    };
    let ((line, read), _stream) = tokio::select! {
        both = async { tokio::join!(dialing, serving) } => both,
        () = async { tunnelling.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(&read, b"hello");
    assert_eq!(line.proxy.unwrap().to_string(), url);
    assert_eq!((line.tls.version, line.tls.alpn.as_deref()), ("1.3", Some("mqtt")));
    assert_eq!(line.address.port(), proxy.address.port());

    // Nobody vouches for its own certificate.
    let dialer = WayDialer::new(&server.trust, through(&url)).unwrap();
    let (dialed, _) = tokio::join!(dialer.dial(&way), proxy.accept());
    let error = dialed.unwrap_err();
    assert!(error.to_string().contains("TLS to the proxy itself failed"), "{error}");
    assert_eq!((error.failure(), error.is_certificate()), (Failure::Proxy, false));
}

#[tokio::test]
async fn a_proxy_may_speak_socks() {
    let server = TestServer::start("mqtt").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("socks5h://me:s3cret@{}", listener.local_addr().unwrap());
    let dialer = WayDialer::new(&server.trust, through(&url)).unwrap();
    let tunnelling = async {
        let (mut client, _) = listener.accept().await.unwrap();
        for (len, answer) in [(4, &b"\x05\x02"[..]), (11, b"\x01\0"), (16, b"\x05\0\0\x01\0\0\0\0\0\0")] {
            client.read_exact(&mut vec![0; len]).await.unwrap();
            client.write_all(answer).await.unwrap();
        }
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        copy_bidirectional(&mut client, &mut stream).await.ok();
    };
    // Nobody listens there: without the proxy there would be no connection.
    let way = way(Transport::Mqtt, refusing().await.port(), true);
    let line = tokio::select! {
        (line, _) = async { tokio::join!(dialer.dial(&way), server.accept()) } => line.unwrap(),
        () = async { tunnelling.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(line.proxy.unwrap().scheme(), crate::ProxyScheme::Socks5);
}

/// A CA, and a server with a certificate of it.
async fn intercepting() -> (Trust, TcpListener, tokio_rustls::TlsAcceptor) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Corp Inspection");
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let trust = Trust::from_pem(params.self_signed(&ca_key).unwrap().pem().as_bytes()).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let made =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (trust, listener, tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)))
}

#[tokio::test]
async fn who_opens_tls_is_trusted_by_an_extra_ca_alone_and_named() {
    let server = TestServer::start("mqtt").await;
    let (extra, listener, acceptor) = intercepting().await;
    let port = listener.local_addr().unwrap().port();
    let accepting = || async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.ok()
    };
    let dialer = WayDialer::new(&server.trust, ProxySettings::none()).unwrap();
    let intercepted = way(Transport::Mqtt, port, false);
    let (dialed, _) = tokio::join!(dialer.dial(&intercepted), accepting());
    assert!(dialed.unwrap_err().is_certificate());

    let trust = server.trust.clone().with_extra(&extra);
    let dialer = WayDialer::new(&trust, ProxySettings::none()).unwrap();
    // The second resumes the first's TLS session, and is seen through just as well.
    for _ in 0..2 {
        let (dialed, accepted) = tokio::join!(dialer.dial(&intercepted), accepting());
        let tls = dialed.unwrap().tls;
        assert_eq!((tls.issuer.as_deref(), tls.trusted_by_extra_ca), (Some("Corp Inspection"), true));
        assert!(accepted.is_some());
    }
    let own = way(Transport::Mqtt, server.address.port(), false);
    let (dialed, _) = tokio::join!(dialer.dial(&own), server.accept());
    assert!(!dialed.unwrap().tls.trusted_by_extra_ca);

    // A name that the certificate does not hold is no better by an extra CA.
    let mut other = intercepted.clone();
    other.rung.host = "127.0.0.1".into();
    let (dialed, _) = tokio::join!(dialer.dial(&other), accepting());
    let error = dialed.unwrap_err();
    assert!(error.is_certificate() && error.to_string().contains("not valid for name"), "{error}");
}
