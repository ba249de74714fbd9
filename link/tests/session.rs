//! An MQTT 5 session against a scripted server over an in-memory stream, in virtual time.
#![expect(clippy::unwrap_used, reason = "helpers of a test fail like the test itself")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::*;
use rumqttc::v5::mqttbytes::{Error, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};
use wakemq_link::mqtt::{
    ConnectError, ConnectOptions, Connected, Event, Outgoing, PublishError, ReasonCode, Session, SessionError,
};
use wakemq_protocol::{Secret, SecretKind};

/// The other end.
struct Server {
    stream: DuplexStream,
    read: BytesMut,
}

impl Server {
    async fn receive(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {
                    if self.stream.read_buf(&mut self.read).await.unwrap() == 0 {
                        return None;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }
}

fn options() -> ConnectOptions {
    let mut options = ConnectOptions::new("a1", "a1", Secret::from_random(SecretKind::Agent, &[1; 32]));
    options.user_properties = vec![("instance".to_owned(), "i1".to_owned())];
    options
}

fn properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: vec![],
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

async fn begin(
    code: ConnectReturnCode,
    properties: ConnAckProperties,
) -> (Result<(Session<DuplexStream>, Connected), ConnectError>, Server, Packet) {
    let (client, stream) = duplex(1 << 20);
    let mut server = Server { stream, read: BytesMut::new() };
    let options = options();
    let (result, connect) = tokio::join!(Session::connect(client, &options), async {
        let connect = server.receive().await.unwrap();
        server
            .send(Packet::ConnAck(ConnAck { session_present: false, code, properties: Some(properties) }))
            .await;
        connect
    });
    (result, server, connect)
}

async fn session(properties: ConnAckProperties) -> (Session<DuplexStream>, Server) {
    let (result, server, _) = begin(ConnectReturnCode::Success, properties).await;
    (result.unwrap().0, server)
}

fn message(n: u8) -> Outgoing {
    Outgoing { topic: "t".into(), payload: Bytes::from(vec![n]), ..Outgoing::default() }
}

/// Lets the session write what it has; nothing is to come.
async fn settle(session: &mut Session<DuplexStream>) {
    let nothing = timeout(Duration::from_millis(1), session.next_event()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

async fn publishes(server: &mut Server, count: usize) -> Vec<(u16, u8)> {
    let mut got = Vec::new();
    while got.len() < count {
        match server.receive().await {
            Some(Packet::Publish(publish)) => got.push((publish.pkid, publish.payload[0])),
            other => panic!("{other:?}"),
        }
    }
    got
}

#[tokio::test(start_paused = true)]
async fn connect_says_who_and_learns_the_limits() {
    let said = ConnAckProperties {
        receive_max: Some(3),
        max_packet_size: Some(1000),
        server_keep_alive: Some(77),
        user_properties: vec![("wakemq-return".into(), "25".into())],
        ..properties()
    };
    let (result, _server, connect) = begin(ConnectReturnCode::Success, said).await;
    let expected = Connected {
        keep_alive_secs: 77,
        maximum_packet_size: 1000,
        receive_maximum: 3,
        return_secs: 25,
        assigned_client_id: None,
    };
    assert_eq!(result.unwrap().1, expected);
    let Packet::Connect(connect, None, Some(login)) = connect else { panic!("{connect:?}") };
    assert_eq!((&*connect.client_id, connect.keep_alive, connect.clean_start), ("a1", 300, true));
    assert_eq!((&*login.username, &login.password[..4]), ("a1", "wma_"));
    let asked = connect.properties.unwrap();
    assert_eq!((asked.receive_maximum, asked.max_packet_size), (Some(16), Some(65_536)));
    assert_eq!(asked.user_properties, [("instance".to_owned(), "i1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_code_reason_and_whether_to_try_again() {
    let words = || ConnAckProperties { reason_string: Some("unknown agent".into()), ..properties() };
    for (code, byte, retryable, not_allowed) in [
        (ConnectReturnCode::BadUserNamePassword, 0x86, false, true),
        (ConnectReturnCode::NotAuthorized, 0x87, false, true),
        (ConnectReturnCode::ClientIdentifierNotValid, 0x85, false, false),
        (ConnectReturnCode::ServerBusy, 0x89, true, false),
        (ConnectReturnCode::ConnectionRateExceeded, 0x9F, true, false),
    ] {
        let error = begin(code, words()).await.0.unwrap_err();
        assert_eq!((error.is_retryable(), error.is_not_allowed()), (retryable, not_allowed), "{error}");
        assert!(error.to_string().contains("unknown agent"), "{error}");
        let ConnectError::Refused { code, .. } = error else { panic!("{error}") };
        assert_eq!(code, ReasonCode(byte));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let (client, _server) = duplex(1024);
    let error = Session::connect(client, &options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(_)) && error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn publishes_stay_within_the_receive_maximum_and_take_free_ids() {
    let (mut session, mut server) = session(ConnAckProperties { receive_max: Some(2), ..properties() }).await;
    let first = session.publish(message(1)).unwrap();
    let second = session.publish(message(2)).unwrap();
    assert_eq!((session.publish(message(3)), session.capacity()), (Err(PublishError::Full), 0));
    session.subscribe("s").unwrap();
    settle(&mut session).await;
    assert_eq!(publishes(&mut server, 2).await, [(1, 1), (2, 2)]);
    let Some(Packet::Subscribe(subscribe)) = server.receive().await else { panic!() };
    assert!(subscribe.pkid > 2, "an id in flight was used twice");
    // Answered out of order, and one refused.
    let refused = PubAck {
        pkid: 2,
        reason: PubAckReason::NotAuthorized,
        properties: Some(PubAckProperties { reason_string: Some("no".into()), user_properties: vec![] }),
    };
    server.send(Packet::PubAck(refused)).await;
    let told = session.next_event().await.unwrap();
    let expected = Event::Published { token: second, code: ReasonCode(0x87), reason: Some("no".into()) };
    assert_eq!(told, expected);
    let third = session.publish(message(3)).unwrap();
    settle(&mut session).await;
    assert_eq!(publishes(&mut server, 1).await, [(2, 3)]);
    server.send(Packet::PubAck(PubAck::new(1, None))).await;
    server.send(Packet::PubAck(PubAck::new(2, None))).await;
    for token in [first, third] {
        let told = session.next_event().await.unwrap();
        assert_eq!(told, Event::Published { token, code: ReasonCode::SUCCESS, reason: None });
    }
    let suback = SubAck {
        pkid: subscribe.pkid,
        return_codes: vec![SubscribeReasonCode::ImplementationSpecific],
        properties: None,
    };
    server.send(Packet::SubAck(suback)).await;
    let told = session.next_event().await.unwrap();
    assert_eq!(told, Event::Subscribed { codes: vec![ReasonCode(0x83)], reason: None });
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_is_refused_before_it_is_sent() {
    let (mut session, _server) =
        session(ConnAckProperties { max_packet_size: Some(100), ..properties() }).await;
    let large = Outgoing { payload: Bytes::from(vec![0; 100]), ..message(0) };
    assert!(matches!(session.publish(large), Err(PublishError::TooLarge { max: 100, .. })));
    for topic in ["", "a/#", "+"] {
        assert_eq!(session.publish(Outgoing { topic: topic.into(), ..message(0) }), Err(PublishError::Topic));
    }
    assert_eq!(session.capacity(), 16, "a refused message takes no room");
}

#[tokio::test(start_paused = true)]
async fn no_byte_is_lost_when_next_event_is_dropped() {
    let (mut session, mut server) = session(properties()).await;
    let mut publish = Publish::new("t", QoS::AtLeastOnce, "payload", None);
    publish.pkid = 9;
    let mut bytes = BytesMut::new();
    Packet::Publish(publish).write(&mut bytes, None).unwrap();
    let (last, before) = bytes.split_last().unwrap();
    for &byte in before {
        server.stream.write_all(&[byte]).await.unwrap();
        settle(&mut session).await;
    }
    server.stream.write_all(&[*last]).await.unwrap();
    let Event::Publish(incoming) = session.next_event().await.unwrap() else { panic!() };
    assert_eq!((&*incoming.topic, &incoming.payload[..], incoming.pkid), ("t", &b"payload"[..], Some(9)));
    // Not acknowledged until it is said.
    settle(&mut session).await;
    session.ack(9).unwrap();
    settle(&mut session).await;
    assert_eq!(server.receive().await, Some(Packet::PubAck(PubAck::new(9, None))));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_session_pings_and_ends_when_nobody_answers() {
    let (mut session, mut server) =
        session(ConnAckProperties { server_keep_alive: Some(100), ..properties() }).await;
    let begin = Instant::now();
    let serving = async {
        for n in 1..=2 {
            assert_eq!(server.receive().await, Some(Packet::PingReq(PingReq)));
            assert_eq!(begin.elapsed().as_secs(), n * 90);
            if n == 1 {
                server.send(Packet::PingResp(PingResp)).await;
            }
        }
        server
    };
    let (_server, ended) = tokio::join!(serving, async {
        assert_eq!(session.next_event().await.unwrap(), Event::Idle);
        session.next_event().await
    });
    assert!(matches!(ended, Err(SessionError::Silent(quiet)) if quiet.as_secs() == 90), "{ended:?}");
    assert_eq!(begin.elapsed().as_secs(), 200);
    assert!(session.next_event().await.is_err(), "what is over stays over");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cut_tells_for_how_long_it_was_quiet() {
    for (secs, expected) in [(40, 40), (95, 90)] {
        let (mut session, server) =
            session(ConnAckProperties { server_keep_alive: Some(100), ..properties() }).await;
        let cutting = async {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            drop(server);
        };
        let (ended, ()) = tokio::join!(session.next_event(), cutting);
        assert!(matches!(ended, Err(SessionError::Closed)), "{ended:?}");
        assert_eq!(session.cut_after().map(|quiet| quiet.as_secs()), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_whose_answer_is_missed_long_after_it_was_due_met_a_suspend() {
    let (mut session, mut server) =
        session(ConnAckProperties { server_keep_alive: Some(100), ..properties() }).await;
    tokio::select! {
        event = session.next_event() => panic!("{event:?}"),
        packet = server.receive() => assert_eq!(packet, Some(Packet::PingReq(PingReq))),
    }
    tokio::time::advance(Duration::from_secs(3600)).await;
    let ended = session.next_event().await;
    assert!(matches!(ended, Err(SessionError::PingTimeout)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_is_a_ping_at_once_and_tells_nothing_of_the_interval() {
    let (mut session, mut server) =
        session(ConnAckProperties { server_keep_alive: Some(100), ..properties() }).await;
    let begin = Instant::now();
    session.check().unwrap();
    session.check().unwrap();
    let serving = async {
        assert_eq!(server.receive().await, Some(Packet::PingReq(PingReq)));
        server.send(Packet::PingResp(PingResp)).await;
        server
    };
    let (mut server, event) = tokio::join!(serving, session.next_event());
    assert_eq!((event.unwrap(), begin.elapsed()), (Event::Alive, Duration::ZERO));
    // The interval begins anew; and the answer to one that had another word within it tells nothing.
    tokio::time::sleep(Duration::from_secs(50)).await;
    session.publish(message(0)).unwrap();
    let serving = async {
        assert!(matches!(server.receive().await, Some(Packet::Publish(_))));
        assert_eq!(server.receive().await, Some(Packet::PingReq(PingReq)));
        assert_eq!(begin.elapsed().as_secs(), 90);
        server.send(Packet::PingResp(PingResp)).await;
        assert_eq!(server.receive().await, Some(Packet::PingReq(PingReq)));
        server.send(Packet::PingResp(PingResp)).await;
    };
    let ((), event) = tokio::join!(serving, session.next_event());
    assert_eq!((event.unwrap(), begin.elapsed().as_secs()), (Event::Idle, 180));
    session.check().unwrap();
    let ended = session.next_event().await;
    assert!(matches!(ended, Err(SessionError::PingTimeout)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn sending_alone_does_not_hide_a_server_that_is_gone() {
    let (mut session, mut server) =
        session(ConnAckProperties { server_keep_alive: Some(100), ..properties() }).await;
    let begin = Instant::now();
    let ended = loop {
        if session.capacity() > 0 {
            session.publish(message(0)).unwrap();
        }
        if let Ok(ended) = timeout(Duration::from_secs(10), session.next_event()).await {
            break ended;
        }
    };
    assert!(matches!(ended, Err(SessionError::PingTimeout)), "{ended:?}");
    assert_eq!(begin.elapsed().as_secs(), 110);
    assert!(server.receive().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_the_protocol_is_told_so() {
    let publish = |qos, pkid, alias| {
        let properties = PublishProperties { topic_alias: alias, ..Default::default() };
        let mut publish = Publish::new("t", qos, "", Some(properties));
        publish.pkid = pkid;
        Packet::Publish(publish)
    };
    for packet in [
        Packet::PubAck(PubAck::new(1, None)),
        Packet::PubAck(PubAck::new(400, None)),
        Packet::PubRec(PubRec::new(1, None)),
        Packet::PingReq(PingReq),
        publish(QoS::ExactlyOnce, 1, None),
        publish(QoS::AtLeastOnce, 1, Some(1)),
        Packet::SubAck(SubAck {
            pkid: 17,
            return_codes: vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)],
            properties: None,
        }),
    ] {
        let (mut session, mut server) = session(properties()).await;
        server.send(packet.clone()).await;
        let ended = session.next_event().await;
        assert!(matches!(ended, Err(SessionError::Protocol(_))), "{packet:?}: {ended:?}");
        drop(session);
        let mut goodbye = Vec::new();
        server.stream.read_to_end(&mut goodbye).await.unwrap();
        assert_eq!(goodbye, [0xE0, 2, 0x82, 0], "{packet:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_the_receive_maximum_is_a_protocol_error() {
    let (mut session, mut server) = session(properties()).await;
    for pkid in 1..=17 {
        let mut publish = Publish::new("t", QoS::AtLeastOnce, "", None);
        publish.pkid = pkid;
        server.send(Packet::Publish(publish)).await;
    }
    for _ in 1..=16 {
        assert!(matches!(session.next_event().await, Ok(Event::Publish(_))));
    }
    assert!(matches!(session.next_event().await, Err(SessionError::Protocol(_))));
}

#[tokio::test(start_paused = true)]
async fn the_servers_goodbye_tells_when_to_return() {
    let (mut session, mut server) = session(properties()).await;
    let goodbye = Disconnect {
        reason_code: DisconnectReasonCode::ServerShuttingDown,
        properties: Some(DisconnectProperties {
            session_expiry_interval: None,
            reason_string: Some("restart".into()),
            user_properties: vec![("wakemq-return".into(), "5".into())],
            server_reference: None,
        }),
    };
    server.send(Packet::Disconnect(goodbye)).await;
    let expected = Event::ServerDisconnect {
        code: ReasonCode::SHUTTING_DOWN,
        reason: Some("restart".into()),
        return_secs: Some(5),
    };
    assert_eq!(session.next_event().await.unwrap(), expected);
    assert!(matches!(session.next_event().await, Err(SessionError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn goodbye_is_disconnect_and_a_closed_stream() {
    let (mut session, mut server) = session(properties()).await;
    session.publish(message(1)).unwrap();
    session.disconnect().await.unwrap();
    assert_eq!(publishes(&mut server, 1).await.len(), 1, "what was queued goes out first");
    let mut rest = Vec::new();
    server.stream.read_to_end(&mut rest).await.unwrap();
    rest.splice(0..0, server.read.iter().copied());
    assert_eq!(rest, [0xE0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_waits_until_the_server_knows() {
    let (session, mut server) = session(properties()).await;
    let begin = Instant::now();
    let serving = async {
        let mut rest = Vec::new();
        server.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0xE0, 0]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(server);
    };
    let ((), left) = tokio::join!(serving, session.leave());
    left.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_millis(500));
    // Not for ever.
    let (left, _server) = self::session(properties()).await;
    left.leave().await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_millis(2500));
}
