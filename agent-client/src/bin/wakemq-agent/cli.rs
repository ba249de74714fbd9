//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;
use wakemq_agent::{ProxyChoice, ProxyOrder};
use wakemq_link::Endpoint;
use wakemq_protocol::AgentId;

const EXIT_CODES: &str = "Exit codes:
  0  all went well; `run` was ended by SIGTERM or Ctrl-C
  1  something failed
  2  the command line is wrong
  3  the broker cannot be reached (`enrol`, `doctor`; `run` tries for ever)
  4  the broker does not allow it (`enrol`, `doctor`; `run` tries again slowly)";

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
    /// Go every way to the broker step by step, and say what is wrong and what to change.
    ///
    /// An agent that runs is left alone: no CONNECT is sent, and its secret is proved by a poll that takes nothing
    /// over.
    Doctor(DoctorArgs),
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
    #[command(flatten)]
    pub(crate) passage: PassageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The state directory of an agent, which may run meanwhile.
    #[arg(long, value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    pub(crate) state: Option<PathBuf>,
    /// The broker, where no agent is enrolled; without a port 8883 is tried, then 443. May be given several times.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) server: Vec<Endpoint>,
    /// The broker's certificate authority in PEM; without it those that the system trusts.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca: Option<PathBuf>,
    /// Print what was found as one JSON document, at the end.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) passage: PassageArgs,
}

/// How the broker is reached; `enrol` keeps it for `run`.
#[derive(Debug, Args)]
pub(crate) struct PassageArgs {
    /// A proxy: http://, https:// or socks5://, then [USER:PASSWORD@]HOST[:PORT]; `none` for none.
    ///
    /// Without it, what `enrol` was given counts; else the environment: https_proxy or all_proxy, and no_proxy for what
    /// is reached without, each also in capital letters. A password has no place on a command line: set the variable,
    /// or give a file by --proxy-credentials.
    #[arg(long, value_name = "URL|none", env = "WAKEMQ_PROXY", hide_env_values = true)]
    pub(crate) proxy: Option<ProxyChoice>,
    /// File with USER:PASSWORD for the proxy.
    #[arg(long, value_name = "FILE", requires = "proxy")]
    pub(crate) proxy_credentials: Option<PathBuf>,
    /// When the proxy is tried: `first`, and the direct way if that fails; `last`, if the direct way fails; `only`,
    /// and never the direct way [default: first].
    #[arg(long, value_name = "first|last|only")]
    pub(crate) proxy_order: Option<ProxyOrder>,
    /// The certificate authority in PEM of a proxy that opens TLS. The agent trusts it where it meets it, and tells
    /// that somebody reads along, in its log and to the broker.
    #[arg(long, value_name = "FILE")]
    pub(crate) extra_ca: Option<PathBuf>,
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
    #[command(flatten)]
    pub(crate) passage: PassageArgs,
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
            "wakemq-agent run --state /tmp/a --proxy socks5://p --proxy-credentials f --proxy-order only",
            "wakemq-agent run --state /tmp/a --proxy-order last --extra-ca corp.pem",
            "wakemq-agent run --state /tmp/a --no-relay",
            "wakemq-agent run --state /tmp/a --keep-alive 60 --heartbeat-min 30 --heartbeat-max 900",
            "wakemq-agent run --state /tmp/a --heartbeat-step 0",
            "wakemq-agent run --state /tmp/a --interface eth0 --interface br0 --declare facts.json",
            "wakemq-agent doctor --state /tmp/a --json --proxy none",
            "wakemq-agent doctor --server broker --server b:1 --ca ca.pem",
            "wakemq-agent completions bash",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap();
        }
        for line in [
            "wakemq-agent",
            "wakemq-agent run",
            "wakemq-agent enrol --server a:b --state /tmp/a",
            "wakemq-agent doctor",
            "wakemq-agent doctor --state /tmp/a --server b",
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_with_what_can() {
        for proxy in ["ftp://p:1", "p:1", "http://me:s3cret%@p:1"] {
            for action in ["run", "enrol --server broker"] {
                let line = format!("wakemq-agent {action} --state /tmp/a --proxy {proxy}");
                let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
                assert_eq!(error.exit_code(), 2);
            }
        }
        let error =
            Cli::try_parse_from("wakemq-agent run --state /tmp/a --proxy ftp://p".split(' ')).unwrap_err();
        assert!(error.to_string().contains("expected http://, https:// or socks5://"), "{error}");
    }
}
