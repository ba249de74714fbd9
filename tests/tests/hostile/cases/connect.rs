//! CONNECT: protocol names and levels, flags, wills, identities.

use wakemq_tests::raw::{Version, text};

use crate::case::{AGENT_SECRET, Case, Codes, End, OPERATOR_SECRET, Peer, Role, Said, Verdict};
use crate::oracle::{MALFORMED, PROTOCOL};
use crate::packet::{Connect, Will, ping};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all().filter(|peer| !peer.connected) {
        protocols(peer, &mut all);
        flags(peer, &mut all);
        wills(peer, &mut all);
        identities(peer, &mut all);
        sequences(peer, &mut all);
    }
    all
}

/// In 5 a CONNACK with that code; in 3.1.1 one of its own codes, or a close.
fn refused(peer: Peer, code: u8, in_3: &[u8]) -> Verdict {
    Verdict::only(match (peer.v5(), in_3) {
        (true, _) => End::Refuses(Version::V5, vec![code]),
        (false, []) => End::Drops,
        (false, codes) => End::Refuses(Version::V4, codes.to_vec()),
    })
}

fn protocols(peer: Peer, all: &mut Vec<Case>) {
    let good = Connect::of(peer);
    for level in (0..=255).filter(|level| ![4, 5].contains(level)) {
        let end = if level < 4 {
            End::Refuses(Version::V4, vec![1])
        } else {
            End::Refuses(Version::V5, vec![0x84])
        };
        let bytes = Connect { level, ..good.clone() }.bytes();
        all.push(Case::new(peer, format!("level-{level}"), bytes, Verdict::only(end)));
    }
    let names: [&[u8]; 11] = [
        b"",
        b"M",
        b"mqtt",
        b"MQTT ",
        b"MQTt",
        b"MQTTT",
        b"MQIsdq",
        b"HTTP",
        b"\xc3\x28TT",
        b"MQ\0T",
        &[b'M'; 300],
    ];
    for (at, name) in names.into_iter().enumerate() {
        let bytes = Connect { protocol: name.to_vec(), ..good.clone() }.bytes();
        all.push(Case::new(peer, format!("protocol-{at}"), bytes, Verdict::only(End::Drops)));
    }
    let old = Connect { protocol: b"MQIsdp".to_vec(), level: 3, ..good };
    let end = End::Refuses(Version::V4, vec![1]);
    all.push(Case::new(peer, "mqtt-3.1", old.bytes(), Verdict::only(end)));
}

/// All 256 values of the flags over a body with a will, and over one without.
fn flags(peer: Peer, all: &mut Vec<Case>) {
    for flags in 0..=255_u8 {
        for (name, connect) in [("plain", Connect::of(peer)), ("will", Connect::with_will(peer))] {
            let connect = Connect { flags: Some(flags), ..connect };
            all.push(Case::modelled(peer, format!("flags/{flags:08b}-{name}"), connect.bytes()));
        }
    }
    let mut tell = |name: &str, flags: u8| {
        let connect = Connect { flags: Some(flags), ..Connect::of(peer) };
        all.push(Case::new(peer, format!("flags/{name}"), connect.bytes(), refused(peer, MALFORMED, &[])));
    };
    tell("reserved", 0b1100_0011);
    tell("will-retain-without-will", 0b1110_0010);
    tell("will-qos-1-without-will", 0b1100_1010);
    tell("will-qos-2-without-will", 0b1101_0010);
    tell("will-qos-3-without-will", 0b1101_1010);
    let mut will = Connect::with_will(peer);
    for (name, qos, code) in [("qos-3", 0b1_1100, MALFORMED), ("qos-2", 0b1_0100, 0x9B)] {
        will.will = Some(Will { flags: qos, ..Will::of(peer.role) });
        all.push(Case::new(peer, format!("will/{name}"), will.bytes(), refused(peer, code, &[])));
    }
    if peer.v5() {
        will.will = Some(Will { flags: 0b10_1100, ..Will::of(peer.role) });
        all.push(Case::new(peer, "will/retain", will.bytes(), refused(peer, 0x9A, &[])));
    }
}

fn wills(peer: Peer, all: &mut Vec<Case>) {
    let mut will = |name: &str, topic: &str, code: u8, in_3: &[u8]| {
        let will = Some(Will { topic: topic.into(), ..Will::of(peer.role) });
        let bytes = Connect { will, ..Connect::of(peer) }.bytes();
        all.push(Case::new(peer, format!("will/{name}"), bytes, refused(peer, code, in_3)));
    };
    will("empty-topic", "", 0x90, &[]);
    will("plus", "wake/v1/agents/+/receipts", 0x90, &[]);
    will("hash", "wake/v1/#", 0x90, &[]);
    for topic in [
        "x",
        "/",
        "$SYS/x",
        "wake/v1/agents/pc-1/receipts",
        "wake/v1/agents/pc-1/facts",
        "wake/v1/operators/admin/responses/x",
        "wake/v1/events/presence",
        "wake/v1/agents/receipts",
        "wake/v1/agents//commands",
        "wake/v1/groups/A/commands",
        "wake/v1/groups//commands",
        "wake/v2/groups/commands",
        "/wake/v1/groups/commands",
        "wake/v1/groups/commands/",
    ] {
        will(&format!("foreign:{}", topic.replace(['/', '$'], ":")), topic, 0x87, &[5]);
    }
    let others = match peer.role {
        Role::Agent => ["wake/v1/agents/bad-agent-000/commands", "wake/v1/groups/commands"],
        Role::Operator => ["wake/v1/agents/target/receipts", "wake/v1/agents/target/reports"],
    };
    for topic in others {
        will(&format!("other-role:{}", topic.replace('/', ":")), topic, 0x87, &[5]);
    }
}

fn identities(peer: Peer, all: &mut Vec<Case>) {
    let good = Connect::of(peer);
    let wrong: &[u8] = &[4, 5];
    let mut case = |name: &str, connect: Connect, code: u8, in_3: &[u8]| {
        all.push(Case::new(peer, format!("identity/{name}"), connect.bytes(), refused(peer, code, in_3)));
    };
    case("nobody", Connect { user: None, password: None, ..good.clone() }, 0x86, wrong);
    case("no-password", Connect { password: None, ..good.clone() }, 0x86, wrong);
    if peer.v5() {
        case("no-user", Connect { user: None, ..good.clone() }, 0x86, wrong);
    } else {
        case("no-user", Connect { user: None, ..good.clone() }, MALFORMED, &[]);
    }
    let users: [&[u8]; 12] = [
        b"",
        b"op:",
        b"op:nobody",
        b"op: admin",
        b"nobody",
        b"op:op:admin",
        b"/",
        b"#",
        b"+",
        "\u{e9}".as_bytes(),
        &[b'a'; 65],
        &[b'a'; 3000],
    ];
    for (at, user) in users.into_iter().enumerate() {
        case(&format!("user-{at}"), Connect { user: Some(user.to_vec()), ..good.clone() }, 0x86, wrong);
    }
    let passwords: [&[u8]; 9] = [
        b"",
        b"x",
        b"\0",
        b"\xff\xfe",
        b"wma_",
        b"wme_PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP",
        &[0; 47],
        &[0xff; 3000],
        match peer.role {
            Role::Agent => OPERATOR_SECRET.as_bytes(),
            Role::Operator => AGENT_SECRET.as_bytes(),
        },
    ];
    for (at, password) in passwords.into_iter().enumerate() {
        let connect = Connect { password: Some(password.to_vec()), ..good.clone() };
        case(&format!("password-{at}"), connect, 0x86, wrong);
    }
    if peer.role == Role::Agent {
        for id in ["x", "bad-agent-00", "bad-agent-0000", "bad-agent-000 ", "op:admin", "#", "a/b"] {
            let connect = Connect { client_id: id.into(), ..good.clone() };
            case(&format!("client-id-{}", id.replace(['/', ' ', '#'], "_")), connect, 0x85, &[2]);
        }
    }
    let nameless = Connect { client_id: Vec::new(), clean: false, ..good.clone() };
    if peer.v5() {
        let verdict = Verdict { said: vec![Said::Welcome], end: End::Alive };
        all.push(Case::new(peer, "identity/empty-client-id", nameless.bytes(), verdict));
        let mut auth = good;
        auth.properties = [&[0x15][..], &text(b"SCRAM")].concat();
        all.push(Case::new(peer, "identity/auth-method", auth.bytes(), refused(peer, 0x8C, &[])));
        auth.properties = [&[0x16][..], &text(b"x")].concat();
        all.push(Case::new(peer, "identity/auth-data", auth.bytes(), refused(peer, PROTOCOL, &[])));
    } else {
        all.push(Case::new(peer, "identity/empty-client-id", nameless.bytes(), refused(peer, 0, &[2])));
    }
}

/// What comes with the CONNECT in the same bytes.
fn sequences(peer: Peer, all: &mut Vec<Case>) {
    let connect = Connect::of(peer).bytes();
    let welcome = [Said::Welcome];
    let mut case = |name: &str, tail: Vec<u8>, said: Vec<Said>, end: End| {
        let said = [&welcome[..], &said].concat();
        all.push(Case::new(
            peer,
            format!("sequence/{name}"),
            [&connect[..], &tail].concat(),
            Verdict { said, end },
        ));
    };
    let closes = |code: u8| -> End { End::Closes(Codes::from([code])) };
    case("ping", ping(), vec![Said::Pong], End::Alive);
    case("connect-twice", connect.clone(), Vec::new(), closes(PROTOCOL));
    case("connect-thrice", connect.repeat(2), Vec::new(), closes(PROTOCOL));
    case("ping-connect", [ping(), connect.clone()].concat(), vec![Said::Pong], closes(PROTOCOL));
    case("disconnect-connect", [vec![0xE0, 0], connect.clone()].concat(), Vec::new(), End::Leaves);
    case("garbage", vec![0xff; 300], Vec::new(), closes(MALFORMED));
    case("zeros", vec![0; 300], Vec::new(), closes(MALFORMED));
    case("http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Vec::new(), End::Waits);
    let mut first = |name: &str, bytes: Vec<u8>| {
        all.push(Case::new(peer, format!("first/{name}"), bytes, Verdict::only(End::Drops)));
    };
    first("ping", ping());
    first("disconnect", vec![0xE0, 0]);
    first("ping-connect", [ping(), connect].concat());
    first("zeros", vec![0; 300]);
    first("huge-publish", [&[0x30, 0xff, 0xff, 0xff, 0x7f][..], &[0; 100]].concat());
    first("publish", crate::packet::publish(peer.version, 2, b"wake/v1/groups/commands", &[], b"{}"));
    let mut large = Connect::of(peer);
    large.password = Some(vec![b'x'; 5000]);
    let end = refused(peer, crate::oracle::TOO_LARGE, &[]);
    all.push(Case::new(peer, "first/large-connect", large.bytes(), end));
}
