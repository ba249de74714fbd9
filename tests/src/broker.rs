//! A broker as a real process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_link::http::HttpClient;
use wakemq_link::{Alpn, Dialer, Ladder, Trust};
use wakemq_protocol::http::{ImportLine, ImportResult, Profile, TokenRequest};
use wakemq_protocol::{AgentId, Secret};
use wakemq_publisher::{Management, Publisher, load_profile};

use crate::process::{Process, Stream};
use crate::programs::Programs;
use crate::wait::within;

/// Agents come back within a second here, so that tests with restarts are short.
const LIMITS: &str = "[limits]\nreturn_secs = 1\nshutdown_secs = 10\n";
/// Ports that the system gives to nobody by itself, so that a broker finds its own again after a restart.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// How many ports are tried.
const PORT_ATTEMPTS: usize = 20;

/// A broker with a data directory of its own; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    data: PathBuf,
    address: SocketAddr,
    /// Where it listens besides.
    others: Vec<SocketAddr>,
    process: Process,
    /// Removed at the end.
    _dir: Option<TempDir>,
}

impl BrokerProcess {
    /// Makes a data directory and starts a broker on it.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// Does the same with more of a configuration.
    pub async fn start_with(config: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        init_for(&data, "127.0.0.1", config).await?;
        Self { _dir: Some(dir), ..Self::start_on(&data).await? }.with_endpoints()
    }

    /// Starts a broker on a data directory, on a port that it may have again.
    pub async fn start_on(data: &Path) -> Result<Self> {
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address()?;
            let mut process = run(data, address)?;
            match listening(&process).await {
                Ok(address) => return Self::of(data, address, &[], process),
                // Somebody was faster.
                Err(error) if format!("{error:#}").contains("cannot listen") => {
                    process.wait_exit().await?;
                }
                Err(error) => return Err(error),
            }
        }
        bail!("found no free port in {PORT_ATTEMPTS} attempts")
    }

    /// Starts a broker on a data directory, on a certain address.
    pub async fn start_at(data: &Path, address: SocketAddr) -> Result<Self> {
        Self::start_with_doors(data, address, &[]).await
    }

    /// Does the same with more doors.
    pub async fn start_with_doors(data: &Path, address: SocketAddr, others: &[SocketAddr]) -> Result<Self> {
        let process = run_with_doors(data, address, others)?;
        let address = listening(&process).await?;
        Self::of(data, address, others, process)
    }

    fn of(data: &Path, address: SocketAddr, others: &[SocketAddr], process: Process) -> Result<Self> {
        Self { data: data.to_owned(), address, others: others.to_vec(), process, _dir: None }.with_endpoints()
    }

    /// Writes into the administrator's profile where the broker really is.
    fn with_endpoints(self) -> Result<Self> {
        wakemq_broker::init::set_profile_endpoints(&self.data, &[self.address.to_string()])?;
        Ok(self)
    }

    /// Returns the data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where it listens for administrators: another port after each start.
    pub async fn admin(&self) -> Result<SocketAddr> {
        said(&self.process, "admin ").await
    }

    /// Returns the process, to look at its log.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the path of the CA.
    pub fn ca_path(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// Returns the path of the administrator's profile.
    pub fn profile_path(&self) -> PathBuf {
        self.data.join("operator.toml")
    }

    /// Returns the administrator's profile.
    pub fn profile(&self) -> Result<Profile> {
        Ok(load_profile(&self.profile_path())?)
    }

    /// Kills the broker: SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Ends the broker in order: SIGTERM.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.terminate()?;
        self.process.wait_exit().await
    }

    /// Starts a broker that was ended or killed again, on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = run_with_doors(&self.data, self.address, &self.others)?;
        listening(&self.process).await.map(drop)
    }

    /// Returns the management interface, as the administrator.
    pub fn management(&self) -> Result<Management> {
        Ok(Management::new(&self.profile()?)?)
    }

    /// Connects as a publisher, as the administrator.
    pub async fn publisher(&self) -> Result<Publisher> {
        let profile = self.profile()?;
        Ok(within("a publisher's connection", Publisher::connect(&profile)).await??)
    }

    /// Returns a client of the HTTP interface.
    pub fn http(&self, bearer: Option<Secret>) -> Result<HttpClient> {
        http(&self.ca_path(), self.address, bearer)
    }

    /// Creates agents, and returns their secrets.
    pub async fn import(&self, agents: &[&str]) -> Result<Vec<(AgentId, Secret)>> {
        import(&mut self.management()?, agents).await
    }

    /// Makes an enrolment token.
    pub async fn token(&self, uses: u32) -> Result<Secret> {
        let request = TokenRequest { group: "test".parse()?, uses, expires_in: 3600 };
        Ok(within("a token", async {
            self.management()?.create_token(&request).await.map_err(anyhow::Error::from)
        })
        .await??
        .token)
    }
}

/// Returns an address of this machine on which nobody listens, and whose port nobody is given by chance.
pub fn free_address() -> Result<SocketAddr> {
    (0..PORT_ATTEMPTS)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS))))
        .find(|address| TcpListener::bind(address).is_ok())
        .with_context(|| format!("found no free port in {PORT_ATTEMPTS} attempts"))
}

/// Initialises a data directory by `wakemqd init`, with a configuration for tests.
pub async fn init(data: &Path) -> Result<()> {
    init_for(data, "127.0.0.1", "").await
}

/// Does the same for a broker that is found under another name, with more of a configuration.
pub async fn init_for(data: &Path, host: &str, config: &str) -> Result<()> {
    let mut command = Command::new(&Programs::get()?.wakemqd);
    command.args(["init", "--host", host, "--data"]).arg(data).kill_on_drop(true);
    let done = within("wakemqd init", command.output()).await??;
    if !done.status.success() {
        bail!("wakemqd init: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    let config = format!("[advertise]\nendpoints = [\"{host}\"]\n\n{LIMITS}\n{config}");
    std::fs::write(data.join("wakemqd.toml"), config)?;
    Ok(())
}

/// Starts `wakemqd run`, and does not wait for anything.
pub fn run(data: &Path, address: SocketAddr) -> Result<Process> {
    run_with_doors(data, address, &[])
}

fn run_with_doors(data: &Path, address: SocketAddr, others: &[SocketAddr]) -> Result<Process> {
    let mut command = Command::new(&Programs::get()?.wakemqd);
    command.args(["run", "--log", "debug", "--admin", "127.0.0.1:0", "--data"]).arg(data);
    for door in std::iter::once(&address).chain(others) {
        command.args(["--listen", &door.to_string()]);
    }
    Process::start("wakemqd", command)
}

/// Waits until a broker says where it listens.
pub async fn listening(process: &Process) -> Result<SocketAddr> {
    said(process, "listening ").await
}

/// Waits for an address on standard output.
async fn said(process: &Process, word: &str) -> Result<SocketAddr> {
    process
        .wait_line(&format!("a line `{word}ADDR`"), |line| {
            if line.stream != Stream::Out {
                return None;
            }
            line.text.strip_prefix(word)?.parse().ok()
        })
        .await
}

/// Creates agents, and returns their secrets.
pub async fn import(management: &mut Management, agents: &[&str]) -> Result<Vec<(AgentId, Secret)>> {
    let lines = agents
        .iter()
        .map(|agent| Ok(ImportLine { agent: agent.parse()?, group: "test".parse()? }))
        .collect::<Result<Vec<_>>>()?;
    let importing = async {
        let mut results = management.import(&lines).await?;
        let mut made = Vec::new();
        while let Some(result) = results.next().await? {
            match result {
                ImportResult::Created { agent, secret } => made.push((agent, secret)),
                ImportResult::Failed { line, error } => bail!("line {line}: {error}"),
            }
        }
        Ok(made)
    };
    within("an import", importing).await?
}

/// Returns a client of the HTTP interface of a broker.
pub fn http(ca: &Path, address: SocketAddr, bearer: Option<Secret>) -> Result<HttpClient> {
    let trust = Trust::from_pem(&std::fs::read(ca)?)?;
    let ladder = Ladder::parse(&[address.to_string()])?;
    Ok(HttpClient::new(Dialer::new(ladder, &trust, Alpn::Http1)?, bearer).with_limit(Duration::from_secs(30)))
}

/// Returns a TLS configuration of a client that trusts a CA and offers `alpn`, if that is not empty.
pub fn client_tls(ca: &Path, alpn: &[&str]) -> Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Reads the certificates of a CA.
pub fn roots(ca: &Path) -> Result<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| anyhow::anyhow!("{error:?}"))? {
        roots.add(certificate.map_err(|error| anyhow::anyhow!("{error:?}"))?)?;
    }
    Ok(roots)
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
