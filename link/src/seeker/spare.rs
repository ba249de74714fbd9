//! The spare connection: a poll that is answered after a given time, on which nothing else is said.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use wakemq_protocol::http::{PollAnswer, PollRequest};
use wakemq_protocol::{Secret, to_json};

use crate::ladder::Way;
use crate::{LineStream, SpareNews, Transport, WayDialer};

/// Largest answer that is read: it is not to hold any command.
const ANSWER_MAX: usize = 16 * 1024;

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    News(SpareNews),
    /// The broker does not allow the interval; this is its nearest bound, in seconds.
    Bound(u32),
}

/// A connection that is up, before the trial.
pub(super) struct Ready {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<LineStream>, Full<Bytes>>>>,
    host: String,
}

/// Whose trial it is.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) secret: Secret,
    pub(super) secs: u32,
}

/// Opens a spare connection beside a main one over `way`: by HTTPS to the same door, in the same manner.
pub(super) async fn open(dialer: WayDialer, way: Way) -> Result<Ready, String> {
    let way = Way { transport: Transport::Poll, ..way };
    let line = dialer.dial(&way).await.map_err(|error| error.to_string())?;
    let io = TokioIo::new(line.stream);
    let (sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
    Ok(Ready { sender, connection: Box::pin(connection), host: way.rung.to_string() })
}

/// Asks, and waits until there is an answer or the connection has ended.
pub(super) async fn ask(ready: Ready, trial: Trial) -> Tried {
    let Ready { mut sender, mut connection, host } = ready;
    let asked = PollRequest { heartbeat: trial.secs, acknowledged: Vec::new(), instance: None, trial: true };
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/poll")
        .header(HOST, host)
        .header(USER_AGENT, concat!("wakemq/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, crate::http::JSON)
        .header(AUTHORIZATION, format!("Bearer {}", trial.secret.expose()))
        .body(Full::new(Bytes::from(to_json(&asked))));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(%error, "no trial");
            return Tried::News(SpareNews::Unable);
        }
    };
    let mut answering = std::pin::pin!(answer(sender.send_request(request)));
    let answered = tokio::select! {
        biased;
        answered = &mut answering => answered,
        // What it has read before it ended is there.
        _ = &mut connection => answering.await,
    };
    match answered {
        Ok((StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY, body)) => {
            match serde_json::from_slice(&body) {
                Ok(PollAnswer::Idle) => Tried::News(SpareNews::Idle),
                Ok(PollAnswer::Superseded | PollAnswer::Retry { .. } | PollAnswer::Commands { .. }) => {
                    Tried::News(SpareNews::Early)
                }
                Ok(PollAnswer::HeartbeatOutOfRange { heartbeat }) => Tried::Bound(heartbeat),
                Err(error) => {
                    tracing::debug!(%error, "not the answer to a trial");
                    Tried::News(SpareNews::Unable)
                }
            }
        }
        Ok((status, _)) => {
            tracing::debug!(%status, "no trial");
            Tried::News(SpareNews::Unable)
        }
        Err(error) => {
            tracing::debug!(error, "the trial had no answer");
            Tried::News(SpareNews::Silent)
        }
    }
}

async fn answer(
    response: impl Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>>,
) -> Result<(StatusCode, Bytes), String> {
    let response = response.await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
}
