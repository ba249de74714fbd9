//! The CONNECT: who it is, and whether it may come in.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use wakemq_core::login::{Claimed, Login, foreign_will, refusal, wrong_secret};
use wakemq_core::packet::{Connect, ReasonCode, ServerPacket};
use wakemq_core::{AgentSession, Instance, OperatorSession, login};
use wakemq_protocol::limits::PACKET_MAX_UNAUTHENTICATED;
use wakemq_protocol::{AgentId, GroupPath};

use super::wire::{Io, Wire, WireEnd};
use super::{Door, Session, agent, operator, stopping};
use crate::engine::{Answer, Caller, Operator};
use crate::metrics::Refused;
use crate::mqtt::{self, DecodeError, Frame, Peer};
use crate::registry::{Arrival, Mailbox};
use crate::store::Principal;
use crate::transport::socket::keepalive_idle;

/// What the first packet was.
enum First {
    Connect(Box<Connect>),
    /// Refused; `None` means without an answer.
    Bad(DecodeError),
}

/// Takes the CONNECT, which must have come by `deadline`; says why not, and closes, if nobody is let in.
pub(super) async fn login<S: Io>(
    door: &Arc<Door>,
    mut wire: Box<Wire<S>>,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Session<S>, Refused> {
    let connect = match timeout_at(deadline, read_connect(&mut wire)).await {
        Ok(Ok(First::Connect(connect))) => connect,
        Ok(Ok(First::Bad(error))) => {
            tracing::debug!(%address, %error, "refused a first packet");
            let answer = error.level.map(|level| {
                wire.set_peer(Peer::unknown(level));
                ServerPacket::ConnAck(*refusal(error.reason, error.detail))
            });
            wire.farewell(answer).await;
            return Err(Refused::of_connect(error.reason));
        }
        Ok(Err(end)) => {
            tracing::debug!(%address, %end, "ended before CONNECT");
            // What tells the peer why is sealed already.
            wire.farewell(None).await;
            return Err(end.counts_as());
        }
        Err(_) => {
            tracing::debug!(%address, "no CONNECT in time");
            wire.farewell(None).await;
            return Err(Refused::ConnectTimeout);
        }
    };
    wire.set_peer(Peer::of(&connect));
    let mailbox = door.engine.registry().open(address, wire.transport());
    if *door.draining.borrow() {
        // It came in while the others were asked to end.
        mailbox.evict(stopping());
    }
    match admit(door, &mut wire, *connect, &mailbox).await {
        Ok(Admitted::Agent(session)) => {
            Ok(Session::Agent(agent::Connection::new(door.clone(), *wire, session, mailbox)))
        }
        Ok(Admitted::Operator(who, session, client_id)) => Ok(Session::Operator(operator::Connection::new(
            door.clone(),
            *wire,
            who,
            session,
            client_id,
            mailbox,
        ))),
        Err(refused) => {
            door.engine.registry().close(&mailbox);
            tracing::warn!(
                %address, reason = refused.reason.text(), text = refused.reason_string, "refused a CONNECT"
            );
            let reason = refused.reason;
            if reason == ReasonCode::BadUserNameOrPassword
                && door.engine.wrong_secret(address.ip(), &door.draining.subscribe()).await
                    == Answer::Withhold
            {
                // No farewell: that takes what somebody costs who has just cost enough.
                return Err(Refused::Throttled);
            }
            wire.farewell(Some(ServerPacket::ConnAck(*refused))).await;
            Err(Refused::of_connect(reason))
        }
    }
}

async fn read_connect<S: Io>(wire: &mut Wire<S>) -> Result<First, WireEnd> {
    loop {
        let level = mqtt::connect_level(wire.plain());
        let bad = |reason, detail| DecodeError { reason, detail, level };
        match mqtt::frame(wire.plain(), PACKET_MAX_UNAUTHENTICATED) {
            Frame::NeedMore => poll_fn(|cx| wire.poll_io(cx, true)).await?,
            Frame::Whole(len) => {
                let connect = mqtt::decode_connect(&wire.plain()[..len]);
                wire.consume(len);
                return Ok(match connect {
                    Ok(connect) => First::Connect(Box::new(connect)),
                    Err(error) => First::Bad(error),
                });
            }
            Frame::TooLarge(_) => {
                let text = "a packet of more than 4 KiB before authentication";
                return Ok(First::Bad(bad(ReasonCode::PacketTooLarge, text)));
            }
            Frame::Malformed => {
                let text = "the remaining length is no number";
                return Ok(First::Bad(bad(ReasonCode::MalformedPacket, text)));
            }
        }
    }
}

enum Admitted {
    Agent(AgentSession),
    Operator(Operator, OperatorSession, String),
}

async fn admit<S: Io>(
    door: &Door,
    wire: &mut Wire<S>,
    connect: Connect,
    mailbox: &Arc<Mailbox>,
) -> Result<Admitted, login::Refused> {
    let login = login::read(connect)?;
    let revocations = door.engine.revocations();
    let principal = authenticate(door, &login).await?;
    let grants = door.grants();
    let now_ms = door.engine.clock().mono_ms();
    let assigned = match &login.claimed {
        Claimed::Agent(agent) => agent.to_string(),
        Claimed::Operator(name) => format!("{name}-{}", mailbox.id().0),
    };
    let connack = login.admit(&assigned, &grants)?;
    let keep_alive_max = grants.keep_alive_max_secs;
    let admitted = match principal {
        Principal::Agent { group, .. } => {
            let Claimed::Agent(agent) = login.claimed.clone() else { return Err(wrong_secret()) };
            arrive(door, &agent, &group, mailbox, login.connect.instance.as_deref())?;
            if door.engine.revocations() != revocations {
                match authenticate(door, &login).await {
                    Ok(Principal::Agent { group, .. }) => door.engine.registry().set_group(&agent, &group),
                    Ok(Principal::Operator { .. }) => return Err(wrong_secret()),
                    Err(refused) => {
                        door.engine.registry().leave(&agent, mailbox.id());
                        return Err(refused);
                    }
                }
            }
            Admitted::Agent(AgentSession::new(agent, login.connect, keep_alive_max, now_ms))
        }
        Principal::Operator { name, role, scope } => {
            let who = Operator { name, role, scope };
            check_will(door, &login, &who, mailbox).await?;
            let client_id =
                connack.assigned_client_id.clone().unwrap_or_else(|| login.connect.client_id.clone());
            door.engine.registry().operator_arrives(&who.name, &client_id, mailbox);
            if door.engine.revocations() != revocations
                && let Err(refused) = authenticate(door, &login).await
            {
                door.engine.registry().operator_leaves(&who.name, &client_id, mailbox.id());
                return Err(refused);
            }
            let session = OperatorSession::new(
                who.name.clone(),
                who.session_rights(),
                login.connect,
                keep_alive_max,
                now_ms,
            );
            Admitted::Operator(who, session, client_id)
        }
    };
    let keep_alive_secs = match &admitted {
        Admitted::Agent(session) => session.keep_alive_secs(),
        Admitted::Operator(_, session, _) => session.keep_alive_secs(),
    };
    if let Err(error) = wire.io().probe_after(keepalive_idle(keep_alive_secs, door.limits.connect)) {
        tracing::debug!(%error, "no probes on this connection");
    }
    if let Err(error) = wire.send(&ServerPacket::ConnAck(connack)) {
        // The client takes no packet as large as the CONNACK: the session ends with its first step.
        tracing::debug!(%error, "no CONNACK");
    }
    Ok(admitted)
}

/// Proves the secret, and that it is the one of whom the user name claims.
async fn authenticate(door: &Door, login: &Login) -> Result<Principal, login::Refused> {
    let password = login.connect.password.as_deref().unwrap_or_default();
    let presented = std::str::from_utf8(password).map_err(|_| wrong_secret())?;
    let found = door.engine.authenticate(presented).await.map_err(|error| {
        tracing::warn!(%error, "nobody can be authenticated");
        refusal(ReasonCode::ServerUnavailable, "the broker's store cannot be read at the moment")
    })?;
    match (&login.claimed, found) {
        (Claimed::Agent(claimed), Some(Principal::Agent { agent, group })) if agent == *claimed => {
            Ok(Principal::Agent { agent, group })
        }
        (Claimed::Operator(claimed), Some(operator @ Principal::Operator { .. })) if matches!(&operator, Principal::Operator { name, .. } if name == claimed) => {
            Ok(operator)
        }
        _ => Err(wrong_secret()),
    }
}

/// Authorises an operator's will, as far as can be known before it is published.
async fn check_will(
    door: &Door,
    login: &Login,
    who: &Operator,
    mailbox: &Mailbox,
) -> Result<(), login::Refused> {
    let Some(agent) = login.check_operator_will(&who.session_rights())? else { return Ok(()) };
    let caller = Caller { name: who.name.clone(), address: Some(mailbox.address()) };
    match door.engine.agent(&caller, agent).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_retryable() => {
            tracing::warn!(%error, "nobody's will can be authorised");
            Err(refusal(ReasonCode::ServerUnavailable, "the broker's store cannot be read at the moment"))
        }
        Err(_) => Err(foreign_will()),
    }
}

fn arrive(
    door: &Door,
    agent: &AgentId,
    group: &GroupPath,
    mailbox: &Arc<Mailbox>,
    instance: Option<&str>,
) -> Result<(), login::Refused> {
    match door.engine.arrive(agent, group, mailbox, instance.map(Instance::id_of)) {
        Arrival::Admitted | Arrival::Cloned { .. } => Ok(()),
        Arrival::Wait { secs } => {
            let text = "two instances use this identity: it was cloned; enrol one of them anew";
            let mut refused = refusal(ReasonCode::ConnectionRateExceeded, text);
            refused.user_properties.push(("wakemq-return".to_owned(), secs.to_string()));
            Err(refused)
        }
    }
}
