mod proxied;
mod secured;

use super::way::connect_any;
use super::*;
use crate::test_server::TestServer;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(10);

/// An address where nobody listens.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn endpoint(address: SocketAddr) -> crate::Endpoint {
    format!("localhost:{}", address.port()).parse().unwrap()
}

#[tokio::test]
async fn an_address_that_refuses_and_one_that_says_nothing_do_not_stop_a_third() {
    let server = TestServer::start("mqtt").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![refusing().await, silent.local_addr().unwrap(), server.address];
    let connector = TlsConnector::from(server.trust.client_config(Alpn::Mqtt).unwrap());
    let name = ServerName::try_from("localhost").unwrap();
    let (won, accepted) = tokio::join!(connect_any(addresses, &name, &connector, LIMIT), server.accept());
    let (address, stream) = won.unwrap();
    assert_eq!(address, server.address);
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
    assert!(stream.get_ref().0.tcp().nodelay().unwrap());
    assert!(SockRef::from(stream.get_ref().0.tcp()).keepalive().unwrap());
    assert!(accepted.is_some());
}

#[tokio::test]
async fn the_next_rung_is_tried_when_one_leads_nowhere() {
    let server = TestServer::start("mqtt").await;
    let ladder = Ladder::new([endpoint(refusing().await), server.endpoint()]).unwrap();
    let dialer = Dialer::new(ladder, &server.trust, Alpn::Mqtt).unwrap();
    let (dialed, accepted) = tokio::join!(dialer.dial(), server.accept());
    assert_eq!(dialed.unwrap().rung.port, server.address.port());
    assert!(accepted.is_some());
}

#[tokio::test]
async fn the_error_tells_every_rung_and_its_reason() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TestServer::start("mqtt").await;
    let server = TestServer::start("mqtt").await;
    let (refusing, silent) = (refusing().await, silent.local_addr().unwrap());
    let ladder = Ladder::new([endpoint(refusing), endpoint(silent), server.endpoint()]).unwrap();
    // The certificate of the last rung is not of the authority that the client trusts.
    let dialer =
        Dialer::new(ladder, &other.trust, Alpn::Mqtt).unwrap().with_attempt_limit(Duration::from_millis(300));
    let accepting = async { while server.accept().await.is_some() {} };
    let (dialed, ()) = tokio::join!(dialer.dial(), accepting);
    let error = dialed.unwrap_err();
    assert!(error.is_certificate());
    let text = error.to_string();
    for expected in [
        format!("localhost:{}: ", refusing.port()),
        "refused".to_owned(),
        "connected, but no TLS handshake within 0.3 s".to_owned(),
        "invalid peer certificate".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told() {
    let server = TestServer::start("mqtt").await;
    let ladder = Ladder::parse(&["no-such-host.invalid:1", "a..b:1"]).unwrap();
    let error = Dialer::new(ladder, &server.trust, Alpn::Mqtt).unwrap().dial().await.unwrap_err();
    assert!(matches!(error.rungs[0].1, WayError::Resolve(_) | WayError::NoAddress(_)), "{error}");
    assert!(matches!(error.rungs[1].1, WayError::Name), "{error}");
    assert!(!error.is_certificate());
}
