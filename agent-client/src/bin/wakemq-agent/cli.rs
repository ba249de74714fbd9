//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;
use wakemq_link::{Endpoint, ParseProxyError, ProxyUrl};
use wakemq_protocol::AgentId;

const EXIT_CODES: &str = "Exit codes:
  0  all went well; `run` was ended by SIGTERM or Ctrl-C
  1  something failed
  2  the command line is wrong
  3  the broker cannot be reached (`enrol`; `run` tries for ever)
  4  the broker does not allow it (`enrol`; `run` tries again slowly)";

/// Keeps one quiet connection to a WakeMQ broker, and acts when the endpoint is woken.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to log to standard error: off, error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: LevelFilter,
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make this endpoint known to a broker, and keep what it answers in the state directory.
    Enrol(EnrolArgs),
    /// Connect, and act on every command until the program is ended.
    Run(RunArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EnrolArgs {
    /// The broker; without a port 8883 is tried, then 443. May be given several times.
    #[arg(long, value_name = "HOST[:PORT]", required = true)]
    pub(crate) server: Vec<Endpoint>,
    /// The broker's certificate authority in PEM; without it those that the system trusts.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File with the enrolment token, `-` for standard input; without it WAKEMQ_TOKEN is used.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) token_file: Option<PathBuf>,
    /// The state directory, which is made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The id that this endpoint is to have; without it the broker gives one.
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<AgentId>,
    /// If the state directory holds an enrolled agent already, leave it alone and end well.
    #[arg(long)]
    pub(crate) if_missing: bool,
    /// An HTTP proxy without authentication, which `run` uses too: the broker is tried through it first, on port
    /// 443 and then 8883, and directly if that fails.
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) proxy: Option<ProxyUrl>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The state directory that `enrol` filled.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Run by the shell at each wake, one at a time; exit code 0 answers done, any other failed.
    ///
    /// Its environment has WAKEMQ_AGENT, WAKEMQ_ID, WAKEMQ_KIND, WAKEMQ_SLOT, WAKEMQ_PRIORITY, WAKEMQ_REASON,
    /// WAKEMQ_ISSUED, WAKEMQ_BY and WAKEMQ_TTL. Without this option each wake is printed on standard output
    /// as one line of JSON, and answered done.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) on_wake: Option<String>,
    /// Longest run of COMMAND, in seconds; then it is killed with all that it started, and answered failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "on_wake",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// How long the connection may stay quiet on a network of which nothing is known, in seconds. From there the
    /// agent looks for the longest time that the network bears; the broker may say otherwise.
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u16).range(5..))]
    pub(crate) keep_alive: u16,
    /// To which quiet time the agent falls back where the network bears no longer one, in seconds [default: 60, or
    /// that of --keep-alive if it is shorter].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(5..))]
    pub(crate) heartbeat_min: Option<u16>,
    /// The longest quiet time that is tried, in seconds [default: 1200, or that of --keep-alive if it is longer].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(5..))]
    pub(crate) heartbeat_max: Option<u16>,
    /// How much longer each try is than what the network is known to bear, in seconds; 0 for no tries.
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    pub(crate) heartbeat_step: u16,
    /// An HTTP proxy for this run, instead of the one that was given to `enrol`; `none` for no proxy.
    #[arg(long, value_name = "http://HOST:PORT|none")]
    pub(crate) proxy: Option<ProxyChoice>,
    /// Do not send Wake-on-LAN packets for neighbours that sleep; what the broker asks for is refused.
    #[arg(long)]
    pub(crate) no_relay: bool,
    /// Take this network interface for a physical one though it is virtual, as those of containers and bridges
    /// are: tell of it, and send from it. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// JSON with facts that replace what is read from the system: boot_id, resume_id, since_boot, since_resume,
    /// host_name, os, version, interfaces.
    ///
    /// An interface has name, mac, medium (wired or wireless), addresses with prefix, gateway_mac. The file is read
    /// anew whenever the facts are sent. For hardware that the agent cannot see, and for tests.
    #[arg(long, value_name = "FILE")]
    pub(crate) declare: Option<PathBuf>,
}

/// A proxy, or explicitly none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyChoice {
    None,
    Proxy(ProxyUrl),
}

impl FromStr for ProxyChoice {
    type Err = ParseProxyError;
    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Proxy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_forms_are_taken() {
        for line in [
            "wakemq-agent enrol --server broker --token-file - --state /tmp/a --agent printer-7",
            "wakemq-agent enrol --server [::1]:8883 --ca ca.pem --state /tmp/a",
            "wakemq-agent run --state /tmp/a --on-wake true --log debug",
            "wakemq-agent enrol --server broker --state /tmp/a --if-missing --proxy http://proxy:3128",
            "wakemq-agent run --state /tmp/a --proxy http://[::1]:3128",
            "wakemq-agent run --state /tmp/a --proxy none",
            "wakemq-agent run --state /tmp/a --no-relay",
            "wakemq-agent run --state /tmp/a --keep-alive 60 --heartbeat-min 30 --heartbeat-max 900",
            "wakemq-agent run --state /tmp/a --heartbeat-step 0",
            "wakemq-agent run --state /tmp/a --interface eth0 --interface br0 --declare facts.json",
            "wakemq-agent completions bash",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap();
        }
        for line in ["wakemq-agent", "wakemq-agent run", "wakemq-agent enrol --server a:b --state /tmp/a"] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_with_what_can() {
        for proxy in ["https://p:1", "socks5://p:1", "http://me:word@p:1"] {
            for action in ["run", "enrol --server broker"] {
                let line = format!("wakemq-agent {action} --state /tmp/a --proxy {proxy}");
                let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
                assert_eq!(error.exit_code(), 2);
                let expected = "this version speaks HTTP CONNECT without authentication only";
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    }
}
