//! Packets after CONNECT: MQTT 5 §3.3 to §3.15, and the design's rights.

use super::reader::{Place, Reader, properties};
use super::{Cut, Faults, MALFORMED, PROTOCOL};
use crate::case::{AGENT, Codes, OPERATOR, Peer, Role, Said};

const NOT_AUTHORISED: u8 = 0x87;

/// What a good packet is answered with.
pub(super) enum Answer {
    Says(Option<Said>),
    Leaves,
}

/// Judges one whole packet; what is wrong goes into `faults`.
pub(super) fn judge(peer: Peer, first: u8, mut body: Reader<'_>, faults: &mut Faults) -> Result<Answer, Cut> {
    let (kind, flags) = (first >> 4, first & 15);
    let wanted = match kind {
        3 => flags,
        6 | 8 | 10 => 2,
        _ => 0,
    };
    faults.add_if(flags != wanted, MALFORMED);
    let body = &mut body;
    let answer = match kind {
        3 => publish(peer, flags, body, faults)?,
        4 => puback(peer, body, faults)?,
        8 => Some(subscribe(peer, body, faults)?),
        10 => Some(unsubscribe(peer, body, faults)?),
        12 => Some(Said::Pong),
        14 => {
            disconnect(peer, body, faults)?;
            ended(body, faults);
            return Ok(Answer::Leaves);
        }
        // A second CONNECT, what brokers send, what belongs to QoS 2, AUTH without a method.
        1 | 2 | 5 | 6 | 7 | 9 | 11 | 13 => {
            faults.add(PROTOCOL);
            return Err(Cut);
        }
        15 if peer.v5() => {
            faults.add(PROTOCOL);
            return Err(Cut);
        }
        _ => {
            faults.add(MALFORMED);
            return Err(Cut);
        }
    };
    ended(body, faults);
    Ok(Answer::Says(answer))
}

fn ended(body: &Reader<'_>, faults: &mut Faults) {
    faults.add_if(!body.is_empty(), MALFORMED);
}

fn packet_id(body: &mut Reader<'_>, faults: &mut Faults) -> Result<u16, Cut> {
    let id = body.number(2, faults)?;
    faults.add_if(id == 0, PROTOCOL);
    Ok(id as u16)
}

fn publish(peer: Peer, flags: u8, body: &mut Reader<'_>, faults: &mut Faults) -> Result<Option<Said>, Cut> {
    let qos = flags >> 1 & 3;
    faults.add_if(qos == 3 || flags & 8 != 0 && qos == 0, MALFORMED);
    let topic = body.string(faults)?;
    let id = if qos > 0 { packet_id(body, faults)? } else { 0 };
    if peer.v5() {
        let seen = properties(body, Place::Publish, faults)?;
        faults.add_if(topic.is_empty() && !seen.ids.contains(&0x23), PROTOCOL);
        faults.add_if(flags & 1 != 0, 0x9A);
    }
    faults.add_if(topic.is_empty() && !peer.v5() || topic.contains(['+', '#']), 0x90);
    faults.add_if(qos == 2, 0x9B);
    while !body.is_empty() {
        body.byte(faults)?;
    }
    let allowed = may_publish(peer.role, topic);
    // 3.1.1 has no way to say it but closing (3.1.1 §3.3.5).
    faults.add_if(!allowed && !peer.v5() && faults.0.is_empty(), NOT_AUTHORISED);
    let codes = match (peer.v5(), allowed) {
        (false, _) => vec![0],
        (true, false) => vec![NOT_AUTHORISED],
        (true, true) => vec![0x00, 0x10, 0x83, NOT_AUTHORISED, 0x97, 0x99],
    };
    Ok((qos > 0).then_some(Said::PubAck(id, codes)))
}

/// Design §4, the table of topics.
pub(super) fn may_publish(role: Role, topic: &str) -> bool {
    let Some(rest) = topic.strip_prefix("wake/v1/") else { return false };
    let levels: Vec<_> = rest.split('/').collect();
    match (role, &levels[..]) {
        (Role::Agent, ["agents", agent, "receipts" | "facts" | "reports"]) => {
            agent.eq_ignore_ascii_case(AGENT)
        }
        (Role::Operator, ["agents", agent, "commands"]) => is_word(agent, char::is_ascii_alphanumeric),
        (Role::Operator, ["groups", path @ .., "commands"]) => {
            let letter = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
            path.len() <= 8 && path.iter().all(|segment| is_word(segment, letter))
        }
        _ => false,
    }
}

fn is_word(word: &str, letter: impl Fn(&char) -> bool) -> bool {
    word.len() <= 64
        && word.chars().next().is_some_and(|c| letter(&c))
        && word.chars().all(|c| letter(&c) || "._-".contains(c))
}

fn puback(peer: Peer, body: &mut Reader<'_>, faults: &mut Faults) -> Result<Option<Said>, Cut> {
    packet_id(body, faults)?;
    if peer.v5() && !body.is_empty() {
        let reason = body.byte(faults)?;
        let known = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        faults.add_if(!known.contains(&reason), MALFORMED);
        if !body.is_empty() {
            properties(body, Place::PubAck, faults)?;
        }
    }
    ended(body, faults);
    // Nothing is in flight to those who send cases (design §3: only of what is in flight).
    faults.add_if(faults.0.is_empty(), PROTOCOL);
    Ok(None)
}

fn subscribe(peer: Peer, body: &mut Reader<'_>, faults: &mut Faults) -> Result<Said, Cut> {
    let id = packet_id(body, faults)?;
    let mut numbered = false;
    if peer.v5() {
        numbered = properties(body, Place::Subscribe, faults)?.ids.contains(&0x0B);
    }
    faults.add_if(body.is_empty(), PROTOCOL);
    let mut codes = Vec::new();
    while !body.is_empty() {
        let filter = body.string(faults)?;
        let options = body.byte(faults)?;
        let qos = options & 3;
        if peer.v5() {
            faults.add_if(options & 0b1100_0000 != 0, MALFORMED);
            faults.add_if(qos == 3 || options >> 4 & 3 == 3, PROTOCOL);
            faults.add_if(options & 4 != 0 && filter.starts_with("$share/"), PROTOCOL);
        } else {
            faults.add_if(options > 2, MALFORMED);
        }
        faults.add_if(!is_filter(filter), 0x8F);
        let granted = if numbered { vec![0xA1] } else { grant(peer.role, filter, qos) };
        let in_3 = |code: &u8| if *code < 0x80 { *code } else { 0x80 };
        codes.push(if peer.v5() { granted } else { granted.iter().map(in_3).collect() });
    }
    Ok(Said::SubAck(id, codes))
}

fn grant(role: Role, filter: &str, qos: u8) -> Codes {
    let responses = format!("wake/v1/operators/{OPERATOR}/responses/");
    if filter.starts_with("$share/") {
        return vec![0x9E];
    }
    match role {
        Role::Agent => {
            let agent =
                filter.strip_prefix("wake/v1/agents/").and_then(|rest| rest.strip_suffix("/commands"));
            let own = agent.is_some_and(|agent| agent.eq_ignore_ascii_case(AGENT));
            match (own, qos) {
                (false, _) => vec![NOT_AUTHORISED],
                (true, 0) => vec![0x83],
                (true, _) => vec![1],
            }
        }
        Role::Operator if filter.strip_prefix(&responses).is_some_and(|name| !name.is_empty()) => {
            vec![qos.min(1), 0x97]
        }
        // Which of them are offered is for the tests of events to say.
        Role::Operator if filter.starts_with("wake/v1/events") => {
            vec![qos.min(1), 0, 0x83, NOT_AUTHORISED, 0x8F, 0x97]
        }
        Role::Operator => vec![NOT_AUTHORISED],
    }
}

fn unsubscribe(peer: Peer, body: &mut Reader<'_>, faults: &mut Faults) -> Result<Said, Cut> {
    let id = packet_id(body, faults)?;
    if peer.v5() {
        properties(body, Place::Unsubscribe, faults)?;
    }
    faults.add_if(body.is_empty(), PROTOCOL);
    let mut filters = 0;
    while !body.is_empty() {
        let filter = body.string(faults)?;
        faults.add_if(!is_filter(filter), 0x8F);
        filters += 1;
    }
    // 3.1.1 has no codes in its UNSUBACK (3.1.1 §3.11).
    Ok(Said::UnsubAck(id, if peer.v5() { filters } else { 0 }))
}

/// §4.7.1, and §4.8.2 for shared ones.
fn is_filter(filter: &str) -> bool {
    let plain = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((name, plain)) if !name.is_empty() && !name.contains(['+', '#']) => plain,
            _ => return false,
        },
    };
    let levels: Vec<_> = plain.split('/').collect();
    !plain.is_empty()
        && levels.iter().enumerate().all(|(at, level)| match *level {
            "#" => at + 1 == levels.len(),
            "+" => true,
            word => !word.contains(['+', '#']),
        })
}

fn disconnect(peer: Peer, body: &mut Reader<'_>, faults: &mut Faults) -> Result<(), Cut> {
    if !peer.v5() || body.is_empty() {
        return Ok(());
    }
    let reason = body.byte(faults)?;
    // Table 3-10: what a client may say, what only a broker may, and what there is not.
    match reason {
        0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99 => {}
        0x87 | 0x89 | 0x8B | 0x8D..=0x8F | 0x9A..=0xA2 => faults.add(PROTOCOL),
        // Codes of other packets.
        0x01 | 0x02 | 0x10 | 0x11 | 0x18 | 0x19 | 0x84..=0x86 | 0x88 | 0x8A | 0x8C | 0x91 | 0x92 => {
            faults.add(PROTOCOL);
            faults.add(MALFORMED);
        }
        _ => faults.add(MALFORMED),
    }
    if !body.is_empty() {
        let seen = properties(body, Place::Disconnect, faults)?;
        // §3.14.2.2.2: it was 0 at CONNECT.
        faults.add_if(seen.session_expiry > 0, PROTOCOL);
    }
    Ok(())
}
