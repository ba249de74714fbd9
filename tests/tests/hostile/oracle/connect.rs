//! CONNECT: MQTT 3.1.1 §3.1, MQTT 5 §3.1, and whom the design lets in.

use wakemq_tests::raw::Version;

use super::reader::{Place, Reader, properties};
use super::{Cut, Faults, MALFORMED};
use crate::case::{AGENT, AGENT_SECRET, Codes, End, OPERATOR, OPERATOR_SECRET, Role};

const UNSUPPORTED: u8 = 0x84;
const NOT_VALID_ID: u8 = 0x85;
const WRONG: u8 = 0x86;
const NOT_AUTHORISED: u8 = 0x87;
const NO_METHOD: u8 = 0x8C;

/// How small a Maximum Packet Size may be before a CONNACK has no room in it.
const CONNACK_ROOM: u32 = 256;

/// What a CONNECT names as its protocol.
enum Named {
    Spoken(Version),
    /// Known well enough to be told in that version.
    Unspoken(Version),
    /// No MQTT, or too short to say.
    Unknown,
}

fn named(body: &mut Reader<'_>) -> Named {
    let mut cut = Faults::default();
    let Ok(name) = body.binary(&mut cut) else { return Named::Unknown };
    let Ok(level) = body.byte(&mut cut) else { return Named::Unknown };
    match (name, level) {
        (b"MQTT", 4) => Named::Spoken(Version::V4),
        (b"MQTT", 5) => Named::Spoken(Version::V5),
        (b"MQTT", 0..=3) | (b"MQIsdp", _) => Named::Unspoken(Version::V4),
        (b"MQTT", _) => Named::Unspoken(Version::V5),
        _ => Named::Unknown,
    }
}

/// What may be said to a CONNECT that is refused for its length, of which perhaps only the beginning is there.
pub(super) fn refused_early(bytes: &[u8], code: u8) -> End {
    let header = bytes.iter().skip(1).take_while(|byte| **byte > 127).count() + 2;
    let body = bytes.get(header..).unwrap_or_default();
    match named(&mut Reader::new(body)) {
        Named::Spoken(Version::V5) | Named::Unspoken(Version::V5) if bytes[0] >> 4 == 1 => {
            // Whether it is told depends on how much of it has come.
            End::Either(Box::new(End::Refuses(Version::V5, vec![code])), Box::new(End::Drops))
        }
        Named::Spoken(_) | Named::Unspoken(_) | Named::Unknown => End::Drops,
    }
}

/// Judges a whole first packet: the version that is spoken from now on, or how the connection ends.
pub(super) fn judge(role: Role, packet: &[u8], header: usize, minimal: bool) -> Result<Version, End> {
    if packet[0] >> 4 != 1 {
        return Err(End::Drops);
    }
    let mut body = Reader::new(&packet[header..]);
    let version = match named(&mut body) {
        Named::Spoken(version) => version,
        Named::Unspoken(Version::V4) => return Err(End::Refuses(Version::V4, vec![1])),
        Named::Unspoken(Version::V5) => return Err(End::Refuses(Version::V5, vec![UNSUPPORTED])),
        Named::Unknown => return Err(End::Drops),
    };
    let v5 = version == Version::V5;
    let mut faults = Faults::default();
    faults.add_if(packet[0] & 15 != 0, MALFORMED);
    faults.add_if(!minimal && v5, MALFORMED);
    let read = fields(v5, &mut body, &mut faults);
    if faults.0.is_empty()
        && let Ok(fields) = read
    {
        if fields.maximum_packet_size.is_some_and(|size| size < CONNACK_ROOM) {
            return Err(End::Any);
        }
        rights(role, v5, &fields, &mut faults);
    }
    match faults.0 {
        good if good.is_empty() => Ok(version),
        codes if v5 => Err(End::Refuses(version, codes)),
        codes => Err(in_3(&codes)),
    }
}

/// 3.1.1 has five codes (§3.2.2.3), and closes where none fits.
fn in_3(codes: &[u8]) -> End {
    let told: Codes = codes
        .iter()
        .flat_map(|code| match *code {
            NOT_VALID_ID => &[2][..],
            WRONG => &[4, 5],
            NOT_AUTHORISED => &[5],
            _ => &[],
        })
        .copied()
        .collect();
    let silent = codes.iter().any(|code| ![NOT_VALID_ID, WRONG, NOT_AUTHORISED].contains(code));
    match (told.is_empty(), silent) {
        (true, _) => End::Drops,
        (false, false) => End::Refuses(Version::V4, told),
        (false, true) => End::Either(Box::new(End::Refuses(Version::V4, told)), Box::new(End::Drops)),
    }
}

struct Fields<'a> {
    client_id: &'a str,
    user: Option<&'a str>,
    password: Option<&'a [u8]>,
    will_topic: Option<&'a str>,
    has_method: bool,
    maximum_packet_size: Option<u32>,
}

fn fields<'a>(v5: bool, body: &mut Reader<'a>, faults: &mut Faults) -> Result<Fields<'a>, Cut> {
    let flags = body.byte(faults)?;
    let flag = |at: u8| flags >> at & 1 != 0;
    let will_qos = flags >> 3 & 3;
    faults.add_if(flag(0) || will_qos == 3, MALFORMED);
    faults.add_if(!flag(2) && (will_qos > 0 || flag(5)), MALFORMED);
    faults.add_if(!v5 && flag(6) && !flag(7), MALFORMED);
    body.number(2, faults)?;
    let mut has_method = false;
    let mut maximum_packet_size = None;
    if v5 {
        let seen = properties(body, Place::Connect, faults)?;
        has_method = seen.ids.contains(&0x15);
        maximum_packet_size = seen.maximum_packet_size;
    }
    let client_id = body.string(faults)?;
    faults.add_if(!v5 && client_id.is_empty() && !flag(1), NOT_VALID_ID);
    let mut will_topic = None;
    if flag(2) {
        if v5 {
            properties(body, Place::Will, faults)?;
        }
        let topic = body.string(faults)?;
        faults.add_if(topic.is_empty() || topic.contains(['+', '#']), 0x90);
        body.binary(faults)?;
        will_topic = Some(topic);
        faults.add_if(will_qos == 2, 0x9B);
        faults.add_if(flag(5) && v5, 0x9A);
    }
    let user = if flag(7) { Some(body.string(faults)?) } else { None };
    let password = if flag(6) { Some(body.binary(faults)?) } else { None };
    faults.add_if(!body.is_empty(), MALFORMED);
    Ok(Fields { client_id, user, password, will_topic, has_method, maximum_packet_size })
}

/// Design §4: user name and secret, client id, the will's topic.
fn rights(role: Role, v5: bool, fields: &Fields<'_>, faults: &mut Faults) {
    let (name, secret) = match role {
        Role::Agent => (AGENT.to_owned(), AGENT_SECRET),
        Role::Operator => (format!("op:{OPERATOR}"), OPERATOR_SECRET),
    };
    let same = |user: &&str| match role {
        Role::Agent => user.eq_ignore_ascii_case(&name),
        Role::Operator => **user == name,
    };
    faults.add_if(fields.has_method && v5, NO_METHOD);
    faults.add_if(!fields.user.as_ref().is_some_and(same), WRONG);
    faults.add_if(fields.password != Some(secret.as_bytes()), WRONG);
    if role == Role::Agent {
        let own = fields.client_id.is_empty() || fields.client_id.eq_ignore_ascii_case(&name);
        faults.add_if(!own, NOT_VALID_ID);
    }
    if let Some(topic) = fields.will_topic {
        faults.add_if(!super::packets::may_publish(role, topic), NOT_AUTHORISED);
    }
}
