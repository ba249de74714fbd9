use super::super::{DecodeError, Frame, connect_level, decode_connect, frame};
use super::*;
use wakemq_core::packet::{Connect, QoS, ReasonCode as R, Will};

fn refused(frame: &[u8]) -> (R, Option<ProtocolLevel>) {
    let DecodeError { reason, level, .. } = decode_connect(frame).unwrap_err();
    (reason, level)
}

#[test]
fn the_least_that_is_possible() {
    for level in [V4, V5] {
        let got = decode_connect(&connect(level, 2, &[], &[s("a")])).unwrap();
        let expected = Connect {
            level,
            clean_start: true,
            keep_alive_secs: 60,
            client_id: "a".into(),
            username: None,
            password: None,
            receive_maximum: 65_535,
            maximum_packet_size: None,
            request_problem_information: true,
            session_expiry_secs: 0,
            instance: None,
            has_auth_method: false,
            will: None,
        };
        assert_eq!(got, expected);
    }
}

#[test]
fn everything_that_is_possible() {
    let properties = [
        &[0x11, 0, 0, 1, 0, 0x21, 0, 16, 0x27, 0, 1, 0, 0, 0x22, 0, 5, 0x19, 1, 0x17, 0][..],
        &[&[0x26][..], &s("instance"), &s("i-1")].concat(),
        &[&[0x26][..], &s("instance"), &s("i-2")].concat(),
        &[&[0x15][..], &s("SCRAM")].concat(),
        &[&[0x16][..], &b(&[1, 2])].concat(),
    ]
    .concat();
    let will_properties = [
        &[0x18, 0, 0, 0, 9, 0x01, 1, 0x02, 0, 0, 0, 0][..],
        &[&[0x03][..], &s("text")].concat(),
        &[&[0x08][..], &s("r/t")].concat(),
        &[&[0x09][..], &b(&[0, 255])].concat(),
        &[&[0x26][..], &s("k"), &s("v")].concat(),
    ]
    .concat();
    let will = [&[u8::try_from(will_properties.len()).unwrap()][..], &will_properties].concat();
    // User name, password, will at QoS 1, no Clean Start.
    let fields = [s("dev-1"), will, s("w/t"), b(b"gone"), s("dev-1"), b(&[0, 1, 255])];
    let frame = connect(V5, 0b1100_1100, &properties, &fields);
    let expected = Connect {
        level: V5,
        clean_start: false,
        keep_alive_secs: 60,
        client_id: "dev-1".into(),
        username: Some("dev-1".into()),
        password: Some(vec![0, 1, 255]),
        receive_maximum: 16,
        maximum_packet_size: Some(65_536),
        request_problem_information: false,
        session_expiry_secs: 256,
        instance: Some("i-1".into()),
        has_auth_method: true,
        will: Some(Will {
            topic: "w/t".into(),
            payload: b"gone".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: false,
            delay_secs: 9,
            message_expiry_secs: Some(0),
            response_topic: Some("r/t".into()),
            correlation_data: Some(vec![0, 255]),
        }),
    };
    assert_eq!(decode_connect(&frame).unwrap(), expected);

    let frame = connect(V4, 0b1110_1110, &[], &[s("d"), s("w"), b(b"x"), s("u"), b(b"p")]);
    let got = decode_connect(&frame).unwrap();
    assert_eq!((got.username.as_deref(), got.password.as_deref()), (Some("u"), Some(&b"p"[..])));
    let will = got.will.unwrap();
    assert!(will.retain && will.qos == QoS::AtLeastOnce && will.payload == b"x");
}

#[test]
fn an_empty_client_id_is_the_brokers_to_assign() {
    assert_eq!(decode_connect(&connect(V4, 2, &[], &[s("")])).unwrap().client_id, "");
    assert_eq!(refused(&connect(V4, 0, &[], &[s("")])), (R::ClientIdentifierNotValid, Some(V4)));
    let without = decode_connect(&connect(V5, 0, &[], &[s("")])).unwrap();
    assert!(without.client_id.is_empty() && !without.clean_start);
}

#[test]
fn version_5_may_send_a_password_alone() {
    let frame = |level| connect(level, 0x42, &[], &[s("a"), b(b"p")]);
    assert_eq!(decode_connect(&frame(V5)).unwrap().password, Some(b"p".to_vec()));
    assert_eq!(refused(&frame(V4)), (R::MalformedPacket, Some(V4)));
}

#[test]
fn other_versions_are_told_in_their_own_words() {
    let named =
        |name: &str, level: u8| framed(0x10, &[&s(name)[..], &[level, 2, 0, 60, 0], &s("a")].concat());
    assert_eq!(refused(&named("MQTT", 3)), (R::UnsupportedProtocolVersion, Some(V4)));
    assert_eq!(refused(&named("MQIsdp", 3)), (R::UnsupportedProtocolVersion, Some(V4)));
    assert_eq!(refused(&named("MQTT", 6)), (R::UnsupportedProtocolVersion, Some(V5)));
    assert_eq!(refused(&named("MQTT", 0x84)), (R::UnsupportedProtocolVersion, Some(V5)));
    assert_eq!(refused(&named("mqtt", 5)), (R::UnsupportedProtocolVersion, None));
    assert_eq!(refused(&named("", 4)), (R::UnsupportedProtocolVersion, None));
}

#[test]
fn the_first_packet_must_be_connect() {
    for first in [0x00, 0x20, 0x30, 0x40, 0x82, 0xc0, 0xe0, 0xf0] {
        assert_eq!(refused(&framed(first, &[0, 1])), (R::ProtocolError, None));
    }
    assert_eq!(refused(&[0x10, 0]), (R::MalformedPacket, None));
}

#[test]
fn faults_of_both_versions() {
    let will = |level| if level == V5 { vec![0] } else { vec![] };
    for level in [V4, V5] {
        let of = |flags: u8, fields: &[Vec<u8>]| connect(level, flags, &[], fields);
        let cases = [
            ("reserved flag", of(3, &[s("a")]), R::MalformedPacket),
            ("will QoS without will", of(0x0a, &[s("a")]), R::MalformedPacket),
            ("will RETAIN without will", of(0x22, &[s("a")]), R::MalformedPacket),
            ("will QoS 3", of(0x1e, &[s("a"), will(level), s("t"), b(b"")]), R::MalformedPacket),
            ("will QoS 2", of(0x16, &[s("a"), will(level), s("t"), b(b"")]), R::QoSNotSupported),
            ("will with wildcard", of(6, &[s("a"), will(level), s("t/#"), b(b"")]), R::TopicNameInvalid),
            ("will without topic", of(6, &[s("a"), will(level), s(""), b(b"")]), R::TopicNameInvalid),
            ("will cut off", of(6, &[s("a"), will(level), s("t")]), R::MalformedPacket),
            ("trailing bytes", of(2, &[s("a"), vec![0]]), R::MalformedPacket),
            ("no client id", of(2, &[]), R::MalformedPacket),
            ("NUL in client id", of(2, &[s("a\0")]), R::MalformedPacket),
            ("surrogate in client id", of(2, &[b(b"\xed\xa0\x80")]), R::MalformedPacket),
            ("control character in user name", of(0x82, &[s("a"), s("u\n")]), R::MalformedPacket),
            ("no user name", of(0x82, &[s("a")]), R::MalformedPacket),
            ("no password", of(0xc2, &[s("a"), s("u")]), R::MalformedPacket),
        ];
        for (name, frame, reason) in cases {
            assert_eq!(refused(&frame), (reason, Some(level)), "{name}, {level:?}");
        }
        let mut flagged = of(2, &[s("a")]);
        flagged[0] = 0x11;
        assert_eq!(refused(&flagged), (R::MalformedPacket, Some(level)));
    }
    let retained = |level| connect(level, 0x26, &[], &[s("a"), will(level), s("t"), b(b"")]);
    assert_eq!(refused(&retained(V5)), (R::RetainNotSupported, Some(V5)));
    assert!(decode_connect(&retained(V4)).unwrap().will.unwrap().retain);
}

#[test]
fn faults_in_properties() {
    let cases: [(&str, Vec<u8>, R); 16] = [
        ("Receive Maximum 0", vec![0x21, 0, 0], R::ProtocolError),
        ("Receive Maximum twice", vec![0x21, 0, 1, 0x21, 0, 1], R::ProtocolError),
        ("Maximum Packet Size 0", vec![0x27, 0, 0, 0, 0], R::ProtocolError),
        ("Maximum Packet Size twice", vec![0x27, 0, 0, 1, 0, 0x27, 0, 0, 1, 0], R::ProtocolError),
        ("Session Expiry twice", vec![0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0], R::ProtocolError),
        ("Request Problem Information 2", vec![0x17, 2], R::ProtocolError),
        ("Request Response Information 2", vec![0x19, 2], R::ProtocolError),
        ("Topic Alias Maximum twice", vec![0x22, 0, 0, 0x22, 0, 0], R::ProtocolError),
        ("Authentication Data alone", [&[0x16][..], &b(b"x")].concat(), R::ProtocolError),
        ("Authentication Method twice", [&[0x15][..], &s("x"), &[0x15], &s("x")].concat(), R::ProtocolError),
        ("a property of another packet", vec![0x02, 0, 0, 0, 1], R::MalformedPacket),
        ("a property of brokers", vec![0x24, 1], R::MalformedPacket),
        ("an unknown property", vec![0x7f, 1], R::MalformedPacket),
        ("a number above 63", vec![0xa6, 1, 0], R::MalformedPacket),
        ("a cut value", vec![0x21, 0], R::MalformedPacket),
        ("NUL in a user property", [&[0x26][..], &s("k"), &s("\0")].concat(), R::MalformedPacket),
    ];
    for (name, properties, reason) in cases {
        assert_eq!(refused(&connect(V5, 2, &properties, &[s("a")])), (reason, Some(V5)), "{name}");
    }
    // Properties longer than the packet.
    let body = [&s("MQTT")[..], &[5, 2, 0, 60, 0x7f], &s("a")].concat();
    assert_eq!(refused(&framed(0x10, &body)), (R::MalformedPacket, Some(V5)));
    // Their length in more bytes than it needs.
    let body = [&s("MQTT")[..], &[5, 2, 0, 60, 0x80, 0], &s("a")].concat();
    assert_eq!(refused(&framed(0x10, &body)), (R::MalformedPacket, Some(V5)));
}

#[test]
fn only_version_5_forbids_needless_bytes_in_the_length() {
    let stretched = |level| {
        let frame = connect(level, 2, &[], &[s("a")]);
        [&[0x10, frame[1] | 0x80, 0][..], &frame[2..]].concat()
    };
    assert!(decode_connect(&stretched(V4)).is_ok());
    assert_eq!(refused(&stretched(V5)), (R::MalformedPacket, Some(V5)));
}

#[test]
fn a_frame_must_be_whole_and_alone() {
    let frame = connect(V5, 2, &[], &[s("a")]);
    for end in 0..frame.len() {
        assert!(decode_connect(&frame[..end]).is_err());
    }
    assert!(decode_connect(&[&frame[..], &[0xc0, 0]].concat()).is_err());
}

#[test]
fn the_version_shows_before_the_packet_is_whole() {
    for level in [V4, V5] {
        let large = connect(level, 0xc2, &[], &[s("a"), s("u"), b(&[0; 5_000])]);
        let beginning = &large[..11];
        assert_eq!(frame(beginning, 4096), Frame::TooLarge(large.len()));
        assert_eq!(connect_level(beginning), Some(level));
        assert_eq!(connect_level(&large[..9]), None);
    }
    assert_eq!(connect_level(&[0x30, 0xff, 0xff, 0x03, 0, 4, b'M', b'Q', b'T', b'T', 4]), None);
    assert_eq!(connect_level(&[]), None);
}
