//! Agents behind squid, by the rules that Debian ships: CONNECT to port 443 alone.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use wakemq_publisher::Wanted;
use wakemq_tests::agents::Home;
use wakemq_tests::broker::{BrokerProcess, free_address, init_for, write_private};
use wakemq_tests::process::Process;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::{eventually, within};
use wakemq_tests::waking::{tell, wake};

/// Its configuration on Debian.
const CONFIG: &str = "/etc/squid/squid.conf";
/// What looks at user names and passwords.
const HELPER: &str = "/usr/lib/squid/basic_ncsa_auth";
/// Where the brokers of these tests listen on port 443; each test has its own.
const OPEN: &str = "127.0.0.9";
const CLOSED: &str = "127.0.0.10";

struct Squid {
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Squid {
    /// Starts squid with Debian's rules, on a port of its own; with `user` only for whoever knows that password.
    async fn start(user: Option<(&str, &str)>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // Squid reads as another user.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let shipped = std::fs::read_to_string(CONFIG).context("on Debian: apt-get install squid")?;
        let address = free_address()?;
        let mut rules = shipped.replace("http_port 3128", &format!("http_port {address}"));
        ensure!(rules != shipped && rules.contains("deny CONNECT !SSL_ports"), "not Debian's {CONFIG}");
        if let Some((user, password)) = user {
            let file = dir.path().join("users");
            std::fs::write(&file, format!("{user}:{}\n", hashed(password).await?))?;
            let allow = "\nhttp_access allow localhost\n";
            ensure!(rules.contains(allow), "not Debian's {CONFIG}");
            let known = format!(
                "\nauth_param basic program {HELPER} {}\nacl known proxy_auth REQUIRED\nhttp_access allow known\n",
                file.display()
            );
            rules = rules.replace(allow, &known);
        }
        let own = "pid_filename none\ncache_log /dev/null\naccess_log none\nshutdown_lifetime 0 seconds\n";
        let config = dir.path().join("squid.conf");
        std::fs::write(&config, format!("{own}{rules}"))?;
        let mut command = Command::new("squid");
        // Two of the same name would share their memory.
        command.args(["-N", "-d", "1", "-n", &format!("wakemq{}", address.port()), "-f"]).arg(config);
        let mut process = Process::start("squid", command).context("on Debian: apt-get install squid")?;
        let listening = eventually("squid to listen", async || {
            if process.has_ended()? {
                bail!("it has ended");
            }
            Ok(TcpStream::connect(address).await.is_ok().then_some(()))
        });
        if let Err(error) = listening.await {
            return Err(process.explain(error));
        }
        Ok(Self { address, _process: process, _dir: dir })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Hashes a password as the helper reads it.
async fn hashed(password: &str) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["passwd", "-apr1", password]);
    let done = within("openssl passwd", command.output()).await?.context("apt-get install openssl")?;
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

/// Starts a broker on port 443 of a loopback address.
async fn broker(dir: &Path, host: &str) -> Result<BrokerProcess> {
    let data = dir.join("data");
    init_for(&data, host, "").await?;
    BrokerProcess::start_at(&data, SocketAddr::new(host.parse()?, 443)).await
}

#[tokio::test]
async fn squid_as_debian_ships_it_carries_an_agent_on_port_443_and_no_other() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let broker = broker(dir.path(), OPEN).await?;
    let squid = Squid::start(None).await?;
    let token = broker.token(1).await?;
    let args = ["--proxy", &squid.url(), "--proxy-order", "only"];
    let home = Home::enrol_with(&broker, "pc-1", &token, &args).await?;
    let began = Instant::now();
    let agent = home.run(None)?;
    agent.wait_line(&format!("connected address={} proxy={}", squid.address, squid.url())).await?;
    tell(began, "connected through squid");
    wake(&broker.publisher().await?, home.id(), Wanted::Done, "through squid").await?;

    let told = doctor(&["--server", &format!("{OPEN}:8883"), "--proxy", &squid.url()], "").await?;
    assert!(
        told.contains("it does not allow that host or port (403); most proxies allow 443 alone"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn squid_lets_only_those_through_who_say_who_they_are() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let broker = broker(dir.path(), CLOSED).await?;
    let squid = Squid::start(Some(("me", "s3cret:@"))).await?;
    let server = broker.address().to_string();
    for (proxy, expected) in [
        (squid.url(), "it wants a user name and password, and has none"),
        (format!("http://me:wrong@{}", squid.address), "it did not accept the user name and password"),
    ] {
        let told = doctor(&["--server", &server], &proxy).await?;
        assert!(told.contains(expected) && !told.contains("wrong"), "{told}");
    }
    let token = broker.token(1).await?;
    let file = dir.path().join("credentials");
    write_private(&file, "me:s3cret:@\n")?;
    let credentials = file.to_str().context("a path of a test is UTF-8")?;
    let args = ["--proxy", &squid.url(), "--proxy-order", "only", "--proxy-credentials", credentials];
    let home = Home::enrol_with(&broker, "pc-1", &token, &args).await?;
    let began = Instant::now();
    let agent = home.run(None)?;
    agent.wait_line(&format!("connected address={} proxy={}", squid.address, squid.url())).await?;
    tell(began, "connected through squid with Basic credentials");
    assert!(!agent.lines().iter().any(|line| line.text.contains("s3cret")), "the password was logged");
    wake(&broker.publisher().await?, home.id(), Wanted::Done, "through squid with Basic credentials").await
}

/// Returns what the doctor says, whatever comes of it; `proxy` is in the environment.
async fn doctor(args: &[&str], proxy: &str) -> Result<String> {
    let mut command = Command::new(&Programs::get()?.wakemq_agent);
    command.arg("doctor").args(args).env("https_proxy", proxy).kill_on_drop(true);
    let done = within("wakemq-agent doctor", command.output()).await??;
    Ok(String::from_utf8(done.stdout)?)
}
