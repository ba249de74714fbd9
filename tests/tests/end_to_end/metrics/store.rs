//! The store, and what it costs others when it fails.

use anyhow::Result;
use wakemq_link::http::{Method, Upload};
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::medium::Full;
use wakemq_tests::raw::{Login, Version};

use super::{Moved, Watched};

pub(super) async fn move_all(moved: &mut Moved) -> Result<()> {
    let full = Full::default();
    let broker = InProcessBroker::start(Injected { full: full.clone(), ..Injected::default() }).await?;
    let mut watched = Watched::new(broker)?;
    let (_agent, agents) = watched.agent("pc-1").await?;
    watched.rises(moved, "wakemq_store_flush_duration_seconds_count").await?;
    watched.rises(moved, "wakemq_store_batch_calls_count").await?;

    watched.again()?;
    let secret = watched.broker.profile()?.secret;
    let mut operator = watched.enter(&Login::new(Version::V4, "op:admin", secret.expose())).await?;
    full.set(true);
    operator.publish("wake/v1/agents/pc-1/commands", br#"{"kind":"wake"}"#, &[]).await?;
    watched.rises(moved, "wakemq_disconnections_total{reason=\"store\"}").await?;
    watched.rises(moved, "wakemq_store_failures_total").await?;
    watched.becomes(moved, "wakemq_store_healthy", 0.0).await?;
    watched.rises(moved, "wakemq_submissions_refused_total{reason=\"store\"}").await?;
    let mut http = watched.broker.http(Some(secret.clone()))?;
    let token = || Upload::json(&br#"{"group":"test","uses":1,"expires_in":60}"#[..]);
    let (status, _) = http.request(Method::POST, "/v1/tokens", Some(token())).await?;
    assert_eq!(status.as_u16(), 503);
    watched.rises(moved, "wakemq_http_requests_total{status=\"5xx\"}").await?;
    full.set(false);
    let (status, _) = http.request(Method::POST, "/v1/tokens", Some(token())).await?;
    assert_eq!(status.as_u16(), 201);
    watched.becomes(moved, "wakemq_store_healthy", 1.0).await?;

    full.lose(true);
    let (status, _) = http.request(Method::POST, "/v1/tokens", Some(token())).await?;
    assert_eq!(status.as_u16(), 503);
    watched.broker.dial().await?.login(&Login::new(Version::V5, "pc-1", agents.expose())).await?;
    watched.rises(moved, "wakemq_refusals_total{reason=\"store\"}").await
}
