//! What `wakemq wol` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wakemq_protocol::{AgentId, GroupPath, MacAddr};

use super::values::{parse_group, parse_some_secs};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sender").args(["via", "from_broker"]))]
pub(crate) struct WolArgs {
    /// Agents whose endpoints are to be switched on; `-` reads them from standard input, one a line
    #[arg(required_unless_present_any = ["group", "mac"], value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
    /// All agents that are now in this group or below it, each by a command of its own; `/` is the root
    #[arg(long, value_name = "PATH", value_parser = parse_group, conflicts_with_all = ["agents", "mac"])]
    pub(crate) group: Option<GroupPath>,
    /// A machine without an agent, by the MAC of its adapter
    #[arg(long, conflicts_with = "agents", requires = "sender")]
    pub(crate) mac: Option<MacAddr>,
    /// Let this agent send the packets, on all its networks
    #[arg(long, value_name = "AGENT", requires = "mac", conflicts_with_all = ["agents", "group"])]
    pub(crate) via: Option<AgentId>,
    /// Let the broker send the packets, to the addresses of its configuration
    #[arg(long, requires = "mac", conflicts_with_all = ["agents", "group"])]
    pub(crate) from_broker: bool,
    /// File with the adapter's SecureOn password, such as 01:02:03:04:05:06 or 1.2.3.4; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "mac", conflicts_with_all = ["agents", "group"])]
    pub(crate) secureon_file: Option<PathBuf>,
    /// What to wait for: `none` is until the broker has the command durably, `sent` until a relay or the broker
    /// has sent packets, `up` until the endpoint is up [default: up, with --mac sent]
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) wait: Option<WolWait>,
    /// How long to wait in all; the commands remain valid after it
    #[arg(long, value_name = "DURATION", value_parser = parse_some_secs, default_value = "3m")]
    pub(crate) timeout: u32,
    /// Print one JSON object a line: for each step as it happens, and for each agent as soon as its wait ends
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WolWait {
    None,
    Sent,
    Up,
}
