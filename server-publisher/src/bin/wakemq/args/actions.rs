//! What `wakemq` does with agents, groups, tokens and operators.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use wakemq_protocol::{AgentId, GroupPath, OperatorName, Role, Transport};

use super::values::{parse_group, parse_group_below, parse_some_secs};

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsAction {
    /// List agents, by group and then by id
    #[command(after_help = "Examples:
  wakemq agents list --group paris --state away
  wakemq agents list --transport poll
  wakemq agents list --json | jq -r .agent")]
    List {
        /// Those of this group and of those below it
        #[arg(long, value_name = "PATH", value_parser = parse_group)]
        group: Option<GroupPath>,
        /// Those that commands reach now, or those that they do not
        #[arg(long, value_enum, value_name = "STATE")]
        state: Option<StateArg>,
        /// Those that are connected by MQTT over TLS, MQTT in a WebSocket, or long poll
        #[arg(long, value_enum, value_name = "TRANSPORT")]
        transport: Option<TransportArg>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one agent
    Show {
        /// The agent
        agent: AgentId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take agents into another group
    ///
    /// Commands for groups that an agent leaves, and that it has not got yet, end `cancelled` for it. The group
    /// comes into being if it is not there.
    #[command(after_help = "Examples:
  wakemq agents move pc-1 pc-2 --to paris/floor-2
  wakemq agents list --group old --json | jq -r .agent | wakemq agents move - --to new")]
    Move {
        /// The agents; `-` reads them from standard input, one a line
        #[arg(required = true, value_name = "AGENT")]
        agents: Vec<String>,
        /// The group that they join; `/` is the root
        #[arg(long, value_name = "PATH", value_parser = parse_group)]
        to: GroupPath,
    },
    /// Remove agents and their secrets
    ///
    /// Their connections end, and what waits for them ends `cancelled`. To come back an agent has to be enrolled or
    /// imported anew.
    Revoke {
        /// The agents; `-` reads them from standard input, one a line
        #[arg(required = true, value_name = "AGENT")]
        agents: Vec<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Create many agents, and print their secrets
    ///
    /// Reads JSON lines {"agent":"pc-1","group":"paris/floor-2"} and prints {"agent":"pc-1","secret":"wma_…"}
    /// lines in the same order. A secret is shown this once: keep the output, and keep it from others.
    Import {
        /// File with JSON lines; `-` is standard input
        file: PathBuf,
    },
}

/// Whether commands reach an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Connected,
    Away,
}

/// How an agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportArg {
    Mqtt,
    Websocket,
    Poll,
}

impl From<TransportArg> for Transport {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Mqtt => Self::Mqtt,
            TransportArg::Websocket => Self::WebSocket,
            TransportArg::Poll => Self::Poll,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupsAction {
    /// List groups, with how many agents are in them or below
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Create a group, with those above it
    ///
    /// A group also comes into being with the first agent, token or operator in it.
    Create {
        /// Its path, such as paris/floor-2
        #[arg(value_parser = parse_group_below, value_name = "PATH")]
        group: GroupPath,
    },
    /// Give a group that is not in use, with those below it, another path
    ///
    /// It is in use while agents, live commands, tokens or operators belong to it.
    Rename {
        /// Its path
        #[arg(value_parser = parse_group_below, value_name = "PATH")]
        group: GroupPath,
        /// Its new path
        #[arg(value_parser = parse_group_below, value_name = "NEW-PATH")]
        to: GroupPath,
    },
    /// Remove a group that is not in use, with those below it
    ///
    /// It is in use while agents, live commands, tokens or operators belong to it.
    Remove {
        /// Its path
        #[arg(value_parser = parse_group_below, value_name = "PATH")]
        group: GroupPath,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensAction {
    /// Make a token with which agents enrol themselves
    ///
    /// The token is shown this once, alone on standard output. With --json it is the field "token".
    #[command(after_help = "Examples:
  wakemq tokens create --group paris --uses 50 --expires 7d > token
  wakemq-agent enrol --server wake.example.net --ca ca.pem --token-file token")]
    Create {
        /// Group that the agents join; `/` is the root
        #[arg(long, value_name = "PATH", value_parser = parse_group)]
        group: GroupPath,
        /// How many agents may use it
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
        /// How long it is valid
        #[arg(long, value_name = "DURATION", value_parser = parse_some_secs, default_value = "1d")]
        expires: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List tokens by their ids, which open nothing
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Remove tokens; agents that used them stay
    Revoke {
        /// Ids of the tokens, as `wakemq tokens list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorsAction {
    /// Create an operator, and write its profile
    ///
    /// The profile says where the broker is and holds the operator's secret, which is shown nowhere else and cannot
    /// be shown again: hand the file over, and keep it from others.
    #[command(after_help = "Examples:
  wakemq operators create helpdesk --role operator --group paris
  wakemq --profile helpdesk.toml wake --group paris/floor-2")]
    Create {
        /// Its name
        name: OperatorName,
        /// What it may do: a viewer sees, an operator commands too, an admin manages agents, groups, tokens and
        /// operators too
        #[arg(long, value_enum, value_name = "ROLE")]
        role: RoleArg,
        /// Where: this group and all below it; `/` is everywhere
        #[arg(long, value_name = "PATH", value_parser = parse_group)]
        group: GroupPath,
        /// New file for the profile, mode 0600 [default: NAME.toml]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print one JSON object, which tells everything but the secret
        #[arg(long)]
        json: bool,
    },
    /// List operators
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Change what an operator may do, at once; its profile stays valid
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["role", "group"]))]
    Set {
        /// Its name
        name: OperatorName,
        /// What it may do from now on
        #[arg(long, value_enum, value_name = "ROLE")]
        role: Option<RoleArg>,
        /// Where, from now on; `/` is everywhere
        #[arg(long, value_name = "PATH", value_parser = parse_group)]
        group: Option<GroupPath>,
    },
    /// Remove an operator and its secret
    ///
    /// Its connections end; the commands that it gave stay.
    Revoke {
        /// Its name
        name: OperatorName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    Viewer,
    Operator,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}
