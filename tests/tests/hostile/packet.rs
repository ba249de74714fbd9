//! Good packets in parts, so that cases can make one part bad.

use wakemq_tests::raw::{Version, frame, text};

use crate::case::{Peer, Role};

/// Writes a variable byte integer.
pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

/// Writes a block of properties, in 3.1.1 nothing.
pub(crate) fn block(version: Version, properties: &[u8]) -> Vec<u8> {
    match version {
        Version::V4 => Vec::new(),
        Version::V5 => [varint(properties.len()), properties.to_vec()].concat(),
    }
}

/// A CONNECT in parts; by default the good one of a peer.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) first: u8,
    pub(crate) protocol: Vec<u8>,
    pub(crate) level: u8,
    /// In place of the flags that the fields ask for.
    pub(crate) flags: Option<u8>,
    pub(crate) clean: bool,
    pub(crate) properties: Vec<u8>,
    pub(crate) client_id: Vec<u8>,
    pub(crate) will: Option<Will>,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) rest: Vec<u8>,
}

/// A will in parts.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) flags: u8,
    pub(crate) properties: Vec<u8>,
    pub(crate) topic: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Will {
    pub(crate) fn of(role: Role) -> Self {
        let payload = match role {
            Role::Agent => br#"{"id":"0197c1b2-0000-7000-8000-000000000001","state":"done"}"#.to_vec(),
            Role::Operator => br#"{"kind":"wake"}"#.to_vec(),
        };
        Self { flags: 0b0_1100, properties: Vec::new(), topic: role.own_topic().into(), payload }
    }
}

impl Connect {
    pub(crate) fn of(peer: Peer) -> Self {
        Self {
            version: peer.version,
            first: 0x10,
            protocol: b"MQTT".to_vec(),
            level: if peer.v5() { 5 } else { 4 },
            flags: None,
            clean: true,
            properties: Vec::new(),
            client_id: peer.role.client_id().into(),
            will: None,
            user: Some(peer.role.user().into()),
            password: Some(peer.role.secret().into()),
            rest: Vec::new(),
        }
    }

    pub(crate) fn with_will(peer: Peer) -> Self {
        Self { will: Some(Will::of(peer.role)), ..Self::of(peer) }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        flags |= self.will.as_ref().map_or(0, |will| will.flags);
        flags |= u8::from(self.user.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        let mut body = text(&self.protocol);
        body.push(self.level);
        body.push(self.flags.unwrap_or(flags));
        body.extend([0, 60]);
        body.extend(block(self.version, &self.properties));
        body.extend(text(&self.client_id));
        if let Some(will) = &self.will {
            body.extend(block(self.version, &will.properties));
            body.extend(text(&will.topic));
            body.extend(text(&will.payload));
        }
        for field in [&self.user, &self.password].into_iter().flatten() {
            body.extend(text(field));
        }
        body.extend(&self.rest);
        body
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        frame(self.first, &self.body())
    }
}

/// A PUBLISH; without a packet id if the flags ask for QoS 0.
pub(crate) fn publish(
    version: Version,
    flags: u8,
    topic: &[u8],
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let id: &[u8] = if flags & 0b110 == 0 { &[] } else { &[0, 7] };
    frame(0x30 | flags, &[&text(topic), id, &block(version, properties), payload].concat())
}

/// A PUBACK for packet id 7 with reason and properties (MQTT 5).
pub(crate) fn puback(reason: u8, properties: &[u8]) -> Vec<u8> {
    frame(0x40, &[&[0, 7, reason][..], &block(Version::V5, properties)].concat())
}

pub(crate) fn subscribe(version: Version, properties: &[u8], filters: &[(&[u8], u8)]) -> Vec<u8> {
    let mut body = vec![0, 9];
    body.extend(block(version, properties));
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    frame(0x82, &body)
}

pub(crate) fn unsubscribe(version: Version, properties: &[u8], filters: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0, 11];
    body.extend(block(version, properties));
    body.extend(filters.iter().flat_map(|filter| text(filter)));
    frame(0xA2, &body)
}

/// A DISCONNECT with reason and properties (MQTT 5).
pub(crate) fn disconnect(reason: u8, properties: &[u8]) -> Vec<u8> {
    frame(0xE0, &[&[reason][..], &block(Version::V5, properties)].concat())
}

pub(crate) fn ping() -> Vec<u8> {
    vec![0xC0, 0]
}

/// A payload that is right for the peer's own topic.
pub(crate) fn payload(role: Role) -> Vec<u8> {
    Will::of(role).payload
}

/// One good packet of each kind that a client may send at that moment, by name.
pub(crate) fn good(peer: Peer) -> Vec<(&'static str, Vec<u8>)> {
    let version = peer.version;
    let topic = peer.role.own_topic().into_bytes();
    let filter = peer.role.own_filter().into_bytes();
    let payload = payload(peer.role);
    if !peer.connected {
        let mut all =
            vec![("connect", Connect::of(peer).bytes()), ("connect-will", Connect::with_will(peer).bytes())];
        if peer.v5() {
            let mut connect = Connect::with_will(peer);
            connect.properties = crate::cases::properties::all_of(crate::oracle::Place::Connect);
            if let Some(will) = &mut connect.will {
                will.properties = crate::cases::properties::all_of(crate::oracle::Place::Will);
            }
            all.push(("connect-properties", connect.bytes()));
        }
        return all;
    }
    let mut all = vec![
        ("publish-0", publish(version, 0, &topic, &[], &payload)),
        ("publish-1", publish(version, 2, &topic, &[], &payload)),
        ("publish-1-again", publish(version, 10, &topic, &[], &payload)),
        ("puback", frame(0x40, &[0, 7])),
        ("subscribe", subscribe(version, &[], &[(&filter, 1), (b"a/+/#", 0)])),
        ("unsubscribe", unsubscribe(version, &[], &[&filter, b"$share/g/+"])),
        ("pingreq", ping()),
        ("disconnect", frame(0xE0, &[])),
    ];
    if peer.v5() {
        let all_of = crate::cases::properties::all_of;
        use crate::oracle::Place;
        all.extend([
            ("publish-properties", publish(version, 2, &topic, &all_of(Place::Publish), &payload)),
            ("puback-properties", puback(0, &all_of(Place::PubAck))),
            ("subscribe-properties", subscribe(version, &all_of(Place::Subscribe), &[(&filter, 1)])),
            ("unsubscribe-properties", unsubscribe(version, &all_of(Place::Unsubscribe), &[&filter])),
            ("disconnect-properties", disconnect(4, &all_of(Place::Disconnect))),
        ]);
    }
    all
}
