//! The command line: what may be said, and how what may not is answered.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use wakemq_protocol::limits::{REASON_MAX, TTL_MAX_SECS};
use wakemq_protocol::{AgentId, CommandId, GroupPath, Priority, Slot};
use wakemq_publisher::Wanted;

use crate::duration::{parse_secs, print_secs};
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{self, Out};

/// Wakes agents through a WakeMQ broker, and manages agents and enrolment tokens
#[derive(Debug, Parser)]
#[command(name = "wakemq", version, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Args {
    /// Profile: where the broker is and who you are, mode 0600, as `wakemqd init` writes it
    #[arg(long, global = true, env = "WAKEMQ_PROFILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Wake agents, and tell what became of it
    Wake(WakeArgs),
    /// Take a command back
    ///
    /// A command that is on its way to its agent ends `cancelled` only if the connection ends before the agent
    /// acknowledges it.
    Cancel {
        /// Id of the command
        id: CommandId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show a command and what became of it
    Show {
        /// Id of the command
        id: CommandId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List, show and import agents
    Agents {
        #[command(subcommand)]
        action: AgentsAction,
    },
    /// Make enrolment tokens
    Tokens {
        #[command(subcommand)]
        action: TokensAction,
    },
    /// Print a script that completes command lines
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WakeArgs {
    /// Agents to wake; `-` reads them from standard input, one a line
    #[arg(required = true, value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
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
    /// How long to wait in all; the commands remain valid after it
    #[arg(long, value_name = "DURATION", value_parser = parse_some_secs, default_value = "30s")]
    pub(crate) timeout: u32,
    /// Print one JSON object a line for each agent, as soon as its wait ends
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

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsAction {
    /// List all agents
    List {
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
    /// Create many agents, and print their secrets
    ///
    /// Reads JSON lines {"agent":"pc-1","group":"paris/floor-2"} and prints {"agent":"pc-1","secret":"wma_…"}
    /// lines in the same order. A secret is shown this once: keep the output, and keep it from others.
    Import {
        /// File with JSON lines; `-` is standard input
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensAction {
    /// Make a token with which agents enrol themselves
    ///
    /// The token is shown this once, alone on standard output. With --json it is the field "token".
    Create {
        /// Group that the agents join; "" is the root
        #[arg(long, value_name = "PATH")]
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
}

fn parse_ttl(text: &str) -> Result<u32, String> {
    let secs = parse_secs(text)?;
    if secs > TTL_MAX_SECS {
        return Err(format!("a command waits at most {}", print_secs(TTL_MAX_SECS.into())));
    }
    Ok(secs)
}

/// Parses a duration that is not nothing.
fn parse_some_secs(text: &str) -> Result<u32, String> {
    match parse_secs(text)? {
        0 => Err("it must be at least 1s".to_owned()),
        secs => Ok(secs),
    }
}

fn parse_reason(text: &str) -> Result<String, String> {
    if text.len() > REASON_MAX {
        return Err(format!("it has {} bytes, at most {REASON_MAX} are allowed", text.len()));
    }
    Ok(text.to_owned())
}

/// Returns the command line's grammar, each of its helps with the exit codes.
fn grammar() -> clap::Command {
    fn with_codes(command: clap::Command) -> clap::Command {
        command.after_help(ExitCode::table()).mut_subcommands(with_codes)
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
    use super::*;

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
        assert_eq!((args.ttl, args.timeout), (Some(3600), 120));
        assert_eq!(args.slot.map(|slot| slot.to_string()), Some("s".to_owned()));
        assert_eq!(Priority::from(args.priority), Priority::High);
        assert_eq!(Wanted::from(args.wait), Wanted::Done);
        assert!(args.json && !args.no_slot);
        let defaults = wake(&["pc-1"]).unwrap();
        assert_eq!(defaults.ttl, None);
        assert_eq!((defaults.wait, defaults.timeout), (WaitArg::Acknowledged, 30));
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
        ] {
            assert!(wake(words).is_err(), "{words:?}");
        }
    }
}
