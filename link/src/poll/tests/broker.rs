//! A broker that does what the test says, request by request.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::server::TlsStream;
use wakemq_protocol::{Secret, SecretKind};

use crate::ladder::Way;
use crate::mqtt::{ConnectError, ConnectOptions, Connected};
use crate::test_server::TestServer;
use crate::{PollSession, ProxySettings, Rung, Transport, WayDialer};

/// A request, until it is answered.
pub(super) struct Asked {
    /// Which connection it came on, counted from 1.
    pub(super) connection: usize,
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: Value,
    answer: oneshot::Sender<String>,
}

impl Asked {
    pub(super) fn raw(self, answer: &str) {
        // A client that has given up takes no answer.
        self.answer.send(answer.to_owned()).ok();
    }

    pub(super) fn json(self, status: &str, body: &Value) {
        let body = body.to_string();
        self.raw(&format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    }

    pub(super) fn status(self, status: &str) {
        self.raw(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
    }

    pub(super) fn idle(self) {
        self.json("200 OK", &json!({"status": "idle"}));
    }

    pub(super) fn commands(self, ids: &[&str]) {
        let commands: Vec<_> = ids.iter().map(|id| json!({"id": id, "kind": "wake"})).collect();
        self.json("200 OK", &json!({"status": "commands", "commands": commands}));
    }

    /// Closes the connection instead of an answer.
    pub(super) fn hang_up(self) {}

    pub(super) fn acknowledged(&self) -> Vec<&str> {
        let Some(ids) = self.body["acknowledged"].as_array() else { return Vec::new() };
        ids.iter().filter_map(Value::as_str).collect()
    }
}

pub(super) struct Broker {
    asked: mpsc::UnboundedReceiver<Asked>,
    pub(super) dialer: WayDialer,
    pub(super) way: Way,
    /// Time stands still but for what the test lets pass: tokio does not advance it while a blocking task runs.
    _frozen: std::sync::mpsc::Sender<()>,
}

pub(super) fn secret() -> Secret {
    Secret::from_random(SecretKind::Agent, &[7; 32])
}

impl Broker {
    pub(super) async fn start() -> Self {
        let (frozen, thaw) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || thaw.recv().is_err());
        let server = TestServer::start("http/1.1").await;
        let dialer = WayDialer::new(&server.trust, ProxySettings::none()).unwrap();
        let rung = Rung { host: "localhost".into(), port: server.address.port() };
        let (sender, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 1.. {
                let Some(stream) = server.accept().await else { continue };
                tokio::spawn(serve(connection, stream, sender.clone()));
            }
        });
        let way = Way { transport: Transport::Poll, rung, proxied: false };
        Self { asked, dialer, way, _frozen: frozen }
    }

    pub(super) async fn asked(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// Tells whether nothing is asked, as far as can be told at this moment.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }

    /// Connects while `answering` answers.
    pub(super) async fn connect(
        &mut self,
        answering: impl AsyncFnOnce(&mut Self),
    ) -> Result<(PollSession, Connected), ConnectError> {
        let mut options = ConnectOptions::new("pc-1", "pc-1", secret());
        options.keep_alive_secs = 480;
        options.user_properties = vec![("instance".into(), "i1".into())];
        let (dialer, way) = (self.dialer.clone(), self.way.clone());
        let connecting = async {
            let line = dialer.dial(&way).await.unwrap();
            PollSession::connect(line, &dialer, &way, &options).await
        };
        tokio::join!(connecting, answering(self)).0
    }

    /// Connects, and returns the session with its first poll, which waits.
    pub(super) async fn session(&mut self) -> (PollSession, Asked) {
        let mut first = None;
        let connected = self
            .connect(async |broker| {
                first = Some(broker.asked().await);
                tokio::time::advance(Duration::from_secs(3)).await;
            })
            .await;
        (connected.unwrap().0, first.unwrap())
    }
}

async fn serve(connection: usize, stream: TlsStream<TcpStream>, asked: mpsc::UnboundedSender<Asked>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head).await, Ok(1..)) {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let (answer, answered) = oneshot::channel();
        let body = serde_json::from_slice(&body).unwrap();
        if asked.send(Asked { connection, path, head, body, answer }).is_err() {
            return;
        }
        let mut byte = [0];
        tokio::select! {
            answer = answered => {
                let Ok(answer) = answer else { return };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // The client says nothing before the answer: this is its end.
            _ = stream.read(&mut byte) => return,
        }
    }
}
