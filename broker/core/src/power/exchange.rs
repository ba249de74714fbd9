//! What an attempt is told, and what it asks for.

use wakemq_protocol::{AgentId, CommandId, CommandState, MacAddr, PowerStep, RelayJob};

use super::targets::Targets;

/// What an attempt is told of the endpoint that it is to switch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleeper {
    /// The endpoint.
    pub agent: AgentId,
    /// What packets for it carry.
    pub targets: Targets,
    /// It is connected and subscribed, or looks so.
    pub connected: bool,
    /// The boot id that it told last.
    pub boot_id: Option<String>,
    /// The resume id that it told last.
    pub resume_id: Option<String>,
}

/// What the broker's configuration says of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerSettings {
    /// How long after the first packet the endpoint may take to come up, in milliseconds.
    pub timeout_ms: u64,
    /// How long agents may take to come back after a restart of the broker, in milliseconds.
    pub return_ms: u64,
    /// UDP ports of the magic packets.
    pub ports: Vec<u16>,
    /// The broker has addresses to which it may send by itself.
    pub broker_sends: bool,
}

/// What the endpoint told of itself at a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When its CONNECT came.
    pub connected_ms: u64,
    /// Its boot id.
    pub boot_id: Option<String>,
    /// Its resume id.
    pub resume_id: Option<String>,
    /// Its seconds since boot, rounded up.
    pub since_boot: Option<u64>,
    /// Its seconds since it resumed, rounded up.
    pub since_resume: Option<u64>,
}

/// What the engine is to do for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerAction {
    /// Keep a step of the evidence durably, before the next action is carried out.
    Evidence(PowerStep),
    /// Ask the endpoint itself by a `wake` with time to live 0 under this id; what becomes of it goes to
    /// `handle_told`.
    Probe {
        /// The id of that `wake`.
        command: CommandId,
    },
    /// Find those who may send for the endpoint now; answer with `handle_candidates`.
    FindRelays,
    /// Ask a relay by a `relay` with time to live 0 under this id; what becomes of it goes to `handle_told`.
    Ask {
        /// The id of that `relay`.
        command: CommandId,
        /// Who is asked.
        relay: AgentId,
        /// For what.
        job: RelayJob,
        /// In which round, from 1.
        round: u8,
    },
    /// Send from the broker; answer with `handle_broker_sent`.
    SendFromBroker {
        /// Whose adapters are to wake.
        macs: Vec<MacAddr>,
        /// To which ports, where an address says none.
        ports: Vec<u16>,
    },
    /// Packets are on their way: the command is `sent` now.
    Sent,
    /// The attempt has ended, with the command: `done`, `failed`, or `cancelled` if that was asked for. The verdict is
    /// kept as evidence together with the end.
    End {
        /// How the command ends.
        state: CommandState,
        /// Why, in words.
        detail: Option<String>,
    },
}
