//! What we write is read by `rumqttc`, which the agents use, and what it writes is read by us.

use super::super::{EncodeError, Peer, decode, decode_connect, encode};
use super::*;
use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use wakemq_core::packet::{
    ClientPacket, ConnAck, QoS, ReasonCode as R, ServerPacket, ServerPublish, SubscribeFilter,
};

fn peer(level: ProtocolLevel) -> Peer {
    Peer::unknown(level)
}

fn encoded(peer: &Peer, packet: &ServerPacket) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(peer, packet, &mut out).unwrap();
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

fn read_v5(bytes: &[u8]) -> v5::Packet {
    let mut bytes = BytesMut::from(bytes);
    let packet = v5::Packet::read(&mut bytes, None).unwrap();
    assert!(bytes.is_empty());
    packet
}

fn read_v4(bytes: &[u8]) -> v4::Packet {
    let mut bytes = BytesMut::from(bytes);
    let packet = v4::Packet::read(&mut bytes, usize::MAX).unwrap();
    assert!(bytes.is_empty());
    packet
}

fn user() -> Vec<(String, String)> {
    vec![("wakemq-return".into(), "60".into())]
}

fn disconnect() -> ServerPacket {
    ServerPacket::Disconnect {
        reason: R::SessionTakenOver,
        reason_string: Some("a newer connection".into()),
        user_properties: user(),
    }
}

fn suback() -> ServerPacket {
    ServerPacket::SubAck {
        packet_id: 3,
        reasons: vec![R::GrantedQoS1, R::NotAuthorized],
        reason_string: Some("not yours".into()),
    }
}

#[test]
fn connack_of_5() {
    let ack = ConnAck {
        session_expiry_secs: Some(0),
        receive_maximum: Some(16),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(65_536),
        assigned_client_id: Some("op-1".into()),
        reason_string: Some("hello".into()),
        user_properties: user(),
        wildcard_subscription_available: Some(true),
        subscription_ids_available: Some(false),
        shared_subscription_available: Some(false),
        server_keep_alive_secs: Some(600),
        ..ConnAck::default()
    };
    let v5::Packet::ConnAck(got) = read_v5(&encoded(&peer(V5), &ServerPacket::ConnAck(ack))) else {
        panic!()
    };
    let expected = v5::ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_max: Some(16),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(65_536),
        assigned_client_identifier: Some("op-1".into()),
        topic_alias_max: None,
        reason_string: Some("hello".into()),
        user_properties: user(),
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: Some(600),
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    };
    assert_eq!(got.code, v5::ConnectReturnCode::Success);
    assert_eq!(got.properties, Some(expected));

    let refusal = ConnAck { reason: R::BadUserNameOrPassword, ..ConnAck::default() };
    assert_eq!(encoded(&peer(V5), &ServerPacket::ConnAck(refusal)), [0x20, 3, 0, 0x86, 0]);
}

#[test]
fn connack_of_3_1_1() {
    let of = |reason| encoded(&peer(V4), &ServerPacket::ConnAck(ConnAck { reason, ..ConnAck::default() }));
    let v4::Packet::ConnAck(got) = read_v4(&of(R::BadUserNameOrPassword)) else { panic!() };
    assert_eq!(got.code, v4::ConnectReturnCode::BadUserNamePassword);
    assert_eq!(of(R::Success), [0x20, 2, 0, 0]);
    assert_eq!(of(R::UnsupportedProtocolVersion), [0x20, 2, 0, 1]);
    assert!(of(R::MalformedPacket).is_empty(), "3.1.1 closes without a word");
}

#[test]
fn publications() {
    let publish = ServerPublish {
        topic: "wake/v1/agents/a/commands".into(),
        payload: vec![b'x'; 20_000],
        packet_id: Some(513),
        message_expiry_secs: Some(9),
        correlation_data: Some(vec![0, 1]),
        user_properties: user(),
    };
    let packet = ServerPacket::Publish(publish.clone());
    let v5::Packet::Publish(got) = read_v5(&encoded(&peer(V5), &packet)) else { panic!() };
    let properties = got.properties.unwrap();
    assert_eq!((got.pkid, got.dup, got.retain, got.payload.len()), (513, false, false, 20_000));
    assert_eq!(got.qos, rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
    assert_eq!(properties.correlation_data.as_deref(), Some(&[0, 1][..]));
    assert_eq!((properties.message_expiry_interval, properties.user_properties), (Some(9), user()));

    let v4::Packet::Publish(got) = read_v4(&encoded(&peer(V4), &packet)) else { panic!() };
    assert_eq!((got.pkid, got.topic.as_str(), got.payload.len()), (513, publish.topic.as_str(), 20_000));

    let unacknowledged = ServerPacket::Publish(ServerPublish { packet_id: None, ..publish });
    let v4::Packet::Publish(got) = read_v4(&encoded(&peer(V4), &unacknowledged)) else { panic!() };
    assert_eq!(got.qos, rumqttc::mqttbytes::QoS::AtMostOnce);
    assert_eq!(got.payload.len(), 20_000);
}

#[test]
fn acknowledgements() {
    let puback = |reason, why: Option<&str>| ServerPacket::PubAck {
        packet_id: 7,
        reason,
        reason_string: why.map(String::from),
    };
    assert_eq!(encoded(&peer(V5), &puback(R::Success, None)), [0x40, 2, 0, 7]);
    assert_eq!(encoded(&peer(V5), &puback(R::NotAuthorized, None)), [0x40, 3, 0, 7, 0x87]);
    assert_eq!(encoded(&peer(V4), &puback(R::NotAuthorized, Some("x"))), [0x40, 2, 0, 7]);
    let v5::Packet::PubAck(got) = read_v5(&encoded(&peer(V5), &puback(R::QuotaExceeded, Some("full"))))
    else {
        panic!()
    };
    assert_eq!((got.pkid, got.reason), (7, v5::PubAckReason::QuotaExceeded));
    assert_eq!(got.properties.unwrap().reason_string.as_deref(), Some("full"));
    let v5::Packet::PubAck(got) = read_v5(&encoded(&peer(V5), &puback(R::NotAuthorized, None))) else {
        panic!()
    };
    assert_eq!(got.reason, v5::PubAckReason::NotAuthorized);

    let v5::Packet::SubAck(got) = read_v5(&encoded(&peer(V5), &suback())) else { panic!() };
    assert_eq!(got.properties.unwrap().reason_string.as_deref(), Some("not yours"));
    assert_eq!(got.return_codes[1], v5::SubscribeReasonCode::NotAuthorized);
    assert_eq!(encoded(&peer(V4), &suback()), [0x90, 4, 0, 3, 1, 0x80]);

    let unsuback =
        ServerPacket::UnsubAck { packet_id: 3, reasons: vec![R::Success, R::NoSubscriptionExisted] };
    let v5::Packet::UnsubAck(got) = read_v5(&encoded(&peer(V5), &unsuback)) else { panic!() };
    assert_eq!(got.reasons, [v5::UnsubAckReason::Success, v5::UnsubAckReason::NoSubscriptionExisted]);
    assert_eq!(encoded(&peer(V4), &unsuback), [0xb0, 2, 0, 3]);

    assert_eq!(encoded(&peer(V4), &ServerPacket::PingResp), [0xd0, 0]);
    assert_eq!(encoded(&peer(V5), &ServerPacket::PingResp), [0xd0, 0]);
}

#[test]
fn disconnect_exists_in_5_only() {
    let v5::Packet::Disconnect(got) = read_v5(&encoded(&peer(V5), &disconnect())) else { panic!() };
    assert_eq!(got.reason_code, v5::DisconnectReasonCode::SessionTakenOver);
    let properties = got.properties.unwrap();
    assert_eq!(
        (properties.reason_string.as_deref(), properties.user_properties),
        (Some("a newer connection"), user())
    );
    assert!(encoded(&peer(V4), &disconnect()).is_empty());
    let bare =
        ServerPacket::Disconnect { reason: R::ServerBusy, reason_string: None, user_properties: vec![] };
    let v5::Packet::Disconnect(got) = read_v5(&encoded(&peer(V5), &bare)) else { panic!() };
    assert_eq!(got.reason_code, v5::DisconnectReasonCode::ServerBusy);
}

#[test]
fn explanations_give_way() {
    let quiet = Peer { problem_information: false, ..peer(V5) };
    assert_eq!(encoded(&quiet, &suback()), [0x90, 5, 0, 3, 0, 1, 0x87]);
    // DISCONNECT and CONNACK may explain even so.
    assert_eq!(encoded(&quiet, &disconnect()), encoded(&peer(V5), &disconnect()));

    let full = encoded(&peer(V5), &disconnect()).len();
    let limited = |size: usize| Peer { maximum_packet_size: u32::try_from(size).unwrap(), ..peer(V5) };
    let v5::Packet::Disconnect(got) = read_v5(&encoded(&limited(full - 1), &disconnect())) else { panic!() };
    let properties = got.properties.unwrap();
    assert_eq!((properties.reason_string, properties.user_properties), (None, user()));
    assert_eq!(encoded(&limited(5), &disconnect()), [0xe0, 2, 0x8e, 0]);
    assert_eq!(encoded(&limited(full), &disconnect()).len(), full);
}

#[test]
fn what_a_client_cannot_take_is_not_written() {
    let publish = ServerPacket::Publish(ServerPublish {
        topic: "t".into(),
        payload: vec![0; 100],
        ..ServerPublish::default()
    });
    let size = encoded(&peer(V5), &publish).len();
    let limit = |size: usize| Peer { maximum_packet_size: u32::try_from(size).unwrap(), ..peer(V5) };
    assert_eq!(encoded(&limit(size), &publish).len(), size);
    let mut out = b"kept".to_vec();
    assert_eq!(encode(&limit(size - 1), &publish, &mut out), Err(EncodeError::TooLarge));
    let long = ServerPacket::Publish(ServerPublish { topic: "t".repeat(65_536), ..ServerPublish::default() });
    assert_eq!(encode(&peer(V5), &long, &mut out), Err(EncodeError::FieldTooLong));
    assert_eq!(out, b"kept");
}

#[test]
fn what_the_agents_codec_writes() {
    let mut out = BytesMut::new();
    let properties = v5::ConnectProperties {
        receive_maximum: Some(16),
        max_packet_size: Some(65_536),
        user_properties: vec![("instance".into(), "i".into())],
        ..v5::ConnectProperties::new()
    };
    let connect = v5::Connect {
        keep_alive: 60,
        client_id: "a".into(),
        clean_start: true,
        properties: Some(properties),
    };
    let login = v5::Login { username: "a".into(), password: "wma_x".into() };
    v5::Packet::Connect(connect, None, Some(login)).write(&mut out, None).unwrap();
    let got = decode_connect(&out).unwrap();
    assert_eq!((got.instance.as_deref(), got.receive_maximum), (Some("i"), 16));
    assert_eq!(got.password.as_deref(), Some(&b"wma_x"[..]));

    out.clear();
    let filter = v5::Filter::new("wake/v1/agents/a/commands", rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
    let mut subscribe = v5::Subscribe::new(filter, None);
    subscribe.pkid = 1;
    v5::Packet::Subscribe(subscribe).write(&mut out, None).unwrap();
    let ClientPacket::Subscribe(got) = decode(V5, &out).unwrap() else { panic!() };
    let expected = SubscribeFilter {
        filter: "wake/v1/agents/a/commands".into(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    assert_eq!(got.filters, [expected]);

    out.clear();
    let mut publish = v4::Publish::new("t", rumqttc::mqttbytes::QoS::AtLeastOnce, "{}");
    publish.pkid = 9;
    v4::Packet::Publish(publish).write(&mut out, usize::MAX).unwrap();
    let ClientPacket::Publish(got) = decode(V4, &out).unwrap() else { panic!() };
    assert_eq!((got.packet_id, got.payload.as_slice()), (Some(9), &b"{}"[..]));

    out.clear();
    v5::Packet::PubAck(v5::PubAck::new(9, None)).write(&mut out, None).unwrap();
    assert_eq!(decode(V5, &out).unwrap(), ClientPacket::PubAck { packet_id: 9, reason: R::Success });

    out.clear();
    let end = v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection);
    v5::Packet::Disconnect(end).write(&mut out, None).unwrap();
    assert!(matches!(decode(V5, &out).unwrap(), ClientPacket::Disconnect { reason: R::Success, .. }));
}
