//! A foreign client of the long poll: hyper, over HTTP/1.1 or HTTP/2.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use wakemq_protocol::Secret;
use wakemq_tests::in_process::InProcessBroker;
use wakemq_tests::raw::handshake;
use wakemq_tests::wait::within;

pub(crate) const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One connection, and the secret that is given with each request; dropped, it closes the connection.
pub(crate) struct Client {
    sender: Sender,
    bearer: String,
    _connection: Arc<AbortOnDropHandle<()>>,
}

impl Client {
    /// Dials a broker.
    pub(crate) async fn dial(broker: &InProcessBroker, version: Version, secret: &Secret) -> Result<Self> {
        Self::dial_at(broker.address()?, &broker.ca_path(), version, secret).await
    }

    /// Dials an address.
    pub(crate) async fn dial_at(
        address: std::net::SocketAddr,
        ca: &Path,
        version: Version,
        secret: &Secret,
    ) -> Result<Self> {
        let tcp = within("a TCP connection", TcpStream::connect(address)).await??;
        // Or the body of a request waits until its head was acknowledged, and another request overtakes it.
        tcp.set_nodelay(true)?;
        let bearer = format!("Bearer {}", secret.expose());
        match version {
            Version::Http1 => {
                let tls = handshake(tcp, ca, "http/1.1").await?;
                let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
                let moving = tokio::spawn(async move { connection.await.unwrap_or_default() });
                let _connection = Arc::new(AbortOnDropHandle::new(moving));
                Ok(Self { sender: Sender::Http1(sender), bearer, _connection })
            }
            Version::Http2 => {
                let tls = handshake(tcp, ca, "h2").await?;
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
                let moving = tokio::spawn(async move { connection.await.unwrap_or_default() });
                let _connection = Arc::new(AbortOnDropHandle::new(moving));
                Ok(Self { sender: Sender::Http2(sender), bearer, _connection })
            }
        }
    }

    /// Returns another that sends on the same connection of HTTP/2.
    pub(crate) fn beside(&self) -> Self {
        let Sender::Http2(sender) = &self.sender else { panic!("HTTP/1.1 has one request at a time") };
        let (sender, bearer) = (Sender::Http2(sender.clone()), self.bearer.clone());
        Self { sender, bearer, _connection: self._connection.clone() }
    }

    /// Sends a request and reads the answer: its status, and its body if that is JSON.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Value)> {
        let host = match self.sender {
            Sender::Http1(_) => "",
            Sender::Http2(_) => "https://localhost",
        };
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("{host}{path}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", &self.bearer)
            .body(Full::new(Bytes::copy_from_slice(body)))?;
        let response: hyper::Response<Incoming> = within("an answer", async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await??;
        let status = response.status().as_u16();
        let body = within("a body", response.into_body().collect()).await??.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.ask("POST", path, body.to_string().as_bytes()).await
    }

    /// Polls, acknowledging commands, and returns the answer, which is one.
    pub(crate) async fn poll(&mut self, acknowledged: &[&Value]) -> Result<Value> {
        let body = json!({"heartbeat": 600, "instance": "i1", "acknowledged": acknowledged});
        let (status, answer) = self.post("/v1/poll", &body).await?;
        ensure!(status == 200, "{status}: {answer}");
        Ok(answer)
    }

    /// The same, and returns the ids of the commands that came; fails if none did.
    pub(crate) async fn commands(&mut self, acknowledged: &[&Value]) -> Result<Vec<Value>> {
        let answer = self.poll(acknowledged).await?;
        let commands = answer["commands"].as_array().with_context(|| format!("no commands: {answer}"))?;
        Ok(commands.iter().map(|command| command["id"].clone()).collect())
    }

    /// Sends a poll in a task, from which the client comes back with the answer.
    pub(crate) fn polling(mut self, body: Value) -> Polling {
        Polling(AbortOnDropHandle::new(tokio::spawn(async move {
            let answered = self.post("/v1/poll", &body).await;
            (self, answered)
        })))
    }
}

/// A poll that is under way; dropped, its client is gone.
pub(crate) struct Polling(AbortOnDropHandle<(Client, Result<(u16, Value)>)>);

impl Polling {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Result<(Client, u16, Value)> {
        let (client, answered) = self.0.await?;
        let (status, answer) = answered?;
        Ok((client, status, answer))
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.is_finished()
    }
}
