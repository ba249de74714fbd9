//! Foreign clients, as operator and as agent, in both versions of MQTT and over WebSocket; foreign proxies; foreign
//! balancers; and a store on a file system that is full.
//!
//! `cargo test -p wakemq-tests --features interop --test interop` needs the Debian packages `curl`, `haproxy`,
//! `libnginx-mod-stream`, `microsocks`, `mosquitto-clients`, `nginx`, `nodejs`, `openssl`, `squid` and `tinyproxy`, `paho-mqtt` of PyPI for `python3` (or
//! for what WAKEMQ_TEST_PYTHON names), `mqtt` of npm (in what WAKEMQ_TEST_NODE_MODULES names, if that is not where
//! `node` finds it), and the rights to listen on port 443 and to mount a tmpfs.
#![cfg(feature = "interop")]

#[path = "interop/balancers.rs"]
mod balancers;
#[path = "interop/curl.rs"]
mod curl;
#[path = "interop/microsocks.rs"]
mod microsocks;
#[path = "interop/mqttjs.rs"]
mod mqttjs;
#[path = "interop/squid.rs"]
mod squid;
#[path = "interop/tinyproxy.rs"]
mod tinyproxy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;
use wakemq_protocol::{AgentId, CommandState, Kind, Secret, SlotChoice, Submission};
use wakemq_publisher::{SubmitError, Wanted};
use wakemq_tests::broker::{BrokerProcess, init, init_for};
use wakemq_tests::process::{Process, Stream};
use wakemq_tests::raw::{Client, Login, Version};
use wakemq_tests::wait::{eventually, within};
use wakemq_tests::waking::wake;

const COMMANDS: &str = "wake/v1/agents/pc-1/commands";

/// A broker with one agent.
struct Setting {
    broker: BrokerProcess,
    agent: (AgentId, Secret),
    operator: Secret,
}

impl Setting {
    async fn new() -> Result<Self> {
        Self::on(BrokerProcess::start().await?).await
    }

    async fn on(broker: BrokerProcess) -> Result<Self> {
        let agent = broker.import(&["pc-1"]).await?.remove(0);
        let operator = broker.profile()?.secret;
        Ok(Self { broker, agent, operator })
    }

    /// Prepares a mosquitto client.
    fn mosquitto(&self, program: &str, version: &str, user: &str, secret: &str) -> Command {
        self.mosquitto_at(self.broker.address(), program, version, user, secret)
    }

    /// Prepares one that finds the broker elsewhere.
    fn mosquitto_at(
        &self,
        address: SocketAddr,
        program: &str,
        version: &str,
        user: &str,
        secret: &str,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", version])
            .args(["-u", user, "-P", secret, "-q", "1", "--cafile"])
            .arg(self.broker.ca_path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn operator(&self, program: &str, version: &str) -> Command {
        self.mosquitto(program, version, "op:admin", self.operator.expose())
    }

    fn agent(&self, version: &str) -> Command {
        self.agent_at(self.broker.address(), version)
    }

    fn agent_at(&self, address: SocketAddr, version: &str) -> Command {
        let secret = self.agent.1.expose();
        let mut command = self.mosquitto_at(address, "mosquitto_sub", version, "pc-1", secret);
        command.args(["-i", "pc-1", "-t", COMMANDS]);
        command
    }

    /// Starts the client of paho-mqtt.
    fn paho(&self, role: &str, version: &str, name: &str, secret: &Secret) -> Result<Process> {
        let python = std::env::var_os("WAKEMQ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/paho_client.py");
        let mut command = Command::new(python);
        command
            .arg(script)
            .args([role, version, "127.0.0.1", &self.broker.address().port().to_string()])
            .arg(self.broker.ca_path())
            .args([name, secret.expose(), "pc-1"]);
        Process::start(format!("paho {role} {version}"), command)
    }

    /// Waits for a state of the command with that id.
    async fn reaches(&self, id: &str, wanted: CommandState) -> Result<()> {
        let id = id.parse()?;
        let mut management = self.broker.management()?;
        eventually(&format!("{id} to be {wanted}"), async || {
            let state = management.command(id).await?.outcomes[0].state;
            Ok((state == wanted).then_some(()))
        })
        .await
    }
}

/// Runs a program to its end; says what to install if it is missing.
async fn run(mut command: Command) -> Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let missing = || format!("{name} cannot be run; on Debian: apt-get install mosquitto-clients");
    within(&name, command.output()).await?.with_context(missing)
}

fn field(payload: &str, name: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_str(payload)?;
    value[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {payload}"))
}

async fn mosquitto_wakes_mosquitto(version: &str) -> Result<()> {
    let setting = Setting::new().await?;
    for (number, alpn) in [None, Some("mqtt")].into_iter().enumerate() {
        // Submitted first, so that the agent finds it waiting.
        let mut submit = setting.operator("mosquitto_pub", version);
        submit.args(["-t", COMMANDS, "-m", &format!(r#"{{"kind":"wake","reason":"{number}"}}"#)]);
        submit.args(alpn.map(|alpn| ["--tls-alpn", alpn]).into_iter().flatten());
        let submitted = run(submit).await?;
        ensure!(submitted.status.success(), "{submitted:?}");

        let mut agent = setting.agent(version);
        agent.args(["-C", "1"]).args(alpn.map(|alpn| ["--tls-alpn", alpn]).into_iter().flatten());
        let woken = run(agent).await?;
        ensure!(woken.status.success(), "{woken:?}");
        let payload = String::from_utf8(woken.stdout)?;
        assert_eq!(field(&payload, "reason")?, number.to_string());
        setting.reaches(&field(&payload, "id")?, CommandState::Acknowledged).await?;
    }
    Ok(())
}

#[tokio::test]
async fn mosquitto_wakes_mosquitto_by_3_1_1() -> Result<()> {
    mosquitto_wakes_mosquitto("mqttv311").await
}

#[tokio::test]
async fn mosquitto_wakes_mosquitto_by_5() -> Result<()> {
    mosquitto_wakes_mosquitto("mqttv5").await
}

#[tokio::test]
async fn a_connected_mosquitto_agent_gets_one_after_the_other() -> Result<()> {
    let setting = Setting::new().await?;
    let agent = Process::start("mosquitto_sub", setting.agent("mqttv5"))?;
    let mut seen = 0;
    for number in 0..5 {
        let mut submit = setting.operator("mosquitto_pub", "mqttv311");
        submit.args([
            "-t",
            COMMANDS,
            "-m",
            &format!(r#"{{"kind":"wake","slot":null,"reason":"no {number}"}}"#),
        ]);
        ensure!(run(submit).await?.status.success());
        let payload = agent
            .wait_line_after(seen, "the command", |line| {
                (line.stream == Stream::Out).then(|| line.text.clone())
            })
            .await?;
        seen = agent.lines().len();
        assert_eq!(field(&payload, "reason")?, format!("no {number}"));
        setting.reaches(&field(&payload, "id")?, CommandState::Acknowledged).await?;
    }
    Ok(())
}

#[tokio::test]
async fn mosquitto_is_woken_through_port_443() -> Result<()> {
    // An address of its own: what listens on port 443 elsewhere is in nobody's way.
    let address: SocketAddr = "127.0.44.3:443".parse()?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    init_for(&data, &address.ip().to_string(), "").await?;
    let setting = Setting::on(BrokerProcess::start_at(&data, address).await?).await?;
    let publisher = setting.broker.publisher().await?;
    let agent = Process::start("mosquitto_sub", setting.agent("mqttv5"))?;
    let story = "mosquitto_sub through port 443";
    wake(&publisher, &setting.agent.0, Wanted::Acknowledged, story).await?;
    agent.wait_line("the command", |line| (line.stream == Stream::Out).then_some(())).await
}

#[tokio::test]
async fn mosquitto_rr_is_told_the_state_at_its_response_topic() -> Result<()> {
    let setting = Setting::new().await?;
    let mut ask = setting.operator("mosquitto_rr", "mqttv5");
    ask.args(["-t", COMMANDS, "-e", "wake/v1/operators/admin/responses/rr", "-m", r#"{"kind":"wake"}"#]);
    let told = run(ask).await?;
    ensure!(told.status.success(), "{told:?}");
    let payload = String::from_utf8(told.stdout)?;
    let first = payload.lines().next().context("nothing was told")?;
    assert_eq!((field(first, "state")?.as_str(), field(first, "agent")?.as_str()), ("queued", "pc-1"));
    Ok(())
}

#[tokio::test]
async fn mosquitto_is_told_why_it_is_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for (version, words) in
        [("mqttv311", ["not authori", "bad user"]), ("mqttv5", ["not authori", "bad user"])]
    {
        let mut wrong = setting.mosquitto("mosquitto_pub", version, "op:admin", setting.agent.1.expose());
        wrong.args(["-t", COMMANDS, "-m", r#"{"kind":"wake"}"#]);
        let refused = run(wrong).await?;
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr)?.to_lowercase();
        assert!(words.iter().any(|word| said.contains(word)), "{version}: {said}");

        let mut foreign = setting.mosquitto("mosquitto_sub", version, "pc-1", setting.agent.1.expose());
        foreign.args(["-i", "pc-1", "-t", "wake/v1/agents/pc-2/commands", "-C", "1"]);
        let refused = run(foreign).await?;
        let said = String::from_utf8(refused.stderr)?.to_lowercase();
        assert!(said.contains("denied") || said.contains("not authori"), "{version}: {said}");
    }
    let pending = setting.broker.management()?.agent(&setting.agent.0).await?.pending;
    assert_eq!(pending, 0);
    Ok(())
}

async fn paho_wakes_paho(version: &str) -> Result<()> {
    let setting = Setting::new().await?;
    let mut agent = setting.paho("agent", version, "pc-1", &setting.agent.1)?;
    let said = async |process: &Process, word: &str| {
        let found =
            process.wait_line(word, |line| line.text.starts_with(word).then(|| line.text.clone())).await;
        found.context("is paho-mqtt installed? python3 -m pip install paho-mqtt")
    };
    said(&agent, "subscribed").await?;
    let mut operator = setting.paho("operator", version, "op:admin", &setting.operator)?;
    let woken = said(&agent, "woken").await?;
    let [_, id, "paho", of] = woken.split(' ').collect::<Vec<_>>()[..] else { bail!("{woken}") };
    assert_eq!(of, version);
    assert!(agent.wait_exit().await?.success() && operator.wait_exit().await?.success());
    if version == "5" {
        let states: Vec<_> = operator
            .lines()
            .iter()
            .filter_map(|line| line.text.strip_prefix("state ").map(str::to_owned))
            .collect();
        // paho acknowledges behind its callback, and the receipt that is sent in it implies the acknowledgement.
        assert_eq!(states, ["queued", "sent", "done"]);
    }
    setting.reaches(id, CommandState::Done).await?;
    let outcome = setting.broker.management()?.command(id.parse()?).await?.outcomes.remove(0);
    assert_eq!(outcome.detail.as_deref(), Some("by paho"));
    Ok(())
}

#[tokio::test]
async fn paho_wakes_paho_by_3_1_1() -> Result<()> {
    paho_wakes_paho("311").await
}

#[tokio::test]
async fn paho_wakes_paho_by_5() -> Result<()> {
    paho_wakes_paho("5").await
}

#[tokio::test]
async fn paho_is_told_why_it_is_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for version in ["311", "5"] {
        let mut agent = setting.paho("agent", version, "pc-1", &setting.operator)?;
        agent.wait_exit().await?;
        let told =
            agent.lines().iter().any(|line| line.text.starts_with("connected Bad user name or password"));
        assert!(told, "{version}: {}", agent.explain(anyhow::anyhow!("not told")));
    }
    Ok(())
}

/// A mounted tmpfs; unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    async fn mount(at: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        let done = within("mount", mount.output()).await??;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "this test mounts a tmpfs, for which it must be root: {said}");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("{} stays mounted: {done:?}", self.0.display());
        }
    }
}

/// Writes until the file system has no room left.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write(&vec![0; size]) {
            Ok(n) if n > 0 => {}
            _ => size /= 2,
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_store_on_a_full_file_system_acknowledges_nothing_and_delivers_the_rest() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let _mounted = Tmpfs::mount(&data, "24m").await?;
    init(&data).await?;
    let mut broker = BrokerProcess::start_on(&data).await?;
    let agents = broker.import(&["pc-1", "pc-2"]).await?;
    let publisher = broker.publisher().await?;
    let submission = || Submission {
        slot: SlotChoice::Never,
        reason: Some("x".repeat(1000)),
        ..Submission::new(Kind::Wake)
    };
    let submit = async |agent: &AgentId| within("a submission", publisher.submit(agent, submission())).await;
    let mut accepted = vec![submit(&agents[0].0).await??];
    fill(&data.join("filler"))?;

    // Pages that the file has already may still be used; sooner or later there is no more.
    let refused = loop {
        ensure!(accepted.len() < 100, "100 commands were accepted on a full file system");
        match submit(&agents[0].0).await? {
            Ok(submitted) => accepted.push(submitted),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, SubmitError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("store cannot write"), "{refused}");

    // What was accepted is delivered, to whoever connects now.
    let take = async |broker: &BrokerProcess, acknowledge: bool| {
        let mut client = Client::dial(broker.address(), &broker.ca_path()).await?;
        client.enter(&Login::new(Version::V5, "pc-1", agents[0].1.expose())).await?;
        client.subscribe(COMMANDS, 1).await?;
        let mut ids = Vec::new();
        for _ in 0..if acknowledge { accepted.len() } else { accepted.len().min(16) } {
            let (packet_id, command) = client.command().await?;
            ids.push(command["id"].as_str().unwrap_or_default().to_owned());
            if acknowledge {
                client.acknowledge(packet_id).await?;
            }
        }
        anyhow::Ok(ids)
    };
    let expected: Vec<_> = accepted.iter().map(|one| one.id().to_string()).collect();
    assert_eq!(take(&broker, false).await?, expected[..expected.len().min(16)]);

    // Killed and started again on the full file system, it still delivers.
    broker.kill().await?;
    broker.restart().await?;
    assert_eq!(take(&broker, false).await?, expected[..expected.len().min(16)]);
    std::fs::remove_file(data.join("filler"))?;
    assert_eq!(take(&broker, true).await?, expected);
    let publisher = broker.publisher().await?;
    within("a submission", publisher.submit(&agents[1].0, submission())).await??;
    Ok(())
}
