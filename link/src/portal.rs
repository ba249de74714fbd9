//! Is the network shut by a captive portal: does somebody else answer in the broker's place?

use std::time::Duration;

use hyper::header::LOCATION;
use tokio::time::timeout;

use crate::http::{HttpError, Method, Open, StatusCode};
use crate::tunnel::shown;
use crate::{Alpn, Rung, WayDialer};

/// What the broker answers with 204 and nothing else.
const PATH: &str = "/generate_204";
/// Longest wait for the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Largest answer that is read: a portal's page may be long.
const ANSWER_MAX: usize = 1024 * 1024;

/// What a probe of the broker found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Portal {
    /// The broker itself answers.
    #[error("open")]
    Open,
    /// Somebody else answers in its place.
    #[error("shut: {0}")]
    Captive(Captive),
    /// Nobody answers, which has other reasons.
    #[error("not known: {0}")]
    Unreachable(String),
}

/// By what it is seen that somebody else answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Captive {
    /// Its certificate is not the broker's.
    #[error("{0}")]
    Certificate(String),
    /// It leads elsewhere.
    #[error("the broker's place is answered with {status}, which leads to {to:?}")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// It shows a page.
    #[error("the broker's place is answered with {status} and a page that begins with {page:?}")]
    Page {
        /// The HTTP status.
        status: u16,
        /// How the page begins.
        page: String,
    },
}

/// Asks the broker for nothing (`GET /generate_204`), directly and over TLS by the usual trust.
pub async fn probe_portal(dialer: &WayDialer, rung: &Rung) -> Portal {
    let secured = match dialer.secure(rung, false, Alpn::Http1).await {
        Ok(secured) => secured,
        Err(error) if error.is_certificate() => {
            return Portal::Captive(Captive::Certificate(error.to_string()));
        }
        Err(error) => return Portal::Unreachable(error.to_string()),
    };
    let asking = async {
        let mut open = Open::over(secured.stream, rung).await?;
        open.exchange(Method::GET, PATH, None, None, ANSWER_MAX).await
    };
    let answer = match timeout(LIMIT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Portal::Unreachable(error.to_string()),
        Err(_) => return Portal::Unreachable(HttpError::TimedOut(LIMIT).to_string()),
    };
    let status = answer.status.as_u16();
    let location = answer.headers.get(LOCATION);
    match location {
        Some(to) if answer.status.is_redirection() => {
            Portal::Captive(Captive::Redirect { status, to: shown(to.as_bytes()) })
        }
        _ if answer.status == StatusCode::NO_CONTENT => Portal::Open,
        _ => Portal::Captive(Captive::Page { status, page: shown(&answer.body) }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::ProxySettings;
    use crate::test_server::TestServer;

    async fn probed(answer: &str) -> Portal {
        let server = TestServer::start("http/1.1").await;
        let dialer = WayDialer::new(&server.trust, ProxySettings::none()).unwrap();
        let rung = Rung { host: "localhost".into(), port: server.address.port() };
        let serving = async {
            let mut stream = server.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            assert!(request[..count].starts_with(b"GET /generate_204 HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        tokio::join!(probe_portal(&dialer, &rung), serving).0
    }

    #[tokio::test]
    async fn who_answers_in_the_brokers_place_is_seen() {
        assert_eq!(probed("HTTP/1.1 204 No Content\r\n\r\n").await, Portal::Open);
        let redirected =
            probed("HTTP/1.1 302 x\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(
            redirected.to_string(),
            "shut: the broker's place is answered with 302, which leads to \"http://login/\""
        );
        let page = probed("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").await;
        assert_eq!(page, Portal::Captive(Captive::Page { status: 200, page: "<html>".into() }));
        assert!(matches!(probed("").await, Portal::Unreachable(_)));
    }

    #[tokio::test]
    async fn another_certificate_is_one_of_somebody_else_and_a_closed_door_of_nobody() {
        let (server, other) = (TestServer::start("http/1.1").await, TestServer::start("http/1.1").await);
        let dialer = WayDialer::new(&other.trust, ProxySettings::none()).unwrap();
        let rung = |port| Rung { host: "localhost".into(), port };
        let there = rung(server.address.port());
        let (probed, _) = tokio::join!(probe_portal(&dialer, &there), server.accept());
        assert!(matches!(probed, Portal::Captive(Captive::Certificate(_))), "{probed}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert!(matches!(probe_portal(&dialer, &rung(closed)).await, Portal::Unreachable(_)));
    }
}
