//! The HTTP interface: enrolment, long poll, management, health.
//!
//! It has no listener of its own: the door hands over streams on which HTTP/1.1 or HTTP/2 is spoken. Every error is a
//! problem document (RFC 9457). Secrets and bodies are never logged.

mod connection;
mod extract;
mod handlers;
mod import;
mod later;
mod metrics;
mod problem;
#[cfg(test)]
mod tests;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, patch, post};
use handlers::{agents, audit, commands, groups, operators, polls, power, system, tokens};
use later::Later;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::door::Serves;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::polls::Polls;

pub use crate::transport::sniff::HttpVersion;

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
    polls: Arc<Polls>,
    /// One import at a time.
    imports: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

impl Http {
    /// Makes the interface to an engine.
    ///
    /// When `draining` becomes true, `/readyz` says so, and each connection ends after the request that it is at.
    pub fn new(engine: Arc<Engine>, polls: Arc<Polls>, draining: watch::Receiver<bool>) -> Self {
        let metrics = engine.metrics().clone();
        let shared =
            Shared { engine, polls, imports: Arc::new(Semaphore::new(1)), draining: draining.clone() };
        Self {
            router: router(shared.clone(), Serves::Clients),
            admin: router(shared, Serves::Admin),
            metrics,
            draining,
        }
    }

    /// Answers one request that did not come over a connection.
    pub async fn answer(&self, request: Request) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => Later::wait(response).await,
            Err(never) => match never {},
        }
    }
}

fn router(shared: Shared, serves: Serves) -> Router {
    let routes = match serves {
        Serves::Clients => Router::new().route("/mqtt", get(upgrade::upgrade)),
        Serves::Admin => Router::new().route("/metrics", get(metrics::metrics)),
    };
    let agent = || get(agents::agent).delete(agents::revoke);
    routes
        .route("/v1/enrol", post(agents::enrol))
        .route("/v1/poll", post(polls::poll))
        .route("/v1/receipts", post(polls::receipt))
        .route("/v1/facts", post(polls::facts))
        .route("/v1/reports", post(polls::report))
        .route("/generate_204", get(system::generate_204))
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
