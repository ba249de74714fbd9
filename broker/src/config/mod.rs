//! The configuration: one TOML file, of which a wrong key or value is named with its line, and nothing starts.
//!
//! `wakemqd.example.toml` documents every key; a test holds its defaults against the ones here.

mod endpoint;
mod error;
mod value;
mod wol;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use wakemq_protocol::limits::{POLL_HEARTBEAT_SECS, RETURN_DEFAULT_SECS};

pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::ConfigError;
pub use value::Level;
pub use wol::{ParseWolAddressError, Wol, WolAddress};

use value::{addresses, addresses_or_none, networks, ranged};

/// Where the administrators' door is by default: on this machine alone.
pub const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9883);

/// The commented example, with every key at its default.
pub const EXAMPLE: &str = include_str!("../../wakemqd.example.toml");

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[advertise]`
    pub advertise: Advertise,
    /// `[tls]`
    pub tls: Tls,
    /// `[store]`
    pub store: Store,
    /// `[limits]`
    pub limits: Limits,
    /// `[wol]`
    pub wol: Wol,
    /// `[log]`
    pub log: Log,
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Where to listen.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<SocketAddr>,
    /// Where to listen for what administrators alone are to reach.
    #[serde(deserialize_with = "addresses_or_none")]
    pub admin: Vec<SocketAddr>,
    /// Who passes connections on and says whose they are, by the PROXY protocol.
    #[serde(deserialize_with = "networks")]
    pub balancers: Vec<IpNet>,
}

/// `[advertise]`: what agents are told when they enrol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advertise {
    /// Where to connect; see [`Config::advertised`].
    pub endpoints: Vec<Endpoint>,
    /// The CA in PEM.
    pub ca: PathBuf,
    /// Whether they are to use their system's roots, and get no CA.
    pub use_system_roots: bool,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The server's certificate chain in PEM.
    pub certificate: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Memory for the cache.
    #[serde(deserialize_with = "ranged::<1, 1_048_576, _, _>")]
    pub cache_mib: usize,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most connections at a time.
    #[serde(deserialize_with = "ranged::<1, 10_000_000, _, _>")]
    pub max_connections: usize,
    /// How many connections are let in each second.
    #[serde(deserialize_with = "ranged::<1, 1_000_000, _, _>")]
    pub admissions_per_sec: u32,
    /// How many are let in at once after a quiet while.
    #[serde(deserialize_with = "ranged::<1, 1_000_000, _, _>")]
    pub admission_burst: u32,
    /// Of these, and of connections that have not said who they are, how much one source may take in percent.
    #[serde(deserialize_with = "ranged::<1, 100, _, _>")]
    pub source_share_percent: u8,
    /// Most TLS handshakes in progress at a time.
    #[serde(deserialize_with = "ranged::<1, 100_000, _, _>")]
    pub handshakes_in_progress: usize,
    /// Time limit for the TLS handshake.
    #[serde(deserialize_with = "ranged::<1, 300, _, _>")]
    pub handshake_secs: u32,
    /// Time limit from there to a complete CONNECT.
    #[serde(deserialize_with = "ranged::<1, 300, _, _>")]
    pub connect_secs: u32,
    /// Longest keep-alive.
    #[serde(deserialize_with = "ranged::<5, 65_535, _, _>")]
    pub keep_alive_max_secs: u16,
    /// Shortest heartbeat of a long poll.
    #[serde(deserialize_with = "ranged::<60, 3_540, _, _>")]
    pub poll_heartbeat_min_secs: u32,
    /// Longest heartbeat of a long poll.
    #[serde(deserialize_with = "ranged::<60, 3_540, _, _>")]
    pub poll_heartbeat_max_secs: u32,
    /// Within how long agents come back after a lost connection.
    #[serde(deserialize_with = "ranged::<1, 86_400, _, _>")]
    pub return_secs: u32,
    /// How long a shutdown waits for connections to end.
    #[serde(deserialize_with = "ranged::<0, 300, _, _>")]
    pub shutdown_secs: u32,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much is logged.
    pub level: Level,
}

impl Default for Listen {
    fn default() -> Self {
        let addresses = [8883, 443].map(|port| (Ipv6Addr::UNSPECIFIED, port).into()).to_vec();
        Self { addresses, admin: vec![ADMIN], balancers: Vec::new() }
    }
}

impl Default for Advertise {
    fn default() -> Self {
        Self { endpoints: Vec::new(), ca: "ca.pem".into(), use_system_roots: false }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: "server.pem".into(), key: "server.key".into() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { cache_mib: 64 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 50_000,
            admissions_per_sec: 2_000,
            admission_burst: 2_000,
            source_share_percent: 50,
            handshakes_in_progress: 512,
            handshake_secs: 10,
            connect_secs: 10,
            keep_alive_max_secs: 1200,
            poll_heartbeat_min_secs: POLL_HEARTBEAT_SECS.0,
            poll_heartbeat_max_secs: POLL_HEARTBEAT_SECS.1,
            return_secs: RETURN_DEFAULT_SECS,
            shutdown_secs: 10,
        }
    }
}

impl Limits {
    /// Returns the shortest and the longest heartbeat of a long poll, in seconds.
    pub fn poll_heartbeat_secs(&self) -> (u32, u32) {
        (self.poll_heartbeat_min_secs, self.poll_heartbeat_max_secs)
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Each names the file, and where its content is at fault, the line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file; `path` is for its errors.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::at(path, text, &error))?;
        let (least, most) = config.limits.poll_heartbeat_secs();
        if least > most {
            let message = format!("must not be above `poll_heartbeat_max_secs`, which is {most}");
            return Err(ConfigError::at_key(path, text, "poll_heartbeat_min_secs", message));
        }
        Ok(config)
    }

    /// Returns what is allowed, and probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let open = self.listen.admin.iter().filter(|address| !address.ip().to_canonical().is_loopback());
        open.map(|address| {
            format!(
                "the admin address {address} can be reached from other machines: whoever reaches it reads \
                 /metrics without a secret"
            )
        })
        .collect()
    }

    /// Returns where agents are told to connect, `HOST:PORT`, given the addresses that are really listened on
    /// and the machine's own name.
    pub fn advertised(&self, bound: &[SocketAddr], host_name: &str) -> Vec<String> {
        let own = [Endpoint::host(host_name)];
        let endpoints =
            if self.advertise.endpoints.is_empty() { &own[..] } else { &self.advertise.endpoints };
        let mut ports: Vec<u16> = Vec::new();
        for port in bound.iter().map(SocketAddr::port) {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        endpoints.iter().flat_map(|endpoint| endpoint.with_ports(&ports)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::parse(text, Path::new("dir/w.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_the_default_with_and_without_its_comment_signs() {
        let path = Path::new("wakemqd.example.toml");
        assert_eq!(Config::parse(EXAMPLE, path).unwrap(), Config::default());

        // A `#` with a key right behind it is a default; prose has a space there.
        let key =
            |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        let keys = EXAMPLE.lines().filter(key).count();
        let plain: String = EXAMPLE
            .lines()
            .map(|line| if key(&line) { &line[1..] } else { line })
            .fold(String::new(), |all, l| all + l + "\n");
        assert_eq!(Config::parse(&plain, path).unwrap(), Config::default());

        // Every key that the configuration has is in the example, and no default is said twice.
        let shown: toml::Table = plain.parse().unwrap();
        assert_eq!(keys, shown.values().map(|table| table.as_table().unwrap().len()).sum::<usize>());
        for (section, table) in &shown {
            let unknown = refused(&format!("[{section}]\nnonsense = 1\n"));
            let allowed = unknown.split("expected").nth(1).unwrap().matches('`').count() / 2;
            assert_eq!(allowed, table.as_table().unwrap().len(), "keys of [{section}] missing: {unknown}");
        }
        let sections = refused("nonsense = 1").split("expected").nth(1).unwrap().matches('`').count() / 2;
        assert_eq!(sections, shown.len());
    }

    #[test]
    fn a_wrong_key_or_value_is_named_with_its_place_and_what_is_allowed() {
        for (text, place, word) in [
            ("[limits]\n\n  handshake_sec = 5\n", "dir/w.toml:3:3: ", "`handshake_secs`"),
            ("[limit]\n", "dir/w.toml:1:2: ", "`limits`"),
            ("[limits]\nreturn_secs = 0\n", "dir/w.toml:2:15: ", "1 to 86400"),
            ("[limits]\nreturn_secs = -1\n", "dir/w.toml:2:15: ", "1 to 86400"),
            ("[limits]\nreturn_secs = \"soon\"\n", "dir/w.toml:2:15: ", "a whole number, 1 to 86400"),
            ("[limits]\nadmissions_per_sec = 0\n", "dir/w.toml:2:22: ", "1 to 1000000"),
            ("[limits]\n\nadmission_burst = 1_000_001\n", "dir/w.toml:3:19: ", "1 to 1000000"),
            ("[limits]\nsource_share_percent = 101\n", "dir/w.toml:2:24: ", "1 to 100"),
            ("[limits]\nadmissions_per_sec = 0.5\n", "dir/w.toml:2:22: ", "a whole number"),
            ("[limits]\nkeep_alive_max_secs = 70000\n", "dir/w.toml:2:23: ", "5 to 65535"),
            ("[limits]\npoll_heartbeat_min_secs = 59\n", "dir/w.toml:2:27: ", "60 to 3540"),
            ("[limits]\npoll_heartbeat_max_secs = 3541\n", "dir/w.toml:2:27: ", "60 to 3540"),
            (
                "[limits]\npoll_heartbeat_max_secs = 90\n  poll_heartbeat_min_secs = 91\n",
                "dir/w.toml:3:3: ",
                "above `poll_heartbeat_max_secs`, which is 90",
            ),
            ("[listen]\naddresses = [\"[::]:1\", \"broker:8883\"]\n", "dir/w.toml:2:24: ", "IP:PORT"),
            ("[listen]\naddresses = []\n", "dir/w.toml:2:13: ", "at least one"),
            ("[listen]\nbalancers = [\"10.0.0.0/33\"]\n", "dir/w.toml:2:14: ", "`192.0.2.0/24`"),
            ("[listen]\nadmin = [9883]\n", "dir/w.toml:2:10: ", "a text"),
            ("[listen]\nadmin = [\"localhost:1\"]\n", "dir/w.toml:2:10: ", "IP:PORT"),
            ("[advertise]\nendpoints = [\n  \"ok\",\n  \"https://x\",\n]\n", "dir/w.toml:4:3: ", "HOST:PORT"),
            ("[log]\nlevel = \"loud\"\n", "dir/w.toml:2:9: ", "`debug`"),
            ("[tls\n", "dir/w.toml:1:5: ", "`]`"),
            ("[wol]\naddresses = [\"lan\"]\n", "dir/w.toml:2:14: ", "`192.168.1.255`"),
            ("[wol]\naddresses = [\"10.0.0.255\",\n\"ff02::1\"]\n", "dir/w.toml:3:1: ", "`ff02::1%eth0`"),
            ("[wol]\nports = [9, 0]\n", "dir/w.toml:2:13: ", "1 to 65535"),
            ("[wol]\nports = []\n", "dir/w.toml:2:9: ", "at least one"),
            ("[wol]\nports = [1, 2, 3, 4, 5]\n", "dir/w.toml:2:9: ", "at most 4"),
            ("[wol]\nmulticast_ttl = 0\n", "dir/w.toml:2:17: ", "1 to 255"),
            ("[wol]\ntimeout_secs = 5\n", "dir/w.toml:2:16: ", "10 to 3600"),
            ("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", "dir/w.toml:3:1: ", "duplicate"),
        ] {
            let told = refused(text);
            assert!(told.starts_with(place) && told.contains(word), "{text:?} gave {told:?}");
        }
    }

    #[test]
    fn an_admin_door_that_others_reach_is_warned_of() {
        let warnings = |text: &str| Config::parse(text, Path::new("x")).unwrap().warnings();
        for text in [
            "",
            "[listen]\nadmin = []\n",
            "[listen]\nadmin = ['127.0.0.2:1', '[::1]:1', '[::ffff:127.0.0.1]:1']\n",
        ] {
            assert_eq!(warnings(text), [""; 0], "{text}");
        }
        let warned = warnings("[listen]\nadmin = ['0.0.0.0:9883', '[::1]:1', '192.0.2.1:1']\n");
        assert_eq!(warned.len(), 2);
        assert!(warned[0].contains("0.0.0.0:9883") && warned[1].contains("192.0.2.1:1"), "{warned:?}");
    }

    #[test]
    fn agents_are_told_every_port_for_a_host_and_the_machines_name_if_nothing_is_said() {
        let bound = ["[::]:8883", "0.0.0.0:8883", "[::]:443"].map(|text| text.parse().unwrap());
        let told = |list: &str| {
            let text = format!("[advertise]\nendpoints = [{list}]");
            Config::parse(&text, Path::new("x")).unwrap().advertised(&bound, "machine")
        };
        assert_eq!(told(""), ["machine:8883", "machine:443"]);
        assert_eq!(
            told("'a.example:1', '::1', '10.0.0.1'"),
            ["a.example:1", "[::1]:8883", "[::1]:443", "10.0.0.1:8883", "10.0.0.1:443"]
        );
    }
}
