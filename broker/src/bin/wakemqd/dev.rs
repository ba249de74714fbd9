//! `wakemqd dev`: a broker on this machine alone, and what to type to see it work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use wakemq_broker::clock::Clock;
use wakemq_broker::config::{self, Config};
use wakemq_broker::engine::{Caller, Engine};
use wakemq_broker::init::{self, ADMIN, CA, OPERATOR, Plan};
use wakemq_protocol::http::TokenRequest;

/// Where it listens unless told otherwise: 443 would need a right.
const PORTS: [u16; 2] = [8883, 8443];
/// The token for the agents to try, in the data directory.
const TOKEN: &str = "enrol.token";
/// How many agents may enrol by it, and for how long in seconds.
const TOKEN_USES: u32 = 1000;
const TOKEN_SECS: u32 = 7 * 86_400;
/// The group that they join.
const GROUP: &str = "dev";

/// Returns the addresses to listen on.
pub(crate) fn addresses(wished: &[SocketAddr]) -> Vec<SocketAddr> {
    if wished.is_empty() {
        return PORTS.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).to_vec();
    }
    wished.to_vec()
}

/// Returns the administrators' address. Who chooses the other addresses may run several at a time.
pub(crate) fn admin(listen: &[SocketAddr], wished: &[SocketAddr]) -> Vec<SocketAddr> {
    match (wished, listen) {
        ([], []) => vec![config::ADMIN],
        ([], _) => vec![(Ipv4Addr::LOCALHOST, 0).into()],
        _ => wished.to_vec(),
    }
}

/// Makes the data directory if there is none yet.
pub(crate) async fn prepare(data: &Path, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    if init::check(data).is_ok() {
        return Ok(());
    }
    let ports = addresses.iter().map(SocketAddr::port).collect();
    let host = Ipv4Addr::LOCALHOST.to_string().parse()?;
    init::initialise(&Plan { data: data.to_owned(), hosts: vec![host], ports }, Clock::start().now()).await?;
    Ok(())
}

/// Makes a token and says what to type. Only with the ports that were bound is it known where to connect.
pub(crate) async fn guide(
    data: &Path,
    config: &Config,
    engine: &Engine,
    bound: &[SocketAddr],
) -> anyhow::Result<()> {
    let endpoints = config.advertised(bound, &init::host_name());
    init::set_profile_endpoints(data, &endpoints)?;
    let caller = Caller { name: ADMIN.parse()?, address: None };
    let request = TokenRequest { group: GROUP.parse()?, uses: TOKEN_USES, expires_in: TOKEN_SECS };
    let answer = engine.create_token(&caller, request).await.context("cannot create a token")?;
    init::replace(&data.join(TOKEN), &format!("{}\n", answer.token.expose()), 0o600)?;

    let server = endpoints.first().map_or("127.0.0.1", String::as_str);
    let lines = lines(data, server, next_agent(data));
    std::io::stdout().write_all(lines.as_bytes()).context("standard output")
}

/// Returns the number of the first agent that has no state here yet.
fn next_agent(data: &Path) -> u32 {
    (1..).find(|number| !data.join(format!("agent-{number}")).exists()).unwrap_or(1)
}

/// Returns what to type, as it can be pasted into a shell.
fn lines(data: &Path, server: &str, number: u32) -> String {
    let (agent, wakemq) = (program("wakemq-agent"), program("wakemq"));
    let at = |name: &str| quoted(&data.join(name).to_string_lossy());
    let id = format!("agent-{number}");
    let (ca, token, state, profile) = (at(CA), at(TOKEN), at(&id), at(OPERATOR));
    let mut text = String::new();
    // Writing into a string cannot fail.
    for line in [
        "# In another terminal, enrol an agent, run it, and wake it:".to_owned(),
        format!(
            "{agent} enrol --server {server} --ca {ca} --token-file {token} --state {state} --agent {id}"
        ),
        format!("{agent} run --state {state} --on-wake 'echo woken' &"),
        format!("{wakemq} --profile {profile} wake {id} --wait done"),
    ] {
        writeln!(text, "{line}").ok();
    }
    text
}

/// Returns how to call one of the other programs: by its path if it is where this one is, as in a build.
fn program(name: &str) -> String {
    let beside =
        std::env::current_exe().ok().map(|path| path.with_file_name(name)).filter(|path| path.exists());
    let here = std::env::current_dir().unwrap_or_default();
    match beside {
        Some(path) => quoted(&path.strip_prefix(&here).unwrap_or(&path).to_string_lossy()),
        None => name.to_owned(),
    }
}

/// Quotes a word for a shell where that is needed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("/a/b-1.pem"), "/a/b-1.pem");
        assert_eq!(quoted("my dir/x"), "'my dir/x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn three_lines_stand_below_one_comment() {
        let text = lines(Path::new("d"), "127.0.0.1:1", 1);
        let kinds: Vec<_> = text.lines().map(|line| line.starts_with('#')).collect();
        assert_eq!(kinds, [true, false, false, false]);
    }
}
