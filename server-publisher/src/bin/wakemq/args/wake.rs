//! What `wakemq wake` takes.

use clap::{Args, ValueEnum};
use wakemq_protocol::{GroupPath, Priority, Slot};
use wakemq_publisher::Wanted;

use super::values::{parse_group, parse_reason, parse_some_secs, parse_ttl};

#[derive(Debug, Args)]
pub(crate) struct WakeArgs {
    /// Agents to wake; `-` reads them from standard input, one a line
    #[arg(required_unless_present_any = ["group", "all"], value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
    /// Wake all agents that are now in this group or below it
    #[arg(long, value_name = "PATH", value_parser = parse_group, conflicts_with_all = ["agents", "all"])]
    pub(crate) group: Option<GroupPath>,
    /// Wake every agent that there is now
    #[arg(long, conflicts_with = "agents")]
    pub(crate) all: bool,
    /// How long the command waits for its agent, up to 30d; 0: only if it is connected now [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    pub(crate) ttl: Option<u32>,
    /// Of several waiting commands with the same slot only the newest is kept [default: wake]
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<Slot>,
    /// Keep the command beside all others, in no slot
    #[arg(long, conflicts_with = "slot")]
    pub(crate) no_slot: bool,
    /// Why, for the agent and its log; up to 1,024 bytes
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    pub(crate) reason: Option<String>,
    /// Place among the commands that wait for the agent
    #[arg(long, value_enum, default_value_t = PriorityArg::Normal)]
    pub(crate) priority: PriorityArg,
    /// Up to which state to wait: `none` is until the broker has the command durably, `acknowledged` until the
    /// agent has it durably, `done` until the agent has handled it
    #[arg(long, value_enum, default_value_t = WaitArg::Acknowledged, value_name = "STATE")]
    pub(crate) wait: WaitArg,
    /// How long to wait in all; the commands remain valid after it [default: 30s, with --power auto 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_some_secs)]
    timeout: Option<u32>,
    /// Switch on first what is not connected, by Wake-on-LAN: each such agent gets a power command besides, whose
    /// steps go to standard error
    #[arg(long, value_enum, default_value_t = PowerArg::Never, value_name = "WHEN")]
    power: PowerArg,
    /// Print one JSON object a line for each agent, as soon as its wait ends; for a group one in all
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitArg {
    None,
    Sent,
    Acknowledged,
    Done,
}

/// When agents are switched on before they are woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PowerArg {
    Never,
    Auto,
}

impl WakeArgs {
    /// Tells whether what is not connected is to be switched on.
    pub(crate) fn is_power_auto(&self) -> bool {
        self.power == PowerArg::Auto
    }

    /// Returns how long to wait in all.
    pub(crate) fn timeout_secs(&self) -> u32 {
        // A machine takes longer to come up than an agent to answer.
        self.timeout.unwrap_or(if self.is_power_auto() { 180 } else { 30 })
    }

    /// Returns the group to wake; `None` if agents are named.
    pub(crate) fn group(&self) -> Option<GroupPath> {
        if self.all { Some(GroupPath::root()) } else { self.group.clone() }
    }
}

impl From<WaitArg> for Wanted {
    fn from(wait: WaitArg) -> Self {
        match wait {
            WaitArg::None => Self::Accepted,
            WaitArg::Sent => Self::Sent,
            WaitArg::Acknowledged => Self::Acknowledged,
            WaitArg::Done => Self::Done,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityArg {
    Low,
    Normal,
    High,
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::Low => Self::Low,
            PriorityArg::Normal => Self::Normal,
            PriorityArg::High => Self::High,
        }
    }
}
