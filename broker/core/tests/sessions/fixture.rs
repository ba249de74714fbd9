//! Packets and sessions to begin with.

use wakemq_core::packet::{
    ClientPacket, ClientPublish, Connect, ProtocolLevel, QoS, ReasonCode, ServerPacket, ServerPublish,
    Subscribe, SubscribeFilter, Will,
};
use wakemq_core::{AgentAction, AgentSession, OperatorAction, OperatorSession, Rights};
use wakemq_protocol::{Command, CommandId, GroupPath, Kind, Priority, Timestamp};

pub(crate) const V4: ProtocolLevel = ProtocolLevel::V4;
pub(crate) const V5: ProtocolLevel = ProtocolLevel::V5;
pub(crate) const BOTH: [ProtocolLevel; 2] = [V4, V5];
/// The broker's longest keep-alive in these tests, in seconds.
pub(crate) const KEEP_ALIVE_MAX_SECS: u16 = 600;

/// A CONNECT of the agent `Printer-7`.
pub(crate) fn connect(level: ProtocolLevel) -> Connect {
    Connect {
        level,
        clean_start: true,
        keep_alive_secs: 60,
        client_id: "Printer-7".into(),
        username: Some("Printer-7".into()),
        password: Some(b"wma_secret".to_vec()),
        receive_maximum: 65_535,
        maximum_packet_size: None,
        request_problem_information: true,
        session_expiry_secs: 0,
        instance: None,
        has_auth_method: false,
        will: None,
    }
}

pub(crate) fn will(topic: &str, payload: &str) -> Will {
    Will {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_secs: 0,
        message_expiry_secs: None,
        response_topic: None,
        correlation_data: None,
    }
}

/// The session of the agent `Printer-7`.
pub(crate) fn agent(connect: Connect) -> AgentSession {
    let id = "Printer-7".parse().expect("a good id");
    AgentSession::new(id, connect, KEEP_ALIVE_MAX_SECS, 0)
}

/// The session of the operator `console`, who may command everything.
pub(crate) fn operator(connect: Connect) -> OperatorSession {
    let name = "console".parse().expect("a good name");
    OperatorSession::new(name, rights(true, ""), connect, KEEP_ALIVE_MAX_SECS, 0)
}

pub(crate) fn rights(may_command: bool, scope: &str) -> Rights {
    let scope: GroupPath = scope.parse().expect("a good group");
    Rights { may_command, scope }
}

pub(crate) fn drain_agent(session: &mut AgentSession) -> Vec<AgentAction> {
    std::iter::from_fn(|| session.poll_action()).collect()
}

pub(crate) fn drain_operator(session: &mut OperatorSession) -> Vec<OperatorAction> {
    std::iter::from_fn(|| session.poll_action()).collect()
}

pub(crate) fn subscribe(packet_id: u16, filters: &[(&str, QoS)]) -> ClientPacket {
    let filters = filters.iter().map(|(filter, qos)| SubscribeFilter {
        filter: (*filter).to_owned(),
        qos: *qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    });
    ClientPacket::Subscribe(Subscribe { packet_id, subscription_id: None, filters: filters.collect() })
}

pub(crate) fn unsubscribe(packet_id: u16, filters: &[&str]) -> ClientPacket {
    ClientPacket::Unsubscribe {
        packet_id,
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
    }
}

/// A QoS 1 publication with a packet id, a QoS 0 one without.
pub(crate) fn publish(topic: &str, payload: &str, packet_id: Option<u16>) -> ClientPublish {
    ClientPublish {
        topic: topic.into(),
        payload: payload.into(),
        qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
        packet_id,
        dup: false,
        retain: false,
        message_expiry_secs: None,
        response_topic: None,
        correlation_data: None,
    }
}

pub(crate) fn puback(packet_id: u16, reason: ReasonCode) -> ClientPacket {
    ClientPacket::PubAck { packet_id, reason }
}

pub(crate) fn command_id(n: u64) -> CommandId {
    CommandId::from_parts(n, &[0; 10])
}

pub(crate) fn command(n: u64) -> Command {
    Command {
        id: command_id(n),
        kind: Kind::Wake,
        slot: None,
        ttl: 3600,
        priority: Priority::Normal,
        reason: None,
        issued: Timestamp::from_unix_ms(0),
        by: "op:console".into(),
        relay: None,
    }
}

/// What a list of server packets carries of the kind PUBLISH.
pub(crate) fn published(packet: &ServerPacket) -> Option<&ServerPublish> {
    if let ServerPacket::Publish(publish) = packet { Some(publish) } else { None }
}

/// The packet id and the command of each publication among an agent's actions.
pub(crate) fn commands_sent(actions: &[AgentAction]) -> Vec<(u16, CommandId)> {
    let packets = actions.iter().filter_map(|action| match action {
        AgentAction::Send(packet) => published(packet),
        _ => None,
    });
    packets
        .map(|publish| {
            let command: Command = serde_json::from_slice(&publish.payload).expect("a command");
            (publish.packet_id.expect("commands go at QoS 1"), command.id)
        })
        .collect()
}

/// An operator's session with subscriptions that were answered.
pub(crate) fn subscribed(connect: Connect, filters: &[(&str, QoS)]) -> OperatorSession {
    let mut session = operator(connect);
    session.handle_packet(subscribe(1, filters), 0);
    drain_operator(&mut session);
    session
}

/// What was published since the last look; anything else is a failure.
pub(crate) fn sent(session: &mut OperatorSession) -> Vec<ServerPublish> {
    let publish = |action| match action {
        OperatorAction::Send(packet) => published(&packet).expect("only publications").clone(),
        other => panic!("{other:?}"),
    };
    drain_operator(session).into_iter().map(publish).collect()
}
