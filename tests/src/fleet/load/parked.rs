//! An agent that comes by another transport than plain MQTT, and is parked until the process ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wakemq_protocol::http::PollRequest;
use wakemq_protocol::limits::POLL_HEARTBEAT_SECS;
use wakemq_protocol::{AgentId, Secret, Topic, to_json};

use super::{Shared, source};
use crate::figures::client::agent_login;
use crate::fleet::clock::Moment;
use crate::fleet::way::Way;
use crate::fleet::words::{Arrival, Event};
use crate::raw::{Packet, Version, connect, parse, subscribe};

/// How long it may take from dialling until it is parked.
const DIAL_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a WebSocket's buffers: there are many, and packets are small.
const BUFFER: usize = 1024;

type Tls = TlsStream<TcpStream>;
type Body = Full<Bytes>;

/// Comes, and is parked; that this ends is a failure.
pub(super) async fn live(shared: Arc<Shared>, number: usize) {
    let why = match arrive(&shared, number).await {
        Ok((parked, arrival)) => {
            shared.tell(Event::Up(arrival)).await;
            parked.wait().await
        }
        Err(error) => error,
    };
    shared.tell(Event::Failed(format!("agent {number}: {why:#}"))).await;
}

/// What is parked.
enum Parked {
    WebSocket(Box<WebSocketStream<Tls>>),
    /// The connection moves in one task, the request waits in the other.
    Poll(JoinSet<anyhow::Error>),
}

impl Parked {
    /// Waits until it ends, and returns why.
    async fn wait(self) -> anyhow::Error {
        match self {
            Self::WebSocket(mut socket) => match socket.next().await {
                Some(Ok(message)) => anyhow::anyhow!("it was sent {message:?}"),
                Some(Err(error)) => error.into(),
                None => anyhow::anyhow!("the server closed the connection"),
            },
            Self::Poll(mut tasks) => match tasks.join_next().await {
                Some(Ok(error)) => error,
                Some(Err(error)) => error.into(),
                None => anyhow::anyhow!("nothing is parked"),
            },
        }
    }
}

async fn arrive(shared: &Shared, number: usize) -> Result<(Parked, Arrival)> {
    let _place = shared.dials.acquire().await?;
    let began = Moment::now();
    let (agent, secret) = shared.agents.get(number).context("there is no such agent")?;
    let arriving = async {
        let tls = shared.dialer.dial(Some(source(number)?)).await?.into_io();
        match shared.way {
            Way::Mqtt | Way::Websocket => websocket(tls, agent, secret).await,
            Way::Poll => {
                let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
                let mut tasks = JoinSet::new();
                tasks.spawn(async move { ended(connection.await) });
                poll(Sender::Http1(sender), tasks, secret).await
            }
            Way::PollH2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
                let mut tasks = JoinSet::new();
                tasks.spawn(async move { ended(connection.await) });
                poll(Sender::Http2(sender), tasks, secret).await
            }
        }
    };
    let parked = timeout(DIAL_LIMIT, arriving).await.context("it was not let in in time")??;
    let at = Moment::now();
    let took_us = u64::try_from(at.since(began).as_micros())?;
    Ok((parked, Arrival { number, at, took_us, return_secs: 0 }))
}

fn ended(connection: hyper::Result<()>) -> anyhow::Error {
    connection.err().map_or_else(|| anyhow::anyhow!("the server closed the connection"), Into::into)
}

/// Upgrades, logs in and subscribes.
async fn websocket(tls: Tls, agent: &AgentId, secret: &Secret) -> Result<Parked> {
    let mut request = "wss://localhost/mqtt".into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER);
    let upgrading = client_async_with_config(request, tls, Some(config));
    let (mut socket, _) = upgrading.await.context("no upgrade")?;
    socket.send(Message::binary(connect(&agent_login(agent, secret)?))).await?;
    let answer = packet(&mut socket).await?;
    ensure!(matches!(answer, Packet::ConnAck { code: 0, .. }), "not let in: {answer:?}");
    let topic = Topic::AgentCommands(agent.clone()).to_string();
    socket.send(Message::binary(subscribe(Version::V5, 1, &topic, 1))).await?;
    let answer = packet(&mut socket).await?;
    ensure!(matches!(&answer, Packet::SubAck { codes, .. } if codes == &[1]), "not subscribed: {answer:?}");
    Ok(Parked::WebSocket(Box::new(socket)))
}

/// Reads a message that is one packet.
async fn packet(socket: &mut WebSocketStream<Tls>) -> Result<Packet> {
    let message = socket.next().await.context("the server closed the connection")??;
    let Message::Binary(bytes) = message else { bail!("it was sent {message:?}") };
    let (packet, len) = parse(Version::V5, &bytes)?.context("half a packet")?;
    ensure!(len == bytes.len(), "more than a packet");
    Ok(packet)
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(&mut self, request: Request<Body>) -> hyper::Result<hyper::Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// Asks for something that is answered at once, by which it is known; and then for what is not answered.
async fn poll(mut sender: Sender, mut tasks: JoinSet<anyhow::Error>, secret: &Secret) -> Result<Parked> {
    let response = sender.send(asked(1, secret)?).await?;
    let status = response.status();
    ensure!(status == hyper::StatusCode::UNPROCESSABLE_ENTITY, "it was answered {status}");
    response.into_body().collect().await?;
    sender.ready().await?;
    let request = asked(POLL_HEARTBEAT_SECS.1, secret)?;
    tasks.spawn(async move {
        match sender.send(request).await {
            Ok(response) => anyhow::anyhow!("a poll was answered {}", response.status()),
            Err(error) => error.into(),
        }
    });
    Ok(Parked::Poll(tasks))
}

fn asked(heartbeat: u32, secret: &Secret) -> Result<Request<Body>> {
    let instance = Some(format!("{:032x}", fastrand::u128(..)));
    let asked = PollRequest { heartbeat, acknowledged: Vec::new(), instance, trial: false };
    let request = Request::post("https://localhost/v1/poll")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", secret.expose()));
    Ok(request.body(Full::new(Bytes::from(to_json(&asked))))?)
}
