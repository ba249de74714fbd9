//! Connections on which HTTP/1.1 or HTTP/2 is spoken, from the first request to the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::later::Later;
use super::{Http, Peer};
use crate::door::{Serves, Stranger};
use crate::metrics::{Metrics, StatusClass};

/// How long a request's head may take, and how long a kept connection may wait for its next request.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Most requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// How many bytes a client of HTTP/2 may send of one body, and of all of them, before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Most bytes of answers that wait on one stream.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// How many streams a client may have reset before they were looked at, and how many by its own mistakes, before the
/// connection ends: what h2 does by itself, named here because floods of resets hang on it.
const RESETS_PENDING_MAX: usize = 20;
const RESETS_BY_ERROR_MAX: usize = 1024;
/// How long a client of HTTP/2 may be silent before it is asked whether it is there, and how long it may take to say
/// so. Rarely, for a ping wakes the radio of a machine whose poll waits.
const PING_INTERVAL: Duration = Duration::from_secs(300);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long a client of HTTP/2 that has no request under way may take to end its side.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

impl Http {
    /// Serves one connection until it ends, as one of [`Serves::Clients`]; dropping the future closes it at once.
    pub async fn serve_connection<S>(&self, io: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_as(io, peer, Serves::Clients, &Stranger::default()).await;
    }

    /// Serves one connection until it ends, or until a client of the clients' door was promised MQTT in WebSocket:
    /// then the connection comes back, with what was read behind that request. Dropping the future closes it at once.
    pub(crate) async fn serve_as<S>(
        &self,
        io: S,
        peer: SocketAddr,
        serves: Serves,
        stranger: &Stranger,
    ) -> Option<(S, Bytes)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgraded = AtomicBool::new(false);
        let router = self.router_of(serves);
        let service = service_fn(|request| {
            let (upgraded, answered) = (&upgraded, answer(router, &self.metrics, (peer, stranger), request));
            async move {
                let response = answered.await;
                upgraded.fetch_or(response.status() == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_header_size(HEAD_MAX)
            .max_buf_size(4 * HEAD_MAX)
            .serve_connection(TokioIo::new(io), service);
        let mut draining = self.draining.clone();
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = begun(&mut draining) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "an HTTP connection broke off");
            return None;
        }
        upgraded.load(Ordering::Relaxed).then(|| {
            let Parts { io, read_buf, .. } = connection.into_parts();
            (io.into_inner(), read_buf)
        })
    }

    /// Serves one connection that speaks HTTP/2 until it ends. Dropping the future closes it at once, and drops the
    /// requests that are under way.
    pub(crate) async fn serve_http2<S>(&self, io: S, peer: SocketAddr, serves: Serves, stranger: &Stranger)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (under_way, mut requests) = watch::channel(0_usize);
        let (router, metrics) = (self.router_of(serves).clone(), self.metrics.clone());
        let stranger = stranger.clone();
        let service = service_fn(move |request| {
            let under_way = UnderWay::new(under_way.clone());
            let answered = answer(&router, &metrics, (peer, &stranger), request);
            async move {
                let response = answered.await;
                drop(under_way);
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http2::Builder::new(Streams::default());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER_MAX)
            .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_BY_ERROR_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut draining = self.draining.clone();
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = begun(&mut draining) => None,
            () = idle(&mut requests) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = farewell(&mut requests) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "an HTTP/2 connection broke off");
        }
    }

    fn router_of(&self, serves: Serves) -> &Router {
        match serves {
            Serves::Clients => &self.router,
            Serves::Admin => &self.admin,
        }
    }
}

/// Answers one request, and counts it. What it takes to find the handler and to read the request is gone when the
/// answer is one that comes later: a parked poll holds little more than itself.
fn answer(
    router: &Router,
    metrics: &Arc<Metrics>,
    (peer, stranger): (SocketAddr, &Stranger),
    mut request: hyper::Request<Incoming>,
) -> impl Future<Output = Response> + use<> {
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(stranger.clone());
    let asked = Box::new((request.method().clone(), request.uri().path().to_owned()));
    let answered = Box::pin(router.clone().oneshot(request.map(Body::new)));
    let metrics = metrics.clone();
    async move {
        let response = match answered.await {
            Ok(response) => Later::wait(response).await,
            Err(never) => match never {},
        };
        metrics.http_requests.of(StatusClass::of(response.status())).inc();
        let (status, (method, path)) = (response.status().as_u16(), *asked);
        tracing::debug!(%peer, %method, path, status, "request");
        response
    }
}

/// Waits until the broker drains; a sender that is gone took the broker with it.
async fn begun(draining: &mut watch::Receiver<bool>) {
    draining.wait_for(|draining| *draining).await.ok();
}

/// Waits until no request was under way for a while; the first is to come within the same time.
async fn idle(requests: &mut watch::Receiver<usize>) {
    loop {
        requests.wait_for(|under_way| *under_way == 0).await.ok();
        if tokio::time::timeout(HEAD_LIMIT, requests.wait_for(|under_way| *under_way > 0)).await.is_err() {
            return;
        }
    }
}

/// Waits until no request is under way any more, and then for as long as the client may take to end.
async fn farewell(requests: &mut watch::Receiver<usize>) {
    requests.wait_for(|under_way| *under_way == 0).await.ok();
    tokio::time::sleep(FAREWELL_LIMIT).await;
}

/// A request that is under way.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(counted: watch::Sender<usize>) -> Self {
        counted.send_modify(|under_way| *under_way += 1);
        Self(counted)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|under_way| *under_way -= 1);
    }
}

/// The tasks of one connection's streams; they end with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock();
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}
