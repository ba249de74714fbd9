//! A case: bytes for the broker, and what the standards let it answer.

use wakemq_tests::raw::Version;

/// The agent's id in the bytes of cases; each worker puts in its own, which is as long.
pub(crate) const AGENT: &str = "bad-agent-000";
/// The agent's secret in the bytes of cases, replaced likewise.
pub(crate) const AGENT_SECRET: &str = "wma_PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP";
/// The operator's name in the bytes of cases; there is but one.
pub(crate) const OPERATOR: &str = "admin";
/// The operator's secret in the bytes of cases, replaced by the real one.
pub(crate) const OPERATOR_SECRET: &str = "wmo_PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP";
/// An agent that is never connected, to which operators publish commands.
pub(crate) const TARGET: &str = "target";

/// Who sends the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Agent,
    Operator,
}

impl Role {
    pub(crate) const BOTH: [Self; 2] = [Self::Agent, Self::Operator];

    pub(crate) fn user(self) -> String {
        match self {
            Self::Agent => AGENT.to_owned(),
            Self::Operator => format!("op:{OPERATOR}"),
        }
    }

    pub(crate) fn client_id(self) -> &'static str {
        match self {
            Self::Agent => AGENT,
            Self::Operator => "",
        }
    }

    pub(crate) fn secret(self) -> &'static str {
        match self {
            Self::Agent => AGENT_SECRET,
            Self::Operator => OPERATOR_SECRET,
        }
    }

    /// A topic that it may publish to.
    pub(crate) fn own_topic(self) -> String {
        match self {
            Self::Agent => format!("wake/v1/agents/{AGENT}/receipts"),
            Self::Operator => format!("wake/v1/agents/{TARGET}/commands"),
        }
    }

    /// A filter that it may subscribe to.
    pub(crate) fn own_filter(self) -> String {
        match self {
            Self::Agent => format!("wake/v1/agents/{AGENT}/commands"),
            Self::Operator => format!("wake/v1/operators/{OPERATOR}/responses/#"),
        }
    }
}

/// Who sends the bytes, in which version, and whether its CONNECT is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) version: Version,
    pub(crate) role: Role,
    /// The bytes come after an accepted CONNECT; else they are the first of the connection.
    pub(crate) connected: bool,
}

impl Peer {
    /// Both versions, both roles, after CONNECT.
    pub(crate) fn all_connected() -> impl Iterator<Item = Self> {
        Self::all().filter(|peer| peer.connected)
    }

    /// Both versions, both roles, before and after CONNECT.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Version::BOTH.into_iter().flat_map(|version| {
            Role::BOTH.into_iter().flat_map(move |role| {
                [false, true].into_iter().map(move |connected| Self { version, role, connected })
            })
        })
    }

    pub(crate) fn v5(self) -> bool {
        self.version == Version::V5
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.v5() { "5" } else { "3.1.1" };
        let role = match self.role {
            Role::Agent => "agent",
            Role::Operator => "operator",
        };
        write!(f, "{version}/{role}{}", if self.connected { "" } else { "/first" })
    }
}

/// Codes of which any is right.
pub(crate) type Codes = Vec<u8>;

/// An answer that leaves the connection open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The CONNACK that lets in.
    Welcome,
    PubAck(u16, Codes),
    SubAck(u16, Vec<Codes>),
    UnsubAck(u16, usize),
    Pong,
}

/// How it goes on after the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection lives: a PINGREQ is answered.
    Alive,
    /// A packet is not whole: nothing more is said until the client ends the stream.
    Waits,
    /// The client took its leave: closed without a word.
    Leaves,
    /// MQTT 5: DISCONNECT with one of the codes, then closed. 3.1.1: closed.
    Closes(Codes),
    /// A CONNACK of that version with one of the codes, then closed.
    Refuses(Version, Codes),
    /// Closed without a word.
    Drops,
    /// One or the other is right.
    Either(Box<End>, Box<End>),
    /// The standards and the design leave it open; it only must not hang.
    Any,
}

/// What the standards say to the bytes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) said: Vec<Said>,
    pub(crate) end: End,
}

impl Verdict {
    pub(crate) fn only(end: End) -> Self {
        Self { said: Vec::new(), end }
    }

    /// A DISCONNECT with that code in 5, a close in 3.1.1.
    pub(crate) fn closes(code: u8) -> Self {
        Self::only(End::Closes(vec![code]))
    }
}

/// Bytes, and what is right.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) peer: Peer,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

impl Case {
    pub(crate) fn new(peer: Peer, name: impl std::fmt::Display, bytes: Vec<u8>, verdict: Verdict) -> Self {
        Self { peer, name: format!("{peer}/{name}"), bytes, verdict }
    }

    /// Makes a case on which the model of the standards gives the verdict.
    pub(crate) fn modelled(peer: Peer, name: impl std::fmt::Display, bytes: Vec<u8>) -> Self {
        let verdict = crate::oracle::judge(peer, &bytes);
        Self::new(peer, name, bytes, verdict)
    }

    /// One line by which a failure can be seen again.
    pub(crate) fn reproducer(&self) -> String {
        format!("WAKEMQ_HOSTILE={} cargo test -p wakemq-tests --test hostile every_bad_packet", self.name)
    }
}
