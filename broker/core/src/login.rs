//! From a CONNECT to a session: who it is, and whether it may come in.

use wakemq_protocol::limits::PACKET_MAX;
use wakemq_protocol::{AgentId, OperatorName, Topic};

use crate::Rights;
use crate::packet::{ConnAck, Connect, ProtocolLevel, QoS, ReasonCode, Will};

/// Whom a CONNECT claims to be; nothing is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// An agent, by its id as the user name.
    Agent(AgentId),
    /// An operator, by `op:` and its name as the user name.
    Operator(OperatorName),
}

/// A CONNECT that is worth a look at its secret.
#[derive(Debug)]
pub struct Login {
    /// Whom it claims to be.
    pub claimed: Claimed,
    /// What it asks for.
    pub connect: Connect,
}

/// What a broker grants to every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// Longest keep-alive, in seconds.
    pub keep_alive_max_secs: u16,
    /// Within how many seconds an agent returns after a lost connection.
    pub return_secs: u32,
    /// How many submissions an operator may have under way.
    pub receive_maximum: u16,
}

/// Why a CONNECT is refused.
pub type Refused = Box<ConnAck>;

/// Makes a refusal with a text.
pub fn refusal(reason: ReasonCode, text: &str) -> Refused {
    Box::new(ConnAck { reason, reason_string: Some(text.to_owned()), ..ConnAck::default() })
}

/// Reads who wants in; what cannot be anybody is refused at once.
pub fn read(connect: Connect) -> Result<Login, Refused> {
    if connect.has_auth_method {
        let text = "no enhanced authentication is offered: give user name and password";
        return Err(refusal(ReasonCode::BadAuthenticationMethod, text));
    }
    let claimed = connect.username.as_deref().and_then(|name| match name.strip_prefix("op:") {
        Some(operator) => operator.parse().ok().map(Claimed::Operator),
        None => name.parse().ok().map(Claimed::Agent),
    });
    match claimed {
        Some(claimed) if connect.password.is_some() => Ok(Login { claimed, connect }),
        _ => Err(wrong_secret()),
    }
}

/// The one answer to all that is wrong with user name and password, so that it tells nothing about either.
pub fn wrong_secret() -> Refused {
    refusal(ReasonCode::BadUserNameOrPassword, "unknown user name or wrong password")
}

impl Login {
    /// Decides, once the secret is proven, on client id and will; gives the CONNACK that lets it in.
    ///
    /// `assigned` is the client id for a client without one: the agent's id, or something random.
    pub fn admit(&self, assigned: &str, grants: &Grants) -> Result<ConnAck, Refused> {
        let connect = &self.connect;
        let v4 = connect.level == ProtocolLevel::V4;
        if connect.client_id.is_empty() && v4 && !connect.clean_start {
            let text = "a client without a client id must ask for a clean session";
            return Err(refusal(ReasonCode::ClientIdentifierNotValid, text));
        }
        if let Claimed::Agent(agent) = &self.claimed {
            let own = |id: &str| id.parse::<AgentId>().is_ok_and(|id| id == *agent);
            if !connect.client_id.is_empty() && !own(&connect.client_id) {
                let text = "an agent's client id is its agent id";
                return Err(refusal(ReasonCode::ClientIdentifierNotValid, text));
            }
        }
        if let Some(will) = &connect.will {
            self.check_will(will)?;
        }
        let keep_alive = connect.keep_alive_secs;
        let over = keep_alive == 0 || keep_alive > grants.keep_alive_max_secs;
        Ok(ConnAck {
            session_expiry_secs: (connect.session_expiry_secs != 0).then_some(0),
            receive_maximum: Some(grants.receive_maximum),
            maximum_qos: Some(QoS::AtLeastOnce),
            retain_available: Some(false),
            maximum_packet_size: u32::try_from(PACKET_MAX).ok(),
            assigned_client_id: connect.client_id.is_empty().then(|| assigned.to_owned()),
            user_properties: vec![("wakemq-return".to_owned(), grants.return_secs.to_string())],
            subscription_ids_available: Some(false),
            shared_subscription_available: Some(false),
            server_keep_alive_secs: over.then_some(grants.keep_alive_max_secs),
            ..ConnAck::default()
        })
    }

    fn check_will(&self, will: &Will) -> Result<(), Refused> {
        if will.retain && self.connect.level == ProtocolLevel::V5 {
            return Err(refusal(ReasonCode::RetainNotSupported, "no retained messages: clear will retain"));
        }
        if will.qos == QoS::ExactlyOnce {
            return Err(refusal(ReasonCode::QoSNotSupported, "the will's QoS is at most 1"));
        }
        let allowed = match (&self.claimed, will.topic.parse::<Topic>()) {
            (Claimed::Agent(agent), Ok(topic)) => may_publish(agent, &topic),
            (Claimed::Operator(_), Ok(Topic::AgentCommands(_) | Topic::GroupCommands(_))) => true,
            (Claimed::Operator(_), _) | (Claimed::Agent(_), Err(_)) => false,
        };
        if allowed { Ok(()) } else { Err(foreign_will()) }
    }

    /// Authorises an operator's will, as far as its topic tells; gives the agent that it is for where that one's
    /// group has to be looked at too. It is authorised again when it is published.
    pub fn check_operator_will(&self, rights: &Rights) -> Result<Option<AgentId>, Refused> {
        let Some(will) = &self.connect.will else { return Ok(None) };
        match will.topic.parse::<Topic>() {
            Ok(_) if !rights.may_command => Err(foreign_will()),
            Ok(Topic::GroupCommands(group)) if !rights.scope.contains(&group) => Err(foreign_will()),
            Ok(Topic::AgentCommands(agent)) if !rights.scope.is_root() => Ok(Some(agent)),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

/// The refusal of a will that may not be published.
pub fn foreign_will() -> Refused {
    refusal(ReasonCode::NotAuthorized, "the will's topic is not yours")
}

/// Tells whether an agent may publish to a topic: to its own receipts, facts and reports.
pub(crate) fn may_publish(agent: &AgentId, topic: &Topic) -> bool {
    match topic {
        Topic::AgentReceipts(of) | Topic::AgentFacts(of) | Topic::AgentReports(of) => of == agent,
        Topic::AgentCommands(_) | Topic::GroupCommands(_) | Topic::Event { .. } | Topic::Response { .. } => {
            false
        }
    }
}
