//! Power: what a relay is asked for, and the evidence of how an endpoint was switched on.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{AgentId, CommandId, CommandState, MacAddr, SecureOn, Timestamp};

/// What a `relay` command asks for: magic packets on the relay's own networks.
///
/// For each MAC and port a packet goes, three times (after 0, 200 and 500 ms), to the subnet's broadcast address and
/// 255.255.255.255 on each fitting interface, and to ff02::1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayJob {
    /// Whose adapters are to wake, in this order.
    pub macs: Vec<MacAddr>,
    /// An interface fits if it has an address in one of these; empty: each physical interface fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// UDP ports.
    pub ports: Vec<u16>,
    /// The adapters' password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secureon: Option<SecureOn>,
}

/// One step of the evidence of a `power` command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerStep {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: PowerWhat,
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum PowerWhat {
    /// The endpoint looked connected: it was asked by a `wake` of its own.
    Probed {
        /// That `wake`.
        command: CommandId,
    },
    /// It did not acknowledge that `wake` in time, and counts as asleep.
    ProbeUnanswered,
    /// A relay was asked to send.
    RelayAsked {
        /// The relay.
        relay: AgentId,
        /// Its `relay` command.
        command: CommandId,
        /// In which round, from 1.
        round: u8,
    },
    /// A relay has the job in its hands.
    RelayAcknowledged {
        /// The relay.
        relay: AgentId,
    },
    /// A relay said what it did; its word makes no verdict.
    RelaySaid {
        /// The relay.
        relay: AgentId,
        /// `done`, `failed` or `refused`.
        state: CommandState,
        /// In its words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A relay did not acknowledge within 3 s, and another may take its place.
    RelaySilent {
        /// The relay.
        relay: AgentId,
    },
    /// A relay's connection ended before it acknowledged.
    RelayLeft {
        /// The relay.
        relay: AgentId,
    },
    /// There was no relay to ask.
    NoRelay {
        /// Why, in words.
        detail: String,
    },
    /// The broker sent packets itself.
    BrokerSent {
        /// To where, `ADDRESS:PORT`.
        destinations: Vec<String>,
        /// What went wrong, a line for each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<String>,
    },
    /// The endpoint connected and told of itself.
    Heard {
        /// Its seconds since boot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_boot: Option<u64>,
        /// Its seconds since it resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_resume: Option<u64>,
        /// Milliseconds from the first packet to this; absent if none was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    /// Steps for which the command's row had no room; they were told as they happened.
    LeftOut {
        /// How many.
        steps: u32,
    },
    /// The end.
    Verdict {
        /// `done`, `failed`, or one that came from elsewhere.
        state: CommandState,
        /// In words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// What a `power` event tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum PowerNews {
    /// A step of a `power` command.
    Step {
        /// The endpoint.
        agent: AgentId,
        /// The command.
        command: CommandId,
        /// Who published it.
        by: String,
        /// The step.
        #[serde(rename = "evidence")]
        step: PowerStep,
    },
    /// One awake relay is left on a subnet: if it goes too, nobody there can be switched on by a neighbour.
    LastRelay {
        /// It.
        agent: AgentId,
        /// The subnet.
        subnet: IpNet,
        /// The same in words, with what to do.
        detail: String,
    },
    /// The last awake relay of a subnet on which there were several has gone.
    NoRelayLeft {
        /// It.
        agent: AgentId,
        /// The subnet.
        subnet: IpNet,
        /// The same in words, with what to do.
        detail: String,
    },
}
