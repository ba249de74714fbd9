//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use wakemq_broker::config::{Endpoint, Level};

use crate::exit::Exit;

/// The WakeMQ broker: holds one permanent connection for each agent, accepts commands, and loses none.
#[derive(Debug, Parser)]
#[command(name = "wakemqd", version, after_help = Exit::table(), subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make a data directory: CA, server certificate, configuration, store, and the first administrator.
    ///
    /// Nothing that is there is overwritten. Keep `ca.key` and `operator.toml` to yourself: who can read them is
    /// the broker's CA, or its administrator.
    Init(InitArgs),
    /// Run the broker on a data directory.
    ///
    /// Prints `listening IP:PORT` to standard output for each address, once everybody can connect, and `admin
    /// IP:PORT` for each of the administrators' door; the log goes to standard error. SIGTERM or Ctrl-C ends it in
    /// order, a second one at once.
    Run(RunArgs),
    /// Try it out: make a data directory if there is none, run on this machine alone, and say what to type next.
    Dev(DevArgs),
    /// Issue the server's certificate anew, valid for 825 days, by the CA and for the key in the data directory.
    ///
    /// Agents notice nothing. The broker takes it up at its next start.
    Renew(InitArgs),
    /// Ask a running broker whether it serves: by TLS and HTTP, at each address, under the name that agents are told.
    ///
    /// Exit code 0 if it does, else 1 with the reason: for a container's health check.
    Health(HealthArgs),
    /// Check a configuration file, and name what is wrong in it.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A name or IP address under which agents and operators reach the broker; may be given several times.
    /// Without it the machine's own name. The certificate also holds that, localhost, 127.0.0.1 and ::1.
    #[arg(long = "host", value_name = "NAME", value_parser = host)]
    pub(crate) hosts: Vec<Endpoint>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The data directory, which `wakemqd init` has made.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The configuration; without it `wakemqd.toml` in the data directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Make the data directory first if there is nothing of a broker in it, as `wakemqd init` does. What is there is
    /// never touched, and a part of a broker's data is an error.
    #[arg(long)]
    pub(crate) init_if_missing: bool,
    /// What `wakemqd init --host` is given then; of no effect once there is a data directory.
    #[arg(long = "host", value_name = "NAME", value_parser = host, requires = "init_if_missing")]
    pub(crate) hosts: Vec<Endpoint>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The broker's data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Its configuration, if it was given one.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where it listens, if it was told so on its command line; may be given several times.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "wakemq-dev")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Listen here instead of where the configuration says (`dev`: 127.0.0.1:8883 and 127.0.0.1:8443); may be
    /// given several times. Port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Listen here for administrators, with /metrics, instead of where the configuration says (`dev`:
    /// 127.0.0.1:9883, or a free port if --listen is given); may be given several times. Port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin: Vec<SocketAddr>,
    /// How much is logged, instead of what the configuration says.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<Level>,
}

/// Takes a host without a port.
fn host(text: &str) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|_| "a host name or an IP address is needed".to_owned())?;
    if endpoint.has_port() {
        return Err("a host without a port is needed; ports are in [listen] of the configuration".to_owned());
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn hosts_have_no_port() {
        assert!(host("broker.example").is_ok() && host("::1").is_ok());
        assert!(host("broker.example:8883").is_err() && host("https://x").is_err());
    }

    #[test]
    fn hosts_are_for_a_directory_that_is_made() {
        assert!(Cli::try_parse_from(["wakemqd", "run", "--data", "d", "--host", "h"]).is_err());
        Cli::try_parse_from(["wakemqd", "run", "--data", "d", "--init-if-missing", "--host", "h"]).unwrap();
    }
}
