//! Topics: the only place where their text exists.

use std::fmt;
use std::str::FromStr;

use crate::limits::RESPONSE_NAME_MAX;
use crate::{AgentId, EventKind, GroupPath, OperatorName, ParseIdError};

/// Where every topic begins.
const PREFIX: &str = "wake/v1/";

/// A topic of wire protocol v1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `wake/v1/agents/{agent}/commands`: operators publish, that agent alone subscribes.
    AgentCommands(AgentId),
    /// `wake/v1/agents/{agent}/receipts`: that agent publishes.
    AgentReceipts(AgentId),
    /// `wake/v1/agents/{agent}/facts`: that agent publishes.
    AgentFacts(AgentId),
    /// `wake/v1/agents/{agent}/reports`: that agent publishes.
    AgentReports(AgentId),
    /// `wake/v1/groups/{group…}/commands`: operators publish, nobody subscribes.
    GroupCommands(GroupPath),
    /// `wake/v1/events/{kind}/{group…}`: the broker publishes, operators subscribe.
    Event {
        /// What kind of event.
        kind: EventKind,
        /// In which group.
        group: GroupPath,
    },
    /// `wake/v1/operators/{operator}/responses/{name…}`: the broker publishes, that operator alone subscribes.
    Response {
        /// Whose response it is.
        operator: OperatorName,
        /// Everything after `responses/`.
        name: Box<str>,
    },
}

/// Says why a text is no topic of wire protocol v1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No such topic.
    #[error("no such topic in wire protocol v1")]
    Unknown,
    /// A part of it is not what it must be.
    #[error(transparent)]
    Part(#[from] ParseIdError),
}

impl Topic {
    /// Returns the filter that matches all responses to an operator, for its subscription.
    pub fn responses_filter(operator: &OperatorName) -> String {
        format!("{PREFIX}operators/{operator}/responses/#")
    }

    /// Tells whether a filter, wildcards included, can match nothing but `operator`'s own responses.
    pub fn is_responses_filter(filter: &str, operator: &OperatorName) -> bool {
        let own = filter
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix("operators/"))
            .and_then(|rest| rest.strip_prefix(operator.as_str()))
            .and_then(|rest| rest.strip_prefix("/responses/"));
        own.is_some_and(|name| !name.is_empty())
    }

    /// Returns the filter that matches the events of a kind, or of all kinds, within a group's subtree.
    ///
    /// ```
    /// # use wakemq_protocol::{EventKind, GroupPath, Topic};
    /// let all = Topic::events_filter(None, &GroupPath::root());
    /// assert_eq!(all, "wake/v1/events/+/#");
    /// let some = Topic::events_filter(Some(EventKind::Security), &"paris".parse()?);
    /// assert_eq!(some, "wake/v1/events/security/paris/#");
    /// # Ok::<(), wakemq_protocol::ParseIdError>(())
    /// ```
    pub fn events_filter(kind: Option<EventKind>, group: &GroupPath) -> String {
        let kind = kind.map_or("+", EventKind::as_str);
        if group.is_root() {
            format!("{PREFIX}events/{kind}/#")
        } else {
            format!("{PREFIX}events/{kind}/{group}/#")
        }
    }

    /// Returns what a topic or a filter of events says behind `wake/v1/events/`: the kind, then the group. `None`
    /// for everything else.
    pub fn events_rest(text: &str) -> Option<&str> {
        let rest = text.strip_prefix(PREFIX)?.strip_prefix("events/")?;
        (!rest.is_empty()).then_some(rest)
    }

    fn parse_agent(rest: &str) -> Result<Self, TopicError> {
        let (agent, leaf) = rest.split_once('/').ok_or(TopicError::Unknown)?;
        let topic = match leaf {
            "commands" => Self::AgentCommands,
            "receipts" => Self::AgentReceipts,
            "facts" => Self::AgentFacts,
            "reports" => Self::AgentReports,
            _ => return Err(TopicError::Unknown),
        };
        Ok(topic(agent.parse()?))
    }

    fn parse_response(rest: &str) -> Result<Self, TopicError> {
        let (operator, rest) = rest.split_once('/').ok_or(TopicError::Unknown)?;
        let name = rest.strip_prefix("responses/").ok_or(TopicError::Unknown)?;
        if name.is_empty() || name.len() > RESPONSE_NAME_MAX || name.contains(['+', '#', '\0']) {
            return Err(
                ParseIdError::new("response name", "1 to 256 bytes without + and # are allowed").into()
            );
        }
        Ok(Self::Response { operator: operator.parse()?, name: name.into() })
    }
}

impl FromStr for Topic {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        let rest = text.strip_prefix(PREFIX).ok_or(TopicError::Unknown)?;
        let (head, rest) = rest.split_once('/').ok_or(TopicError::Unknown)?;
        match head {
            "agents" => Self::parse_agent(rest),
            "operators" => Self::parse_response(rest),
            "groups" if rest == "commands" => Ok(Self::GroupCommands(GroupPath::root())),
            "groups" => {
                let group = rest.strip_suffix("/commands").ok_or(TopicError::Unknown)?;
                if group.is_empty() {
                    return Err(TopicError::Unknown);
                }
                Ok(Self::GroupCommands(group.parse()?))
            }
            "events" => {
                let (kind, group) = rest.split_once('/').unwrap_or((rest, ""));
                let kind: EventKind = kind.parse().map_err(|_| TopicError::Unknown)?;
                if rest.ends_with('/') {
                    return Err(TopicError::Unknown);
                }
                Ok(Self::Event { kind, group: group.parse()? })
            }
            _ => Err(TopicError::Unknown),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        match self {
            Self::AgentCommands(agent) => write!(f, "agents/{agent}/commands"),
            Self::AgentReceipts(agent) => write!(f, "agents/{agent}/receipts"),
            Self::AgentFacts(agent) => write!(f, "agents/{agent}/facts"),
            Self::AgentReports(agent) => write!(f, "agents/{agent}/reports"),
            Self::GroupCommands(group) if group.is_root() => f.write_str("groups/commands"),
            Self::GroupCommands(group) => write!(f, "groups/{group}/commands"),
            Self::Event { kind, group } if group.is_root() => write!(f, "events/{}", kind.as_str()),
            Self::Event { kind, group } => write!(f, "events/{}/{group}", kind.as_str()),
            Self::Response { operator, name } => write!(f, "operators/{operator}/responses/{name}"),
        }
    }
}

/// Tells whether a valid topic filter matches a topic name (MQTT 5 §4.7).
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (word, Some(name)) if word == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
