//! A broker on the loopback interface that does as it is told.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Packet, PingResp};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::test_server::TestServer;

/// What a broker does, and what lies before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The code of CONNACK.
    pub(super) code: u8,
    /// After how many quiet seconds nothing gets through any more.
    pub(super) forgets_after_secs: Option<u64>,
    /// Connections are accepted and then closed.
    pub(super) closed: bool,
    /// What comes is not answered.
    pub(super) mute: bool,
    /// Every request is answered with a redirection, and MQTT is not spoken: not to be changed later.
    pub(super) portal: bool,
}

/// What a broker has seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Connect {
        port: u16,
        keep_alive_secs: u16,
    },
    Trial {
        secs: u32,
    },
    /// A ping, and whether it was answered.
    Ping {
        answered: bool,
    },
    Goodbye,
}

/// Ends when dropped.
pub(super) struct Broker {
    pub(super) address: SocketAddr,
    /// Its certificate.
    pub(super) pem: String,
    pub(super) rules: watch::Sender<Rules>,
    task: JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Broker {
    /// Starts one that tells what it sees.
    pub(super) async fn start(rules: Rules, seen: mpsc::UnboundedSender<Seen>) -> Self {
        let spoken: &[&str] = if rules.portal { &["http/1.1"] } else { &["mqtt", "http/1.1"] };
        let server = TestServer::start_with(spoken).await;
        let (address, pem) = (server.address, server.pem.clone());
        let (rules, mut told) = watch::channel(rules);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let closed = told.borrow_and_update().closed;
                let accepted = tokio::select! {
                    () = server.turn_away(), if closed => continue,
                    stream = server.accept(), if !closed => stream,
                    _ = told.changed() => continue,
                };
                let Some(stream) = accepted else { continue };
                let is_mqtt = stream.get_ref().1.alpn_protocol() == Some(b"mqtt");
                let (told, seen) = (told.clone(), seen.clone());
                connections.spawn(async move {
                    if told.borrow().portal {
                        portal(stream).await;
                    } else if is_mqtt {
                        mqtt(stream, &told, &seen, address.port()).await;
                    } else {
                        poll(stream, &told, &seen).await;
                    }
                });
            }
        });
        Self { address, pem, rules, task }
    }
}

/// Tells whether something gets through after so much quiet time.
fn passes(rules: &watch::Receiver<Rules>, quiet: Duration) -> bool {
    let rules = rules.borrow();
    !rules.mute && rules.forgets_after_secs.is_none_or(|secs| quiet <= Duration::from_secs(secs))
}

async fn mqtt(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    rules: &watch::Receiver<Rules>,
    seen: &mpsc::UnboundedSender<Seen>,
    port: u16,
) {
    let mut read = BytesMut::new();
    let mut said = Instant::now();
    loop {
        // A DISCONNECT without a reason is not read by the codec.
        if read[..] == [0xE0, 0] {
            seen.send(Seen::Goodbye).ok();
            return;
        }
        match Packet::read(&mut read, None) {
            Ok(Packet::Connect(connect, ..)) => {
                seen.send(Seen::Connect { port, keep_alive_secs: connect.keep_alive }).ok();
                let code = rules.borrow().code;
                stream.write_all(&[0x20, 3, 0, code, 0]).await.ok();
                said = Instant::now();
            }
            Ok(Packet::PingReq(_)) => {
                let answered = passes(rules, said.elapsed());
                seen.send(Seen::Ping { answered }).ok();
                if !answered {
                    // Kept open, and never heard of again.
                    std::future::pending::<()>().await;
                }
                let mut answer = BytesMut::new();
                Packet::PingResp(PingResp).write(&mut answer, None).unwrap();
                stream.write_all(&answer).await.ok();
                said = Instant::now();
            }
            Ok(other) => panic!("{other:?}"),
            Err(Error::InsufficientBytes(_)) => {
                if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Answers a request, or whatever comes, as a captive portal does.
async fn portal(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 4096];
    if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
        let answer = "HTTP/1.1 302 Found\r\nlocation: http://login/\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.ok();
        stream.shutdown().await.ok();
    }
}

async fn poll(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    rules: &watch::Receiver<Rules>,
    seen: &mpsc::UnboundedSender<Seen>,
) {
    let mut request = BytesMut::new();
    let body = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && body.ends_with('}')
        {
            break body.to_owned();
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let asked: wakemq_protocol::http::PollRequest = serde_json::from_str(&body).unwrap();
    assert!(asked.trial);
    seen.send(Seen::Trial { secs: asked.heartbeat }).ok();
    let quiet = Duration::from_secs(asked.heartbeat.into());
    // Who closes it wants no answer.
    let mut rest = [0; 1];
    if timeout(quiet, stream.read(&mut rest)).await.is_ok() {
        return;
    }
    // A little later than it is due, as a timer is.
    sleep(Duration::from_millis(2)).await;
    if !passes(rules, quiet) {
        // As where a middlebox resets what it does not know any more.
        return;
    }
    let answer = r#"{"status":"idle"}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all((head + answer).as_bytes()).await.ok();
    // Until it is closed.
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
}
