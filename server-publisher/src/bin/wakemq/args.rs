//! The command line: what may be said, and how what may not is answered.

mod actions;
mod values;
mod wake;
mod wol;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use wakemq_protocol::{AgentId, CommandId, EventKind, GroupPath};

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{self, Out};
pub(crate) use actions::{AgentsAction, GroupsAction, OperatorsAction, StateArg, TokensAction};
pub(crate) use values::Since;
use values::{parse_group, parse_since};
pub(crate) use wake::WakeArgs;
pub(crate) use wol::{WolArgs, WolWait};

/// Wakes agents through a WakeMQ broker, shows what happens, and manages agents, groups and operators
#[derive(Debug, Parser)]
#[command(name = "wakemq", version, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Args {
    /// Profile: where the broker is and who you are, mode 0600, as `wakemqd init` writes it
    #[arg(
        long,
        global = true,
        env = "WAKEMQ_PROFILE",
        hide_env_values = true,
        value_name = "FILE",
        display_order = 900
    )]
    pub(crate) profile: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Wake agents or a whole group, and tell what became of it
    #[command(
        override_usage = "wakemq wake [OPTIONS] <AGENT>...
       wakemq wake [OPTIONS] --group <PATH>
       wakemq wake [OPTIONS] --all",
        after_help = "Examples:
  wakemq wake printer-7 --wait done
  wakemq wake --group paris/floor-2 --ttl 1h --reason \"new policy\"
  wakemq wake --all --wait none
  grep -v test agents.txt | wakemq wake - --json"
    )]
    Wake(WakeArgs),
    /// Switch on endpoints that are off or asleep, and tell whether they came up
    ///
    /// Awake agents of the same subnet send Wake-on-LAN packets, else the broker does. An endpoint counts as up once
    /// its agent is connected and tells that it booted or resumed since. Each step is shown as it happens.
    #[command(
        override_usage = "wakemq wol [OPTIONS] <AGENT>...
       wakemq wol [OPTIONS] --group <PATH>
       wakemq wol [OPTIONS] --mac <MAC> <--via <AGENT>|--from-broker>",
        after_help = "Examples:
  wakemq wol till-4
  wakemq wol --group paris/floor-2 --wait sent
  wakemq wol --mac 00:16:3e:12:34:56 --via till-3 --secureon-file password"
    )]
    Wol(WolArgs),
    /// Say whether an endpoint can be switched on now, how, and if not why and what to do
    Explain {
        /// The agent
        agent: AgentId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take a command back
    ///
    /// A command that is on its way to its agent ends `cancelled` only if the connection ends before the agent
    /// acknowledges it. A command for a group is taken back for the agents that have not got it yet.
    Cancel {
        /// Id of the command
        id: CommandId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show a command and what became of it
    ///
    /// Of a command for a group: how many agents are in which state, and a few of the outcomes.
    #[command(after_help = "Examples:
  wakemq show 0197c1b2-6d00-7c3a-9f01-0123456789ab
  wakemq show 0197c1b2-6d00-7c3a-9f01-0123456789ab --waiting --json | jq -r .agent")]
    Show {
        /// Id of the command
        id: CommandId,
        /// Of a command for a group: list the outcomes of all agents of which something is known
        #[arg(long)]
        outcomes: bool,
        /// Of a command for a group: list all agents that it waits for and of which nothing is known yet
        #[arg(long, conflicts_with = "outcomes")]
        waiting: bool,
        /// Print one JSON object; with --outcomes or --waiting one a line
        #[arg(long)]
        json: bool,
    },
    /// Show what happens, as it happens, until Ctrl-C
    ///
    /// Shows what you may see. Events come at most once: where some were lost, a line says how many at most. The
    /// truth about a command is `wakemq show ID`.
    #[command(after_help = "Examples:
  wakemq watch --group paris
  wakemq watch --kind command --kind security
  wakemq watch --json | jq -c 'select(.event == \"presence\")'")]
    Watch {
        /// Events of this group and of those below it
        #[arg(long, value_name = "PATH", value_parser = parse_group, default_value = "/")]
        group: GroupPath,
        /// Events of this kind; may be given more than once [default: all kinds]
        #[arg(long = "kind", value_enum, value_name = "KIND")]
        kinds: Vec<KindArg>,
        /// Print one JSON object a line, in the form of the wire protocol; lost events are {"gap":N}, a lost
        /// connection is {"lost":"why"} and then {"back":true}
        #[arg(long)]
        json: bool,
    },
    /// List, show, move, revoke and import agents
    Agents {
        #[command(subcommand)]
        action: AgentsAction,
    },
    /// List, create, rename and remove groups
    Groups {
        #[command(subcommand)]
        action: GroupsAction,
    },
    /// Make, list and revoke enrolment tokens
    Tokens {
        #[command(subcommand)]
        action: TokensAction,
    },
    /// Create, list, change and revoke operators
    Operators {
        #[command(subcommand)]
        action: OperatorsAction,
    },
    /// Show who did what, from where, and what it changed
    #[command(after_help = "Examples:
  wakemq audit --since 2h
  wakemq audit --since 2026-11-22T01:00:00Z --json | jq 'select(.action == \"agent.revoke\")'")]
    Audit {
        /// From then on: a time such as 2026-11-22T01:00:00Z, or so long ago, such as 2h [default: all]
        #[arg(long, value_name = "WHEN", value_parser = parse_since)]
        since: Option<Since>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print a script that completes command lines
    #[command(after_help = "Examples:
  wakemq completions bash > ~/.local/share/bash-completion/completions/wakemq
  wakemq completions zsh > ~/.zfunc/_wakemq")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// A kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    Presence,
    Command,
    Power,
    Report,
    Security,
}

impl From<KindArg> for EventKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Presence => Self::Presence,
            KindArg::Command => Self::Command,
            KindArg::Power => Self::Power,
            KindArg::Report => Self::Report,
            KindArg::Security => Self::Security,
        }
    }
}

/// Returns the command line's grammar, each of its helps with its examples and then the exit codes.
fn grammar() -> clap::Command {
    fn with_codes(command: clap::Command) -> clap::Command {
        let codes = ExitCode::table();
        let help =
            command.get_after_help().map_or_else(|| codes.clone(), |help| format!("{help}\n\n{codes}"));
        command.after_help(help).mut_subcommands(with_codes)
    }
    with_codes(Args::command()).disable_help_subcommand(true)
}

/// Parses a command line.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let matches = grammar().try_get_matches_from(words)?;
    Args::from_arg_matches(&matches)
}

/// Prints what clap has to say: help and version on standard output, the rest as an error with a hint.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if !error.use_stderr() {
        let mut out = Out::stdout();
        let written = out.line(text.trim_end()).and_then(|()| out.flush());
        return written.map_or_else(|failure| failure.code, |()| ExitCode::AllAsWanted);
    }
    // clap ends its errors with a pointer of its own, which a bare `wakemq` that prints the help does not have.
    let text = text.split("\n\nFor more information, try").next().unwrap_or(&text);
    output::say(text.trim_end());
    output::hint("`wakemq --help` and `wakemq COMMAND --help` show what may be said");
    ExitCode::Usage
}

/// Prints the completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "wakemq", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())
}

#[cfg(test)]
mod tests {
    use super::wake::WaitArg;
    use super::*;
    use wakemq_protocol::Priority;
    use wakemq_publisher::Wanted;

    fn wake(words: &[&str]) -> Result<WakeArgs, clap::Error> {
        let words = ["wakemq", "wake"].iter().chain(words).map(OsString::from);
        let Task::Wake(args) = parse(words)?.task else { panic!("not wake") };
        Ok(args)
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn wake_takes_what_is_documented() {
        let args = wake(&[
            "pc-1",
            "-",
            "--ttl",
            "1h",
            "--slot",
            "s",
            "--reason",
            "why",
            "--priority",
            "high",
            "--wait",
            "done",
            "--timeout",
            "2m",
            "--json",
        ])
        .unwrap();
        assert_eq!(args.agents, ["pc-1", "-"]);
        assert_eq!((args.ttl, args.timeout_secs()), (Some(3600), 120));
        assert_eq!(args.slot.map(|slot| slot.to_string()), Some("s".to_owned()));
        assert_eq!(Priority::from(args.priority), Priority::High);
        assert_eq!(Wanted::from(args.wait), Wanted::Done);
        assert!(args.json && !args.no_slot);
        let defaults = wake(&["pc-1"]).unwrap();
        assert_eq!(defaults.ttl, None);
        assert_eq!((defaults.wait, defaults.timeout_secs()), (WaitArg::Acknowledged, 30));
    }

    #[test]
    fn a_group_or_all_stand_for_agents() {
        let group = |words: &[&str]| wake(words).unwrap().group().map(|group| group.to_string());
        assert_eq!(group(&["--group", "paris/floor-2"]).as_deref(), Some("paris/floor-2"));
        assert_eq!(group(&["--all"]).as_deref(), Some(""));
        assert_eq!(group(&["--group", "/"]).as_deref(), Some(""));
        assert_eq!(group(&["pc-1"]), None);
    }

    #[test]
    fn what_the_broker_would_refuse_is_refused_at_once() {
        for words in [
            &["pc-1", "--ttl", "31d"][..],
            &["pc-1", "--slot", "Upper"],
            &["pc-1", "--slot", "a", "--no-slot"],
            &["pc-1", "--timeout", "0"],
            &["pc-1", "--priority", "urgent"],
            &["pc-1", "--reason", &"x".repeat(1025)],
            &[],
            &["pc-1", "--all"],
            &["pc-1", "--group", "paris"],
            &["--group", "paris", "--all"],
            &["--group", "Paris"],
        ] {
            assert!(wake(words).is_err(), "{words:?}");
        }
    }
}
