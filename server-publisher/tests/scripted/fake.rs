//! A broker that does what a test tells it, packet by packet, over real TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck,
    PubAckProperties, PubAckReason, Publish, PublishProperties, SubAck, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wakemq_protocol::http::Profile;
use wakemq_protocol::{
    AgentId, CommandState, Counts, GroupUpdate, News, Outcome, PowerStep, PowerWhat, Secret, SecretKind,
    Submission, Target, Timestamp, Topic, Update,
};

/// A listening fake.
pub(crate) struct Fake {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: String,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca = key.cert.pem();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), ca }
    }

    pub(crate) fn profile(&self) -> Profile {
        let port = self.listener.local_addr().unwrap().port();
        Profile {
            operator: "console".parse().unwrap(),
            secret: Secret::from_random(SecretKind::Operator, &[9; 32]),
            endpoints: vec![format!("localhost:{port}")],
            ca: Some(self.ca.clone()),
        }
    }

    /// Writes the profile where the program finds it.
    pub(crate) fn write_profile(&self, dir: &Path) -> PathBuf {
        let path = dir.join("operator.toml");
        std::fs::write(&path, toml::to_string(&self.profile()).unwrap()).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Accepts the next connection, whatever it speaks.
    pub(crate) async fn accept(&self) -> TlsStream<TcpStream> {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            // The loser of a race between addresses goes away in the middle.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return stream;
            }
        }
    }

    /// Accepts an MQTT connection up to its CONNECT.
    pub(crate) async fn peer(&self) -> Peer {
        let mut peer = Peer { stream: self.accept().await, read: BytesMut::new() };
        match peer.recv().await {
            Some(Packet::Connect(connect, _, Some(login))) => {
                assert!(!connect.client_id.is_empty());
                assert_eq!(login.username, "op:console");
                assert_eq!(login.password, self.profile().secret.expose());
            }
            other => panic!("{other:?}"),
        }
        peer
    }

    /// Accepts an MQTT connection up to its CONNACK.
    async fn connected(&self, receive_max: u16) -> Peer {
        let mut peer = self.peer().await;
        let properties = ConnAckProperties {
            session_expiry_interval: None,
            receive_max: Some(receive_max),
            max_qos: None,
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        };
        peer.connack(ConnectReturnCode::Success, Some(properties)).await;
        peer
    }

    /// Accepts a publisher's connection up to its subscription.
    pub(crate) async fn session(&self, receive_max: u16) -> Peer {
        let mut peer = self.connected(receive_max).await;
        let filter = peer.grant().await;
        assert!(Topic::is_responses_filter(&filter, &"console".parse().unwrap()), "{filter}");
        peer
    }

    /// Accepts a watcher's connection up to its last subscription.
    pub(crate) async fn watcher(&self, filters: &[&str]) -> Peer {
        let mut peer = self.connected(10).await;
        for filter in filters {
            assert_eq!(peer.grant().await, *filter);
        }
        peer
    }

    /// Accepts one HTTP connection, and answers its requests in turn; returns what was asked.
    pub(crate) async fn http(&self, answers: &[(u16, &str)]) -> Vec<String> {
        let mut stream = self.accept().await;
        let mut requests = Vec::new();
        for (status, body) in answers {
            requests.push(read_request(&mut stream).await);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        // Until the client has gone, so that nothing is cut off.
        _ = stream.read(&mut [0; 1]).await;
        requests
    }
}

/// Reads a request with its body, of either length.
async fn read_request(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "the request ends early: {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = match length {
            Some(length) => body.len() >= length.parse().unwrap(),
            None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
            None => true,
        };
        if whole {
            return text;
        }
    }
}

/// One MQTT connection, seen from the broker.
pub(crate) struct Peer {
    stream: TlsStream<TcpStream>,
    read: BytesMut,
}

/// A submission as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Came {
    pub(crate) pkid: u16,
    pub(crate) target: Target,
    pub(crate) submission: Submission,
    pub(crate) response_topic: String,
    pub(crate) correlation_data: bytes::Bytes,
}

impl Came {
    pub(crate) fn agent(&self) -> &AgentId {
        match &self.target {
            Target::Agent(agent) => agent,
            Target::Group(group) => panic!("for the group {group}"),
        }
    }
}

fn outcome(came: &Came, state: CommandState) -> Outcome {
    Outcome {
        agent: came.agent().clone(),
        state,
        at: Timestamp::from_unix_ms(1_000),
        detail: None,
        superseded_by: None,
        cancel_requested: false,
        late: None,
    }
}

impl Peer {
    /// Receives the next packet; `None` at the end of the connection.
    pub(crate) async fn recv(&mut self) -> Option<Packet> {
        loop {
            // A DISCONNECT without a reason code (MQTT 5 §3.14.2.1), which the codec does not take.
            if self.read.starts_with(&[0xE0, 0]) {
                self.read.advance(2);
                return Some(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)));
            }
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn connack(&mut self, code: ConnectReturnCode, properties: Option<ConnAckProperties>) {
        self.send(Packet::ConnAck(ConnAck { session_present: false, code, properties })).await;
    }

    /// Receives a subscription and grants it; returns its filter.
    pub(crate) async fn grant(&mut self) -> String {
        match self.recv().await {
            Some(Packet::Subscribe(subscribe)) => {
                let code = SubscribeReasonCode::Success(QoS::AtLeastOnce);
                self.send(Packet::SubAck(SubAck {
                    pkid: subscribe.pkid,
                    return_codes: vec![code],
                    properties: None,
                }))
                .await;
                subscribe.filters[0].path.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Receives the next submission; acknowledgements of news are passed over.
    pub(crate) async fn submission(&mut self) -> Came {
        loop {
            match self.recv().await {
                Some(Packet::PubAck(_)) => {}
                Some(Packet::Publish(publish)) => {
                    let properties = publish.properties.unwrap();
                    let topic: Topic = std::str::from_utf8(&publish.topic).unwrap().parse().unwrap();
                    let target = match topic {
                        Topic::AgentCommands(agent) => Target::Agent(agent),
                        Topic::GroupCommands(group) => Target::Group(group),
                        other @ (Topic::AgentReceipts(_)
                        | Topic::AgentFacts(_)
                        | Topic::AgentReports(_)
                        | Topic::Event { .. }
                        | Topic::Response { .. }) => panic!("{other}"),
                    };
                    assert_eq!(publish.qos, QoS::AtLeastOnce);
                    return Came {
                        pkid: publish.pkid,
                        target,
                        submission: Submission::from_json(&publish.payload).unwrap(),
                        response_topic: properties.response_topic.unwrap(),
                        correlation_data: properties.correlation_data.unwrap(),
                    };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn accept(&mut self, came: &Came) {
        self.send(Packet::PubAck(PubAck::new(came.pkid, None))).await;
    }

    pub(crate) async fn refuse(&mut self, came: &Came, reason: PubAckReason, words: &str) {
        let properties =
            PubAckProperties { reason_string: Some(words.to_owned()), user_properties: Vec::new() };
        self.send(Packet::PubAck(PubAck { pkid: came.pkid, reason, properties: Some(properties) })).await;
    }

    /// Tells what became of a submission for an agent.
    pub(crate) async fn tell(&mut self, came: &Came, state: CommandState) {
        self.tell_why(came, state, None).await;
    }

    /// Tells what became of a submission for an agent, and why.
    pub(crate) async fn tell_why(&mut self, came: &Came, state: CommandState, detail: Option<&str>) {
        let detail = detail.map(str::to_owned);
        let update = Update::new(came.submission.id.unwrap(), Outcome { detail, ..outcome(came, state) });
        self.respond(came, &News::Agent(update)).await;
    }

    /// Tells a step on the way of a submission for an agent, `state` being what has become of it so far.
    pub(crate) async fn tell_step(&mut self, came: &Came, state: CommandState, what: PowerWhat) {
        let mut update = Update::new(came.submission.id.unwrap(), outcome(came, state));
        update.evidence = Some(Box::new(PowerStep { at: Timestamp::from_unix_ms(2_000), what }));
        self.respond(came, &News::Agent(update)).await;
    }

    /// Tells where a submission for a group stands.
    pub(crate) async fn tell_counts(&mut self, came: &Came, counts: Counts) {
        let Target::Group(group) = came.target.clone() else { panic!("for an agent") };
        let (id, at) = (came.submission.id.unwrap(), Timestamp::from_unix_ms(1_000));
        let state = CommandState::Queued;
        self.respond(came, &News::Group(GroupUpdate { id, group, state, at, counts, detail: None })).await;
    }

    async fn respond(&mut self, came: &Came, news: &News) {
        let properties = PublishProperties {
            correlation_data: Some(came.correlation_data.clone()),
            ..PublishProperties::default()
        };
        let payload = serde_json::to_vec(news).unwrap();
        let mut publish =
            Publish::new(came.response_topic.clone(), QoS::AtLeastOnce, payload, Some(properties));
        publish.pkid = came.pkid;
        self.send(Packet::Publish(publish)).await;
    }

    /// Sends an event, whatever it says.
    pub(crate) async fn event(&mut self, pkid: u16, event: &serde_json::Value) {
        let mut publish = Publish::new("wake/v1/events/presence", QoS::AtLeastOnce, event.to_string(), None);
        publish.pkid = pkid;
        self.send(Packet::Publish(publish)).await;
    }
}
