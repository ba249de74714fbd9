use super::super::{DecodeError, decode};
use super::*;
use wakemq_core::packet::{ClientPacket, ClientPublish, QoS, ReasonCode as R, Subscribe, SubscribeFilter};

fn refused(level: ProtocolLevel, frame: &[u8]) -> R {
    let DecodeError { reason, level: told, .. } = decode(level, frame).unwrap_err();
    assert_eq!(told, Some(level));
    reason
}

fn plain(topic: &str, payload: &[u8]) -> ClientPublish {
    ClientPublish {
        topic: topic.into(),
        payload: payload.to_vec(),
        qos: QoS::AtMostOnce,
        packet_id: None,
        dup: false,
        retain: false,
        message_expiry_secs: None,
        response_topic: None,
        correlation_data: None,
    }
}

fn filter(filter: &str, qos: QoS) -> SubscribeFilter {
    let filter = filter.into();
    SubscribeFilter { filter, qos, no_local: false, retain_as_published: false, retain_handling: 0 }
}

#[test]
fn good_packets_of_3_1_1() {
    let publish = |first: u8, rest: &[u8]| framed(first, &[&s("t/a")[..], rest].concat());
    let acknowledged = ClientPublish { qos: QoS::AtLeastOnce, packet_id: Some(7), ..plain("t/a", b"{}") };
    let cases = [
        (publish(0x30, b"{}"), ClientPacket::Publish(plain("t/a", b"{}"))),
        (publish(0x30, b""), ClientPacket::Publish(plain("t/a", b""))),
        (publish(0x31, b"\0"), ClientPacket::Publish(ClientPublish { retain: true, ..plain("t/a", &[0]) })),
        (publish(0x32, b"\0\x07{}"), ClientPacket::Publish(acknowledged.clone())),
        (publish(0x3a, b"\0\x07{}"), ClientPacket::Publish(ClientPublish { dup: true, ..acknowledged })),
        (framed(0x40, &[1, 0]), ClientPacket::PubAck { packet_id: 256, reason: R::Success }),
        (
            framed(0x82, &[&[0, 1][..], &s("a/#"), &[1], &s("+"), &[2]].concat()),
            ClientPacket::Subscribe(Subscribe {
                packet_id: 1,
                subscription_id: None,
                filters: vec![filter("a/#", QoS::AtLeastOnce), filter("+", QoS::ExactlyOnce)],
            }),
        ),
        (
            framed(0xa2, &[&[0, 1][..], &s("a"), &s("b")].concat()),
            ClientPacket::Unsubscribe { packet_id: 1, filters: vec!["a".into(), "b".into()] },
        ),
        (framed(0xc0, &[]), ClientPacket::PingReq),
        (vec![0xc0, 0x80, 0], ClientPacket::PingReq),
        (framed(0xe0, &[]), ClientPacket::Disconnect { reason: R::Success, session_expiry_secs: None }),
    ];
    for (frame, expected) in cases {
        assert_eq!(decode(V4, &frame).unwrap(), expected);
    }
}

#[test]
fn good_packets_of_5() {
    let properties = [
        &[0x01, 1, 0x02, 0, 0, 1, 0][..],
        &[&[0x08][..], &s("r")].concat(),
        &[&[0x09][..], &b(&[9; 128])].concat(),
        &[&[0x03][..], &s("json")].concat(),
        &[&[0x26][..], &s("k"), &s("v"), &[0x26], &s("k"), &s("v")].concat(),
    ]
    .concat();
    // More than 127 bytes: a length of two bytes.
    let length = [u8::try_from(properties.len() & 0x7f).unwrap() | 0x80, 1];
    let full = framed(0x32, &[&s("t")[..], &[0, 7], &length, &properties, b"x"].concat());
    let cases = [
        (
            full,
            ClientPacket::Publish(ClientPublish {
                qos: QoS::AtLeastOnce,
                packet_id: Some(7),
                message_expiry_secs: Some(256),
                response_topic: Some("r".into()),
                correlation_data: Some(vec![9; 128]),
                ..plain("t", b"x")
            }),
        ),
        (framed(0x30, &[&s("t")[..], &[0]].concat()), ClientPacket::Publish(plain("t", b""))),
        (
            framed(0x30, &[&s("t")[..], &[5, 2, 0, 0, 0, 0], b"x"].concat()),
            ClientPacket::Publish(ClientPublish { message_expiry_secs: Some(0), ..plain("t", b"x") }),
        ),
        (framed(0x40, &[0, 7]), ClientPacket::PubAck { packet_id: 7, reason: R::Success }),
        (framed(0x40, &[0, 7, 0x87]), ClientPacket::PubAck { packet_id: 7, reason: R::NotAuthorized }),
        (
            framed(0x40, &[&[0, 7, 0x10, 4, 0x1f][..], &s("x")].concat()),
            ClientPacket::PubAck { packet_id: 7, reason: R::NoMatchingSubscribers },
        ),
        (
            framed(0x82, &[&[0, 1, 2, 0x0b, 9][..], &s("a"), &[0b10_1101], &s("$share/g/a"), &[0]].concat()),
            ClientPacket::Subscribe(Subscribe {
                packet_id: 1,
                subscription_id: Some(9),
                filters: vec![
                    SubscribeFilter {
                        no_local: true,
                        retain_as_published: true,
                        retain_handling: 2,
                        ..filter("a", QoS::AtLeastOnce)
                    },
                    filter("$share/g/a", QoS::AtMostOnce),
                ],
            }),
        ),
        (
            framed(0xa2, &[&[0, 1, 0][..], &s("a")].concat()),
            ClientPacket::Unsubscribe { packet_id: 1, filters: vec!["a".into()] },
        ),
        (framed(0xe0, &[]), ClientPacket::Disconnect { reason: R::Success, session_expiry_secs: None }),
        (
            framed(0xe0, &[4]),
            ClientPacket::Disconnect { reason: R::DisconnectWithWill, session_expiry_secs: None },
        ),
        (
            framed(0xe0, &[0, 5, 0x11, 0, 0, 0, 3]),
            ClientPacket::Disconnect { reason: R::Success, session_expiry_secs: Some(3) },
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(decode(V5, &frame).unwrap(), expected);
    }
}

/// What both versions refuse; `p` stands for no properties where MQTT 5 has some.
#[test]
fn faults_of_both_versions() {
    for level in [V4, V5] {
        let p: &[u8] = if level == V5 { &[0] } else { &[] };
        let publish = |first: u8, topic: &str, id: &[u8]| framed(first, &[&s(topic)[..], id, p].concat());
        let subscribe =
            |filter: &str, options: u8| framed(0x82, &[&[0, 1][..], p, &s(filter), &[options]].concat());
        let cases = [
            ("second CONNECT", connect(level, 2, &[], &[s("a")]), R::ProtocolError),
            ("CONNACK", framed(0x20, &[0, 0]), R::ProtocolError),
            ("SUBACK", framed(0x90, &[0, 1, 0]), R::ProtocolError),
            ("UNSUBACK", framed(0xb0, &[0, 1]), R::ProtocolError),
            ("PINGRESP", framed(0xd0, &[]), R::ProtocolError),
            ("PUBREC", framed(0x50, &[0, 1]), R::ProtocolError),
            ("PUBREL", framed(0x62, &[0, 1]), R::ProtocolError),
            ("PUBCOMP", framed(0x70, &[0, 1]), R::ProtocolError),
            ("type 0", framed(0x00, &[]), R::MalformedPacket),
            ("QoS 3", publish(0x36, "t", &[0, 1]), R::MalformedPacket),
            ("QoS 2", publish(0x34, "t", &[0, 1]), R::QoSNotSupported),
            ("DUP with QoS 0", publish(0x38, "t", &[]), R::MalformedPacket),
            ("packet id 0", publish(0x32, "t", &[0, 0]), R::ProtocolError),
            ("publish to a wildcard", publish(0x30, "t/#", &[]), R::TopicNameInvalid),
            ("publish to a plus", publish(0x30, "t/+/a", &[]), R::TopicNameInvalid),
            ("NUL in a topic", publish(0x30, "t\0", &[]), R::MalformedPacket),
            ("topic not UTF-8", framed(0x30, &[&b(b"\xc3")[..], p].concat()), R::MalformedPacket),
            ("topic cut off", framed(0x30, &[0, 9, b't']), R::MalformedPacket),
            ("no packet id", framed(0x32, &[&s("t")[..], &[0]].concat()), R::MalformedPacket),
            ("flags of PUBACK", framed(0x42, &[0, 1]), R::MalformedPacket),
            ("PUBACK of 0", framed(0x40, &[0, 0]), R::ProtocolError),
            ("PUBACK cut off", framed(0x40, &[1]), R::MalformedPacket),
            (
                "flags of SUBSCRIBE",
                framed(0x80, &[&[0, 1][..], p, &s("a"), &[0]].concat()),
                R::MalformedPacket,
            ),
            ("SUBSCRIBE of 0", framed(0x82, &[&[0, 0][..], p, &s("a"), &[0]].concat()), R::ProtocolError),
            ("SUBSCRIBE to nothing", framed(0x82, &[&[0, 1][..], p].concat()), R::ProtocolError),
            (
                "SUBSCRIBE without options",
                framed(0x82, &[&[0, 1][..], p, &s("a")].concat()),
                R::MalformedPacket,
            ),
            ("reserved options", subscribe("a", 0x80), R::MalformedPacket),
            ("empty filter", subscribe("", 0), R::TopicFilterInvalid),
            ("a#", subscribe("a#", 0), R::TopicFilterInvalid),
            ("#/a", subscribe("#/a", 0), R::TopicFilterInvalid),
            ("a+/b", subscribe("a+/b", 0), R::TopicFilterInvalid),
            ("share without filter", subscribe("$share/g", 0), R::TopicFilterInvalid),
            ("control character in a filter", subscribe("a\u{1b}", 0), R::MalformedPacket),
            ("flags of UNSUBSCRIBE", framed(0xa0, &[&[0, 1][..], p, &s("a")].concat()), R::MalformedPacket),
            ("UNSUBSCRIBE of 0", framed(0xa2, &[&[0, 0][..], p, &s("a")].concat()), R::ProtocolError),
            ("UNSUBSCRIBE from nothing", framed(0xa2, &[&[0, 1][..], p].concat()), R::ProtocolError),
            (
                "UNSUBSCRIBE from a#",
                framed(0xa2, &[&[0, 1][..], p, &s("a#")].concat()),
                R::TopicFilterInvalid,
            ),
            ("flags of PINGREQ", framed(0xc1, &[]), R::MalformedPacket),
            ("PINGREQ with a body", framed(0xc0, &[0]), R::MalformedPacket),
            ("flags of DISCONNECT", framed(0xe1, &[]), R::MalformedPacket),
            ("a length too small", vec![0xc0, 0, 0], R::MalformedPacket),
            ("a length too large", vec![0xc0, 1], R::MalformedPacket),
            ("a length without end", vec![0xc0, 0x80, 0x80, 0x80, 0x80, 0], R::MalformedPacket),
            ("nothing", vec![], R::MalformedPacket),
        ];
        for (name, frame, reason) in cases {
            assert_eq!(refused(level, &frame), reason, "{name}, {level:?}");
        }
    }
}

#[test]
fn faults_of_3_1_1_alone() {
    let cases = [
        ("AUTH", framed(0xf0, &[]), R::MalformedPacket),
        ("PUBACK with a reason", framed(0x40, &[0, 1, 0]), R::MalformedPacket),
        ("options of 5", framed(0x82, &[&[0, 1][..], &s("a"), &[0b100]].concat()), R::MalformedPacket),
        ("subscription of QoS 3", framed(0x82, &[&[0, 1][..], &s("a"), &[3]].concat()), R::MalformedPacket),
        ("DISCONNECT with a reason", framed(0xe0, &[0]), R::MalformedPacket),
        ("empty topic", framed(0x30, &s("")), R::TopicNameInvalid),
    ];
    for (name, frame, reason) in cases {
        assert_eq!(refused(V4, &frame), reason, "{name}");
    }
}

#[test]
fn faults_of_5_alone() {
    let publish = |properties: &[u8]| {
        let length = u8::try_from(properties.len()).unwrap();
        framed(0x30, &[&s("t")[..], &[length], properties].concat())
    };
    let subscribe = |properties: &[u8], filter: &str, options: u8| {
        let length = u8::try_from(properties.len()).unwrap();
        framed(0x82, &[&[0, 1, length][..], properties, &s(filter), &[options]].concat())
    };
    let with = |id: u8, value: Vec<u8>| [vec![id], value].concat();
    let cases = [
        ("RETAIN", framed(0x31, &[&s("t")[..], &[0]].concat()), R::RetainNotSupported),
        ("no topic", framed(0x30, &[&s("")[..], &[0]].concat()), R::ProtocolError),
        (
            "no topic but an alias",
            framed(0x30, &[&s("")[..], &[3, 0x23, 0, 1]].concat()),
            R::TopicAliasInvalid,
        ),
        ("Topic Alias", publish(&[0x23, 0, 1]), R::TopicAliasInvalid),
        ("Topic Alias 0", publish(&[0x23, 0, 0]), R::TopicAliasInvalid),
        ("Topic Alias cut off", publish(&[0x23, 0]), R::MalformedPacket),
        ("Payload Format 2", publish(&[1, 2]), R::MalformedPacket),
        ("Payload Format twice", publish(&[1, 1, 1, 1]), R::ProtocolError),
        ("expiry twice", publish(&[2, 0, 0, 0, 0, 2, 0, 0, 0, 0]), R::ProtocolError),
        ("Response Topic with wildcard", publish(&with(8, s("a/#"))), R::ProtocolError),
        ("Response Topic empty", publish(&with(8, s(""))), R::ProtocolError),
        ("Response Topic twice", publish(&[with(8, s("a")), with(8, s("a"))].concat()), R::ProtocolError),
        ("Correlation Data twice", publish(&[with(9, b(b"")), with(9, b(b""))].concat()), R::ProtocolError),
        ("Content Type twice", publish(&[with(3, s("")), with(3, s(""))].concat()), R::ProtocolError),
        ("Subscription Identifier from a client", publish(&[0x0b, 1]), R::ProtocolError),
        ("Session Expiry in PUBLISH", publish(&[0x11, 0, 0, 0, 0]), R::MalformedPacket),
        ("user property cut off", publish(&with(0x26, s("k"))), R::MalformedPacket),
        ("unknown reason of PUBACK", framed(0x40, &[0, 1, 0x01]), R::MalformedPacket),
        ("PUBACK with foreign property", framed(0x40, &[0, 1, 0, 2, 1, 1]), R::MalformedPacket),
        ("bytes behind PUBACK", framed(0x40, &[0, 1, 0, 0, 0]), R::MalformedPacket),
        ("SUBSCRIBE without properties", framed(0x82, &[0, 1]), R::MalformedPacket),
        ("subscription of QoS 3", subscribe(&[], "a", 3), R::ProtocolError),
        ("Retain Handling 3", subscribe(&[], "a", 0b11_0000), R::ProtocolError),
        ("reserved option", subscribe(&[], "a", 0b100_0000), R::MalformedPacket),
        ("No Local when shared", subscribe(&[], "$share/g/a", 0b100), R::ProtocolError),
        ("Subscription Identifier 0", subscribe(&[0x0b, 0], "a", 0), R::ProtocolError),
        ("Subscription Identifier twice", subscribe(&[0x0b, 1, 0x0b, 2], "a", 0), R::ProtocolError),
        (
            "Subscription Identifier too long",
            subscribe(&[0x0b, 0x80, 0x80, 0x80, 0x80, 1], "a", 0),
            R::MalformedPacket,
        ),
        (
            "reason string in UNSUBSCRIBE",
            framed(0xa2, &[&[0, 1, 3, 0x1f, 0, 0][..], &s("a")].concat()),
            R::MalformedPacket,
        ),
        ("DISCONNECT of a broker", framed(0xe0, &[0x8e]), R::ProtocolError),
        ("unknown reason of DISCONNECT", framed(0xe0, &[0x03]), R::MalformedPacket),
        ("Server Reference", framed(0xe0, &[&[0, 4, 0x1c][..], &s("x")].concat()), R::ProtocolError),
        (
            "Session Expiry twice",
            framed(0xe0, &[0, 10, 0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0]),
            R::ProtocolError,
        ),
        ("bytes behind DISCONNECT", framed(0xe0, &[0, 0, 0]), R::MalformedPacket),
        ("AUTH", framed(0xf0, &[]), R::ProtocolError),
        ("AUTH again", framed(0xf0, &[0x19, 0]), R::ProtocolError),
        ("needless byte in the length", vec![0xc0, 0x80, 0], R::MalformedPacket),
    ];
    for (name, frame, reason) in cases {
        assert_eq!(refused(V5, &frame), reason, "{name}");
    }
}
