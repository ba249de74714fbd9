//! Whether the broker lives, and what is said where there is nothing.

use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};

use crate::http::Shared;
use crate::http::problem::{Kind, Refusal};

/// How long the store may take to answer a health check.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// The process lives.
pub(in crate::http) async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can serve: it is not shutting down, and its store can be read.
pub(in crate::http) async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Refusal> {
    if *shared.draining.borrow() {
        return Err(Refusal::new(Kind::Draining, "connect to another broker, or wait for its return"));
    }
    match tokio::time::timeout(HEALTH_LIMIT, shared.engine.check_store()).await {
        Ok(checked) => checked?,
        Err(_) => return Err(Refusal::new(Kind::Unavailable, "the store does not answer")),
    }
    Ok("ready\n")
}

/// The network lets requests through: a captive portal would answer with a page of its own.
pub(in crate::http) async fn generate_204() -> StatusCode {
    StatusCode::NO_CONTENT
}

pub(in crate::http) async fn not_found(uri: Uri) -> Refusal {
    Refusal::new(Kind::NotFound, format!("there is nothing at {}", uri.path()))
}

pub(in crate::http) async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{method} is not possible at {}; see the header Allow", uri.path());
    Refusal::new(Kind::MethodNotAllowed, detail)
}
