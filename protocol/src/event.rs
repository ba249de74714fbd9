//! Events: what operators are told of agents and commands, as it happens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    AgentId, CommandId, Facts, GroupPath, Kind, News, ParseIdError, PowerNews, Timestamp, Transport,
};

/// The kinds of events; each is a level of the topic `wake/v1/events/{kind}/{group…}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// Agents come, go, and tell of themselves.
    Presence,
    /// Commands change their state.
    Command,
    /// Endpoints are switched on.
    Power,
    /// Agents report.
    Report,
    /// Something that a person should look at.
    Security,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Presence, Self::Command, Self::Power, Self::Report, Self::Security];

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Command => "command",
            Self::Power => "power",
            Self::Report => "report",
            Self::Security => "security",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ParseIdError::new(
            "kind of events",
            "presence, command, power, report or security is allowed",
        ))
    }
}

/// An event, as an operator gets it.
///
/// Events come at most once. `seq` counts those of one connection from 1; where it leaps, at most as many were lost
/// as it leaps over. The truth about a command is `GET /v1/commands/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number within the operator's connection.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub news: EventNews,
}

/// What happened, when and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventNews {
    /// When.
    pub at: Timestamp,
    /// In which group: the agent's, or the target's; the root for what belongs to none.
    pub group: GroupPath,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum EventBody {
    /// An agent came, went, or told of itself.
    Presence {
        /// The agent.
        agent: AgentId,
        /// What changed.
        change: PresenceChange,
        /// The address of its connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// How it speaks on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transport: Option<Transport>,
        /// Why it went.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// What it told of itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<Box<Facts>>,
    },
    /// A command changed its state.
    Command {
        /// What was asked.
        kind: Kind,
        /// Who published it.
        by: String,
        /// The change, as a Response Topic gets it: of one agent's command, or of a command for a group as a whole.
        #[serde(rename = "update")]
        news: News,
    },
    /// Endpoints are switched on, or cannot be any more.
    Power {
        /// What.
        #[serde(flatten)]
        news: PowerNews,
    },
    /// An agent reports; what, is between it and the management server.
    Report {
        /// The agent.
        agent: AgentId,
        /// The report.
        report: Map<String, Value>,
    },
    /// Something that a person should look at.
    Security {
        /// What.
        what: SecurityWhat,
        /// Whom it concerns, if it is known: `agent:` and an id, or `op:` and a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
        /// From which addresses.
        addresses: Vec<String>,
        /// The same in words, with what to do.
        detail: String,
    },
}

impl EventBody {
    /// Returns the kind, which is a level of the topic.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Presence { .. } => EventKind::Presence,
            Self::Command { .. } => EventKind::Command,
            Self::Power { .. } => EventKind::Power,
            Self::Report { .. } => EventKind::Report,
            Self::Security { .. } => EventKind::Security,
        }
    }
}

/// What changed with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceChange {
    /// It is connected and subscribed: commands reach it.
    Connected,
    /// It is not any more.
    Disconnected,
    /// It told of itself.
    Facts,
}

/// What a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityWhat {
    /// Two instances of one identity alternate.
    ClonedIdentity,
    /// A source address keeps giving wrong secrets.
    WrongSecrets,
    /// So many connections come from a source address that some were turned away for the sake of others.
    ConnectionFlood,
    /// An agent told of a command that is not its own.
    ForeignReceipt,
}

impl EventNews {
    /// Returns the id of the command that the event is about.
    pub fn command(&self) -> Option<CommandId> {
        match &self.body {
            EventBody::Command { news, .. } => Some(news.id()),
            EventBody::Power { news: PowerNews::Step { command, .. } } => Some(*command),
            EventBody::Presence { .. }
            | EventBody::Power { .. }
            | EventBody::Report { .. }
            | EventBody::Security { .. } => None,
        }
    }
}
