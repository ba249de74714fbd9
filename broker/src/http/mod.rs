//! The HTTP interface: enrolment, management, health.
//!
//! It has no listener of its own: the door hands over streams on which HTTP/1.1 is spoken. Every error is a
//! problem document (RFC 9457). Secrets and bodies are never logged.

mod extract;
mod handlers;
mod import;
mod metrics;
mod problem;
#[cfg(test)]
mod tests;
mod upgrade;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, patch, post};
use bytes::Bytes;
use handlers::{agents, audit, commands, groups, operators, power, system, tokens};
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::door::Serves;
use crate::engine::Engine;
use crate::metrics::{Metrics, StatusClass};

/// How long a request's head may take, and how long a kept connection may wait for its next request.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// The HTTP interface of one broker; cloned for free.
#[derive(Clone)]
pub struct Http {
    router: Router,
    /// The same, and what belongs to administrators.
    admin: Router,
    metrics: Arc<Metrics>,
    draining: watch::Receiver<bool>,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    /// One import at a time.
    imports: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

impl Http {
    /// Makes the interface to an engine.
    ///
    /// When `draining` becomes true, `/readyz` says so, and each connection ends after the request that it is at.
    pub fn new(engine: Arc<Engine>, draining: watch::Receiver<bool>) -> Self {
        let metrics = engine.metrics().clone();
        let shared = Shared { engine, imports: Arc::new(Semaphore::new(1)), draining: draining.clone() };
        Self {
            router: router(shared.clone(), Serves::Clients),
            admin: router(shared, Serves::Admin),
            metrics,
            draining,
        }
    }

    /// Serves one connection until it ends, as one of [`Serves::Clients`]; dropping the future closes it at once.
    pub async fn serve_connection<S>(&self, io: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_as(io, peer, Serves::Clients).await;
    }

    /// Serves one connection until it ends, or until a client of the clients' door was promised MQTT in WebSocket:
    /// then the connection comes back, with what was read behind that request. Dropping the future closes it at once.
    pub async fn serve_as<S>(&self, io: S, peer: SocketAddr, serves: Serves) -> Option<(S, Bytes)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgraded = AtomicBool::new(false);
        let router = match serves {
            Serves::Clients => &self.router,
            Serves::Admin => &self.admin,
        };
        let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let (router, upgraded) = (router.clone(), &upgraded);
            async move {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let response = router.oneshot(request.map(Body::new)).await;
                if let Ok(response) = &response {
                    upgraded
                        .fetch_or(response.status() == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
                    self.metrics.http_requests.of(StatusClass::of(response.status())).inc();
                    let status = response.status().as_u16();
                    tracing::debug!(%peer, %method, path, status, "request");
                }
                response
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

    /// Answers one request that did not come over a connection.
    pub async fn answer(&self, request: Request) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Waits until the broker drains; a sender that is gone took the broker with it.
async fn begun(draining: &mut watch::Receiver<bool>) {
    draining.wait_for(|draining| *draining).await.ok();
}

fn router(shared: Shared, serves: Serves) -> Router {
    let routes = match serves {
        Serves::Clients => Router::new().route("/mqtt", get(upgrade::upgrade)),
        Serves::Admin => Router::new().route("/metrics", get(metrics::metrics)),
    };
    let agent = || get(agents::agent).delete(agents::revoke);
    routes
        .route("/v1/enrol", post(agents::enrol))
        .route("/v1/commands", post(commands::submit))
        .route("/v1/commands/{id}", get(commands::command))
        .route("/v1/commands/{id}/waiting", get(commands::waiting))
        .route("/v1/commands/{id}/cancel", post(commands::cancel))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/import", agent().post(import::import))
        .route("/v1/agents/{agent}", agent())
        .route("/v1/agents/{agent}/move", post(agents::relocate))
        .route("/v1/agents/{agent}/power", get(power::explain))
        .route("/v1/wol", post(power::wol))
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route("/v1/groups/rename", post(groups::rename))
        .route("/v1/groups/remove", post(groups::remove))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/operators", get(operators::list).post(operators::create))
        .route("/v1/operators/{operator}", patch(operators::change).delete(operators::revoke))
        .route("/v1/audit", get(audit::list))
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .fallback(system::not_found)
        .method_not_allowed_fallback(system::method_not_allowed)
        .layer(map_response(no_store))
        .with_state(shared)
}

/// Answers tell of the moment, and some carry a secret: nothing between here and the client may keep them.
async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
