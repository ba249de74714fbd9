//! What may be wrong inside PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PUBACK and DISCONNECT.

use wakemq_tests::raw::{Version, frame, text};

use crate::case::{AGENT, Case, Codes, End, OPERATOR, Peer, Role, Said, TARGET, Verdict};
use crate::oracle::{MALFORMED, PROTOCOL};
use crate::packet::{block, disconnect, payload, ping, puback, publish, subscribe, unsubscribe};

/// Filters that §4.7 and §4.8 forbid.
pub(crate) const BAD_FILTERS: [&str; 22] = [
    "",
    "a#",
    "#a",
    "#/",
    "#/a",
    "a/#/b",
    "##",
    "a/##",
    "+a",
    "a+",
    "a/b+",
    "a/+b/c",
    "++",
    "+#",
    "#+",
    "$share/",
    "$share/g",
    "$share/g/",
    "$share//a",
    "$share/+/a",
    "$share/#/a",
    "$share/g/a#",
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for peer in Peer::all_connected() {
        publishes(peer, &mut all);
        subscribes(peer, &mut all);
        unsubscribes(peer, &mut all);
        ids(peer, &mut all);
        if peer.v5() {
            reasons(peer, &mut all);
        }
    }
    all
}

fn publishes(peer: Peer, all: &mut Vec<Case>) {
    let version = peer.version;
    let own = peer.role.own_topic();
    for (at, topic) in ["#", "+", "a/+/b", "a/#", "a#", "+a", "wake/v1/agents/+/receipts"].iter().enumerate()
    {
        for flags in [0, 2] {
            let bytes = publish(version, flags, topic.as_bytes(), &[], b"{}");
            all.push(Case::new(peer, format!("publish/wildcard-{at}-{flags}"), bytes, Verdict::closes(0x90)));
        }
    }
    let empty = publish(version, 2, b"", &[], b"{}");
    let code = if peer.v5() { PROTOCOL } else { 0x90 };
    all.push(Case::new(peer, "publish/empty-topic", empty, Verdict::closes(code)));
    for flags in [0b1000, 0b1001] {
        let bytes = publish(version, flags, own.as_bytes(), &[], b"{}");
        let verdict = if flags & 1 == 1 {
            Case::modelled(peer, "", bytes.clone()).verdict
        } else {
            Verdict::closes(MALFORMED)
        };
        all.push(Case::new(peer, format!("publish/dup-qos-0-{flags:b}"), bytes, verdict));
    }
    // Topics of others: told in 5, closed in 3.1.1.
    let mut foreign =
        vec!["x", "/", "$SYS/broker", "wake/v1", "wake/v1/agents/pc-9/receipts", "wake/v1/events/command"];
    foreign.extend([
        "wake/v1/operators/admin/responses/x",
        "wake/v1/agents/commands",
        "WAKE/v1/groups/commands",
    ]);
    foreign.push(match peer.role {
        Role::Agent => "wake/v1/agents/bad-agent-000/commands",
        Role::Operator => "wake/v1/agents/target/facts",
    });
    for (at, topic) in foreign.into_iter().enumerate() {
        for flags in [0, 2] {
            let bytes = publish(version, flags, topic.as_bytes(), &[], b"{}");
            let said = if flags == 2 { vec![Said::PubAck(7, vec![0x87])] } else { Vec::new() };
            let verdict = if peer.v5() { Verdict { said, end: End::Alive } } else { Verdict::closes(0x87) };
            all.push(Case::new(peer, format!("publish/foreign-{at}-{flags}"), bytes, verdict));
        }
    }
    // Payloads that are none: 0x99 in 5, a plain PUBACK in 3.1.1.
    for (at, bad) in bad_payloads().into_iter().enumerate() {
        let bytes = publish(version, 2, own.as_bytes(), &[], &bad);
        let codes = if peer.v5() { vec![0x99] } else { vec![0] };
        let verdict = Verdict { said: vec![Said::PubAck(7, codes)], end: End::Alive };
        all.push(Case::new(peer, format!("publish/payload-{at}"), bytes, verdict));
    }
    if peer.v5() {
        for (at, alias) in [[0, 0], [0, 1], [0, 16], [0xff, 0xff]].iter().enumerate() {
            for topic in ["", &own] {
                let property = [&[0x23][..], alias].concat();
                let bytes = publish(version, 2, topic.as_bytes(), &property, b"{}");
                let name = format!("publish/alias-{at}-{}", if topic.is_empty() { "alone" } else { "topic" });
                all.push(Case::new(peer, name, bytes, Verdict::closes(0x94)));
            }
        }
    }
}

/// Payloads that are neither submission nor receipt.
pub(crate) fn bad_payloads() -> Vec<Vec<u8>> {
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    let many = format!("{{\"kind\":\"wake\",\"ttl\":{}}}", "9".repeat(400)).into_bytes();
    [
        &b""[..],
        b" ",
        b"{",
        b"}",
        b"null",
        b"1",
        b"\"wake\"",
        b"[]",
        b"{}",
        b"{}{}",
        b"{\"kind\":1}",
        b"{\"kind\":null}",
        b"{\"kind\":\"\"}",
        b"{\"kind\":\"wake\",}",
        b"{'kind':'wake'}",
        b"\xff\xfe\0\0",
        b"{\"kind\":\"wa\xc3\"}",
        b"{\"kind\":\"\\ud800\"}",
        b"{\"kind\":\"wake\",\"kind\":\"wake\",\"ttl\":-1}",
        b"{\"kind\":\"wake\",\"ttl\":1e99}",
        b"{\"kind\":\"wake\",\"ttl\":\"1\"}",
        b"{\"id\":\"x\",\"kind\":\"wake\"}",
        b"{\"kind\":\"wake\",\"priority\":\"urgent\"}",
        b"{\"kind\":\"wake\",\"slot\":\"A B\"}",
        &deep,
        &many,
        &[0; 100],
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .collect()
}

fn subscribes(peer: Peer, all: &mut Vec<Case>) {
    let version = peer.version;
    let own = peer.role.own_filter();
    let own = own.as_bytes();
    for (at, filter) in BAD_FILTERS.iter().enumerate() {
        let filter = filter.as_bytes();
        for (name, filters) in [
            ("alone", vec![(filter, 1)]),
            ("first", vec![(filter, 1), (own, 1)]),
            ("last", vec![(own, 1), (filter, 1)]),
        ] {
            let bytes = subscribe(version, &[], &filters);
            all.push(Case::new(peer, format!("subscribe/filter-{at}-{name}"), bytes, Verdict::closes(0x8F)));
        }
    }
    for options in 0..=255_u8 {
        let filters: [(&[u8], u8); 2] = [(own, options), (b"$share/g/a", options)];
        all.push(Case::modelled(
            peer,
            format!("subscribe/options-{options:08b}"),
            subscribe(version, &[], &filters),
        ));
    }
    let mut tell = |name: &str, options: u8, in_5: u8| {
        let bytes = subscribe(version, &[], &[(own, options)]);
        let verdict = Verdict::closes(if peer.v5() { in_5 } else { MALFORMED });
        all.push(Case::new(peer, format!("subscribe/{name}"), bytes, verdict));
    };
    tell("qos-3", 3, PROTOCOL);
    tell("reserved-6", 0b0100_0001, MALFORMED);
    tell("reserved-7", 0b1000_0001, MALFORMED);
    tell("retain-handling-3", 0b0011_0001, PROTOCOL);
    let none = subscribe(version, &[], &[]);
    all.push(Case::new(peer, "subscribe/nothing", none, Verdict::closes(PROTOCOL)));
    let cut = frame(0x82, &[&[0, 9][..], &block(version, &[]), &text(own)].concat());
    all.push(Case::new(peer, "subscribe/no-options", cut, Verdict::closes(MALFORMED)));

    // Answered in the SUBACK, and the connection stays.
    let foreign: Codes = vec![if peer.v5() { 0x87 } else { 0x80 }];
    let shared: Codes = vec![if peer.v5() { 0x9E } else { 0x80 }];
    let mut answered = |name: &str, filters: &[(&[u8], u8)], codes: Vec<Codes>| {
        let verdict = Verdict { said: vec![Said::SubAck(9, codes)], end: End::Alive };
        all.push(Case::new(peer, format!("subscribe/{name}"), subscribe(version, &[], filters), verdict));
    };
    for (at, filter) in
        ["#", "+/#", "wake/#", "wake/v1/agents/+/commands", "$SYS/#", "/"].into_iter().enumerate()
    {
        answered(&format!("foreign-{at}"), &[(filter.as_bytes(), 1)], vec![foreign.clone()]);
    }
    let of_others: &[u8] = match peer.role {
        Role::Agent => b"wake/v1/agents/pc-9/commands",
        Role::Operator => b"wake/v1/operators/other/responses/#",
    };
    answered("foreign-own-kind", &[(of_others, 1)], vec![foreign.clone()]);
    answered("shared", &[(b"$share/g/#", 1)], vec![shared.clone()]);
    let shared_own = [b"$share/g/", own].concat();
    answered("shared-own", &[(&shared_own, 1), (own, 1)], vec![shared, vec![1]]);
    let many: Vec<(&[u8], u8)> = vec![(&b"x"[..], 0); 2000];
    answered("many", &many, vec![foreign; 2000]);
    if peer.v5() {
        let bytes = subscribe(version, &[0x0B, 1], &[(own, 1), (b"#", 1)]);
        let verdict = Verdict { said: vec![Said::SubAck(9, vec![vec![0xA1]; 2])], end: End::Alive };
        all.push(Case::new(peer, "subscribe/identifier", bytes, verdict));
        let bytes = subscribe(version, &[], &[(b"$share/g/a", 0b101)]);
        all.push(Case::new(peer, "subscribe/shared-no-local", bytes, Verdict::closes(PROTOCOL)));
    }
}

fn unsubscribes(peer: Peer, all: &mut Vec<Case>) {
    let version = peer.version;
    for (at, filter) in BAD_FILTERS.iter().enumerate() {
        let bytes = unsubscribe(version, &[], &[b"a", filter.as_bytes()]);
        all.push(Case::new(peer, format!("unsubscribe/filter-{at}"), bytes, Verdict::closes(0x8F)));
    }
    all.push(Case::new(
        peer,
        "unsubscribe/nothing",
        unsubscribe(version, &[], &[]),
        Verdict::closes(PROTOCOL),
    ));
    for filter in ["#", "never/subscribed", "$share/g/a"] {
        let said = vec![Said::UnsubAck(11, usize::from(peer.v5()))];
        let bytes = unsubscribe(version, &[], &[filter.as_bytes()]);
        let name = format!("unsubscribe/unknown-{}", filter.replace(['/', '#', '$'], "_"));
        all.push(Case::new(peer, name, bytes, Verdict { said, end: End::Alive }));
    }
}

/// Packet ids: 0, in use, not in flight.
fn ids(peer: Peer, all: &mut Vec<Case>) {
    let version = peer.version;
    let zero = |first: u8, rest: &[u8]| frame(first, &[&[0, 0][..], rest].concat());
    let p = block(version, &[]);
    let own = peer.role.own_topic();
    let publish_0 = frame(0x32, &[&text(own.as_bytes())[..], &[0, 0], &p, b"{}"].concat());
    for (name, bytes) in [
        ("publish", publish_0),
        ("puback", zero(0x40, &[])),
        ("subscribe", zero(0x82, &[&p[..], &text(b"a"), &[1]].concat())),
        ("unsubscribe", zero(0xA2, &[&p[..], &text(b"a")].concat())),
    ] {
        all.push(Case::new(peer, format!("id/0-{name}"), bytes, Verdict::closes(PROTOCOL)));
    }
    for id in [1_u16, 2, 7, 16, 255, 256, 65_535] {
        let bytes = frame(0x40, &id.to_be_bytes());
        all.push(Case::new(peer, format!("id/puback-{id}"), bytes, Verdict::closes(PROTOCOL)));
    }
    // The same id for several packets at once: each was answered before the next is read.
    let good = publish(version, 2, own.as_bytes(), &[], &payload(peer.role));
    let filter = peer.role.own_filter();
    let subscribing = frame(0x82, &[&[0, 7][..], &p, &text(filter.as_bytes()), &[1]].concat());
    all.push(Case::modelled(peer, "id/in-use-publish", [good.clone(), good.clone(), good.clone()].concat()));
    all.push(Case::modelled(peer, "id/in-use-subscribe", [good.clone(), subscribing.clone(), good].concat()));
    all.push(Case::modelled(peer, "id/subscribe-twice", [subscribing.clone(), subscribing, ping()].concat()));
}

/// Reason codes of PUBACK and DISCONNECT: all 256.
fn reasons(peer: Peer, all: &mut Vec<Case>) {
    for reason in 0..=255_u8 {
        all.push(Case::modelled(peer, format!("reason/puback-{reason:02x}"), puback(reason, &[])));
        all.push(Case::modelled(peer, format!("reason/disconnect-{reason:02x}"), disconnect(reason, &[])));
        all.push(Case::modelled(
            peer,
            format!("reason/disconnect-{reason:02x}-bare"),
            frame(0xE0, &[reason]),
        ));
    }
    let raised = disconnect(0, &[0x11, 0, 0, 0, 1]);
    all.push(Case::new(peer, "reason/disconnect-raises-expiry", raised, Verdict::closes(PROTOCOL)));
    for (name, id, data) in [("server-reference", 0x1C, "other"), ("assigned-client-id", 0x12, AGENT)] {
        let property = [&[id][..], &text(data.as_bytes())].concat();
        let code = if id == 0x1C { PROTOCOL } else { MALFORMED };
        all.push(Case::new(
            peer,
            format!("reason/disconnect-{name}"),
            disconnect(0, &property),
            Verdict::closes(code),
        ));
    }
    // A Response Topic must be the operator's own.
    if peer.role == Role::Operator {
        let topic = format!("wake/v1/agents/{TARGET}/commands");
        for (name, response, codes) in [
            ("own", format!("wake/v1/operators/{OPERATOR}/responses/x"), vec![0]),
            ("foreign", "wake/v1/operators/other/responses/x".to_owned(), vec![0x87]),
            ("agent", format!("wake/v1/agents/{TARGET}/commands"), vec![0x87]),
            ("nameless", format!("wake/v1/operators/{OPERATOR}/responses/"), vec![0x87]),
            ("any", "x".to_owned(), vec![0x87]),
        ] {
            let property = [&[0x08][..], &text(response.as_bytes())].concat();
            let bytes = publish(Version::V5, 2, topic.as_bytes(), &property, &payload(Role::Operator));
            let verdict = Verdict { said: vec![Said::PubAck(7, codes)], end: End::Alive };
            all.push(Case::new(peer, format!("response/{name}"), bytes, verdict));
        }
        for (size, codes) in [(128, vec![0]), (129, vec![0x97]), (60_000, vec![0x97])] {
            let response = format!("wake/v1/operators/{OPERATOR}/responses/x");
            let property = [&[0x08][..], &text(response.as_bytes()), &[0x09], &text(&vec![0; size])].concat();
            let bytes = publish(Version::V5, 2, topic.as_bytes(), &property, &payload(Role::Operator));
            let verdict = Verdict { said: vec![Said::PubAck(7, codes)], end: End::Alive };
            all.push(Case::new(peer, format!("response/correlation-{size}"), bytes, verdict));
        }
    }
}
