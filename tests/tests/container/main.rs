//! `Dockerfile` and `docker-compose.yml` against the programs: what can be run without a container engine is run.

mod engine;
mod files;

use anyhow::{Context as _, Result, ensure};
use wakemq_broker::config::Config;
use wakemq_tests::process::Process;

use engine::Engine;
use files::{Compose, Image, read};

/// Returns the value behind an option.
fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

#[test]
fn the_image_holds_what_its_commands_need() -> Result<()> {
    let image = Image::read()?;
    assert!(image.stages >= 2, "the compiler stays out of the image");
    assert_eq!(image.built, image.copied);
    assert_eq!(image.built, ["release/wakemqd", "release/wakemq", "agent/wakemq-agent"]);
    let (user, group) = image.user.split_once(':').context("no group")?;
    assert!(user.parse::<u32>()? > 0 && group.parse::<u32>()? > 0, "a number says that it is not root");

    let data = option(&image.cmd, "--data").context("CMD without --data")?;
    assert_eq!(image.volumes, [data]);
    assert_eq!(option(&image.healthcheck, "--data"), Some(data));
    assert_eq!(image.healthcheck[..2], ["wakemqd", "health"]);
    assert_eq!(image.env["WAKEMQ_PROFILE"], format!("{data}/{}", wakemq_broker::init::OPERATOR));
    assert!(image.directories.contains(&data.to_owned()), "the user owns it");

    let listened: Vec<u16> = Config::default().listen.addresses.iter().map(|at| at.port()).collect();
    assert_eq!(image.exposed, listened);
    Ok(())
}

#[test]
fn the_build_gets_every_package() -> Result<()> {
    let workspace: toml::Table = read("Cargo.toml")?.parse()?;
    let ignored = read(".dockerignore")?;
    let members = workspace["workspace"]["members"].as_array().context("no members")?;
    for needed in members.iter().filter_map(|member| member.as_str()).chain(["Cargo.toml", "Cargo.lock"]) {
        let top = needed.split('/').next().unwrap_or(needed);
        assert!(!ignored.lines().any(|line| line.trim_matches('/') == top), "{top} is ignored");
    }
    assert!(ignored.lines().any(|line| line == "**/target"));
    Ok(())
}

#[test]
fn the_services_fit_the_image() -> Result<()> {
    let (image, compose, config) = (Image::read()?, Compose::read(None)?, Config::default());
    let named = Compose::read(Some("wake.example"))?;
    assert_eq!(option(&named.services["broker"].command, "--host"), Some("wake.example"));

    let broker = &compose.services["broker"];
    assert_eq!(broker.build.as_deref(), Some("."));
    assert_eq!(option(&broker.command, "--host"), Some("broker"), "its name in the network");
    let without_host = |words: &[String]| words.split_last().map(|(_, words)| words.to_vec());
    assert_eq!(without_host(&broker.command), without_host(&image.cmd));
    let ports: Vec<_> = image.exposed.iter().map(|port| format!("{port}:{port}")).collect();
    assert_eq!(broker.ports, ports);
    // Without root, and without a right to it.
    assert_eq!(broker.sysctls["net.ipv4.ip_unprivileged_port_start"], 0);
    assert!(broker.profiles.is_empty() && broker.entrypoint.is_none() && broker.healthcheck.is_none());
    assert!(broker.ulimits["nofile"] > config.limits.max_connections + 64);
    let grace = broker.stop_grace_period.as_deref().and_then(|text| text.strip_suffix('s'));
    assert!(grace.context("no grace in seconds")?.parse::<u32>()? > config.limits.shutdown_secs);

    let mut used = Vec::new();
    for (name, service) in &compose.services {
        assert_eq!(service.image, "wakemq");
        assert!(service.read_only, "{name}");
        for (volume, path) in service.mounts() {
            assert!(compose.volumes.contains_key(volume), "{name}: the volume {volume} is not declared");
            assert!(image.directories.contains(&path.to_owned()), "{name}: {path} is not the user's");
            used.push(volume);
        }
        // Else the image would make a volume for it that nobody knows.
        assert!(
            service.mounts().iter().any(|(_, path)| image.volumes.contains(&(*path).to_owned())),
            "{name}"
        );
        if name != "broker" {
            assert_eq!(service.profiles, ["demo"]);
            let check = service.healthcheck.as_ref().context("a broker's health check")?;
            assert_eq!(check["disable"].as_bool(), Some(true), "{name}");
        }
    }
    assert!(compose.volumes.keys().all(|volume| used.contains(&volume.as_str())));
    let waits = |name: &str, on: &str| compose.services[name].depends_on[on].condition.clone();
    assert_eq!(waits("enrolment", "broker"), "service_healthy");
    for agent in ["agent-1", "agent-2"] {
        assert_eq!(waits(agent, "enrolment"), "service_completed_successfully");
    }
    Ok(())
}

/// All of the profile `demo`, running.
struct Demo {
    broker: Process,
    agents: [Process; 2],
}

impl Demo {
    /// Starts all, in the order that `depends_on` says.
    async fn up(engine: &Engine) -> Result<Self> {
        let broker = engine.start("broker")?;
        engine.healthy("broker").await.map_err(|error| broker.explain(error))?;
        let mut enrolment = engine.start("enrolment")?;
        let ended = enrolment.wait_exit().await?;
        ensure!(ended.success(), enrolment.explain(anyhow::anyhow!("enrolment: {ended}")));
        Ok(Self { broker, agents: [engine.start("agent-1")?, engine.start("agent-2")?] })
    }

    /// Wakes both agents, as the administrator in the broker's container.
    async fn wake(&self, engine: &Engine, reason: &str) -> Result<()> {
        for agent in &self.agents {
            agent.wait_log(" connected address=").await?;
        }
        let wake = ["wakemq", "wake", "demo-1", "demo-2", "--reason", reason, "--wait", "done"];
        let woken = engine.exec("broker", &wake).await?;
        ensure!(woken.status.success(), "{}", String::from_utf8_lossy(&woken.stderr));
        for (number, agent) in self.agents.iter().enumerate() {
            let said = format!("demo-{} was woken: {reason}", number + 1);
            agent.wait_line(&said, |line| (line.text == said).then_some(())).await?;
        }
        Ok(())
    }

    /// Ends all in order, within the grace.
    async fn down(mut self) -> Result<()> {
        for process in self.agents.iter_mut().chain([&mut self.broker]) {
            process.terminate()?;
            let ended = process.wait_exit().await?;
            ensure!(ended.success(), process.explain(anyhow::anyhow!("{ended}")));
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_demo_starts_wakes_ends_and_starts_again_on_its_volumes() -> Result<()> {
    let engine = Engine::new()?;
    assert_eq!(engine.health("broker").await?.status.code(), Some(1), "nothing is there yet");
    let demo = Demo::up(&engine).await?;
    demo.wake(&engine, "first").await?;
    demo.down().await?;
    let kept = |volume: &str, file: &str| std::fs::read(engine.volume(volume).join(file));
    let before =
        [kept("broker", "ca.pem")?, kept("agent-1", "identity.json")?, kept("agent-2", "identity.json")?];
    assert_eq!(engine.health("broker").await?.status.code(), Some(1));

    let demo = Demo::up(&engine).await?;
    demo.wake(&engine, "second").await?;
    demo.down().await?;
    let after =
        [kept("broker", "ca.pem")?, kept("agent-1", "identity.json")?, kept("agent-2", "identity.json")?];
    assert_eq!(after, before, "whoever was there was left alone");
    Ok(())
}
