//! Packets: from bytes to the sessions of `wakemq-core`, and back to bytes.

use wakemq_core::login::{self, Claimed, Grants};
use wakemq_core::packet::{Connect, ProtocolLevel, ReasonCode, ServerPacket};
use wakemq_core::{AgentAction, AgentSession, OperatorAction, OperatorSession, Refusal, Rights};
use wakemq_protocol::limits::{PACKET_MAX, PACKET_MAX_UNAUTHENTICATED};
use wakemq_protocol::{
    AgentId, Command, CommandId, EventKind, GroupPath, Kind, OperatorName, Priority, Timestamp, Topic,
};

use crate::mqtt::{Frame, Peer, connect_level, decode, decode_connect, encode, frame};

const NOW_MS: u64 = 1_000;
const KEEP_ALIVE_MAX_SECS: u16 = 1200;
/// How many commands wait for an agent.
const INBOX: u64 = 40;

/// Takes a first packet; the CONNACK, and the session of who would be let in, take the rest.
pub fn connect(data: &[u8]) {
    let level = connect_level(data);
    let Frame::Whole(len) = frame(data, PACKET_MAX_UNAUTHENTICATED) else { return };
    match decode_connect(&data[..len]) {
        Ok(connect) => {
            assert_eq!(level, Some(connect.level));
            let peer = Peer::of(&connect);
            let Ok(login) = login::read(connect) else { return };
            let grants =
                Grants { keep_alive_max_secs: KEEP_ALIVE_MAX_SECS, return_secs: 60, receive_maximum: 1024 };
            match login.admit("assigned", &grants) {
                Ok(connack) => {
                    written(&peer, &ServerPacket::ConnAck(connack));
                    converse(login.claimed, login.connect, &data[len..]);
                }
                Err(refused) => written(&peer, &ServerPacket::ConnAck(*refused)),
            }
        }
        Err(error) => {
            assert_ne!(
                error.detail, "refused by the decoder",
                "the check lets through what the codec refuses"
            );
            if let Some(level) = error.level {
                let refused = login::refusal(error.reason, error.detail);
                written(&Peer::unknown(level), &ServerPacket::ConnAck(*refused));
            }
        }
    }
}

/// Takes what follows a CONNECT: the first byte says the version and whose session it is.
pub fn packets(data: &[u8]) {
    let [head, stream @ ..] = data else { return };
    let level = if head & 1 == 0 { ProtocolLevel::V4 } else { ProtocolLevel::V5 };
    let claimed = if head & 2 == 0 {
        Claimed::Agent("a".parse::<AgentId>().expect("an id"))
    } else {
        Claimed::Operator("o".parse::<OperatorName>().expect("a name"))
    };
    let connect = Connect {
        level,
        clean_start: true,
        keep_alive_secs: 60,
        client_id: String::new(),
        username: None,
        password: None,
        receive_maximum: if head & 4 == 0 { u16::MAX } else { 1 },
        maximum_packet_size: (head & 8 != 0).then_some(100),
        request_problem_information: head & 16 == 0,
        session_expiry_secs: 0,
        instance: None,
        has_auth_method: false,
        will: None,
    };
    converse(claimed, connect, stream);
}

fn converse(claimed: Claimed, connect: Connect, stream: &[u8]) {
    let peer = Peer::of(&connect);
    match claimed {
        Claimed::Agent(agent) => {
            let mut session = AgentSession::new(agent, connect, KEEP_ALIVE_MAX_SECS, NOW_MS);
            let mut inbox = (1..=INBOX).map(command);
            let ended = each_packet(&peer, stream, |packet| {
                session.handle_packet(packet, NOW_MS);
                agent_acts(&peer, &mut session, &mut inbox)
            });
            if !ended {
                session.handle_inbox_changed();
                session.handle_timeout(u64::MAX);
                agent_acts(&peer, &mut session, &mut inbox);
            }
            session.handle_closed();
            agent_acts(&peer, &mut session, &mut inbox);
        }
        Claimed::Operator(name) => {
            let rights = Rights { may_command: true, scope: GroupPath::root() };
            let mut session = OperatorSession::new(name, rights, connect, KEEP_ALIVE_MAX_SECS, NOW_MS);
            let ended = each_packet(&peer, stream, |packet| {
                session.handle_packet(packet, NOW_MS);
                operator_acts(&peer, &mut session)
            });
            if !ended {
                session.handle_timeout(u64::MAX);
                operator_acts(&peer, &mut session);
            }
            session.handle_closed();
            operator_acts(&peer, &mut session);
        }
    }
}

/// Gives each whole packet to `handle` until that, or a bad one, ends the connection; tells whether it has ended.
fn each_packet(
    peer: &Peer,
    mut stream: &[u8],
    mut handle: impl FnMut(wakemq_core::packet::ClientPacket) -> bool,
) -> bool {
    loop {
        match frame(stream, PACKET_MAX) {
            Frame::Whole(len) => match decode(peer.level, &stream[..len]) {
                Ok(packet) => {
                    if handle(packet) {
                        return true;
                    }
                    stream = &stream[len..];
                }
                Err(error) => {
                    assert_ne!(
                        error.detail, "refused by the decoder",
                        "the codec refuses what the check lets by"
                    );
                    assert_eq!(error.level, Some(peer.level));
                    disconnect(peer, error.reason, error.detail);
                    return true;
                }
            },
            Frame::NeedMore => return false,
            Frame::TooLarge(_) | Frame::Malformed => return true,
        }
    }
}

/// Does what a session asks for; tells whether it has closed.
fn agent_acts(peer: &Peer, session: &mut AgentSession, inbox: &mut impl Iterator<Item = Command>) -> bool {
    while let Some(action) = session.poll_action() {
        match action {
            AgentAction::Send(packet) => written(peer, &packet),
            AgentAction::Claim => session.handle_claimed(),
            AgentAction::Fetch { max } => session.handle_page(inbox.take(max).collect(), true, NOW_MS),
            AgentAction::Acknowledged(_) | AgentAction::Failed { .. } => session.handle_recorded(NOW_MS),
            AgentAction::Receipt { packet_id, .. } => {
                session.handle_stored(packet_id);
                session.handle_recorded(NOW_MS);
            }
            AgentAction::Report { packet_id, .. } => session.handle_stored(packet_id),
            AgentAction::Facts { packet_id, .. } => session.handle_store_failed(packet_id),
            AgentAction::Close(end) => {
                disconnect(peer, end.reason, &end.text);
                return true;
            }
            AgentAction::Release | AgentAction::Pause { .. } | AgentAction::Warn(_) => {}
        }
    }
    false
}

fn operator_acts(peer: &Peer, session: &mut OperatorSession) -> bool {
    while let Some(action) = session.poll_action() {
        match action {
            OperatorAction::Send(packet) => written(peer, &packet),
            OperatorAction::Submit(request) => {
                let reply = match request.submission {
                    Ok(_) => Ok(()),
                    Err(refusal) => Err(Refusal::new(refusal.reason, refusal.text)),
                };
                session.handle_submitted(vec![(request.packet_id, reply)]);
                if let Some(response) = &request.response {
                    session.handle_response(response, b"{}".to_vec());
                }
            }
            OperatorAction::Close(end) => {
                disconnect(peer, end.reason, &end.text);
                return true;
            }
            OperatorAction::Follow(following) => {
                session.handle_events_lost(1);
                let topic = Topic::Event { kind: EventKind::Security, group: GroupPath::root() }.to_string();
                if following.wants(&topic) {
                    session.handle_event(&topic, br#"{"at":0}"#, 1);
                }
            }
            OperatorAction::Warn(_) => {}
        }
    }
    false
}

fn command(number: u64) -> Command {
    Command {
        id: CommandId::from_parts(number, &[0; 10]),
        kind: Kind::Wake,
        slot: None,
        ttl: 60,
        priority: Priority::Normal,
        reason: None,
        issued: Timestamp::from_unix_ms(0),
        by: "op:o".into(),
        relay: None,
    }
}

fn disconnect(peer: &Peer, reason: ReasonCode, text: &str) {
    let reason_string = Some(text.to_owned());
    let user_properties = vec![("wakemq-return".to_owned(), "60".to_owned())];
    written(peer, &ServerPacket::Disconnect { reason, reason_string, user_properties });
}

/// What is written is one whole packet, and no larger than the client takes.
fn written(peer: &Peer, packet: &ServerPacket) {
    let mut out = Vec::new();
    if encode(peer, packet, &mut out).is_ok() && !out.is_empty() {
        assert!(out.len() <= peer.maximum_packet_size as usize);
        assert_eq!(frame(&out, usize::MAX), Frame::Whole(out.len()));
    }
}
