//! The yardstick of a long poll: hyper with its defaults, and requests that wait.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Answers the first request of a connection, as the broker does one that asks for too short a heartbeat; every further
/// one waits for ever.
pub(super) async fn serve(tls: TlsStream<TcpStream>) -> hyper::Result<()> {
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let asked = AtomicBool::new(false);
    let service = service_fn(move |request: Request<Incoming>| {
        let first = !asked.swap(true, Ordering::Relaxed);
        async move {
            if let Err(error) = request.into_body().collect().await {
                eprintln!("fleet: bare: half a request: {error}");
            }
            if !first {
                // Here the request is parked.
                pending::<()>().await;
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok::<_, Infallible>(response)
        }
    });
    if is_h2 {
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(tls), service).await
    }
}
