//! Runs services without a container engine: the same commands on this machine, with a directory for each volume and
//! other ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use wakemq_tests::broker::free_address;
use wakemq_tests::process::Process;
use wakemq_tests::programs::Programs;
use wakemq_tests::wait::{eventually, within};

use crate::files::{Compose, Image, Service};

/// The value of WAKEMQ_HOST.
const HOST: &str = "localhost";

pub(crate) struct Engine {
    image: Image,
    compose: Compose,
    listen: [SocketAddr; 2],
    volumes: TempDir,
}

impl Engine {
    pub(crate) fn new() -> Result<Self> {
        let listen = [free_address()?, free_address()?];
        let volumes = tempfile::tempdir()?;
        Ok(Self { image: Image::read()?, compose: Compose::read(Some(HOST))?, listen, volumes })
    }

    fn service(&self, name: &str) -> Result<&Service> {
        self.compose.services.get(name).with_context(|| format!("no service {name}"))
    }

    /// Returns where a volume is; its name alone could be taken for a path of the container.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes.path().join(format!("volume-{name}"))
    }

    /// Starts the main program of a service, after those that it depends on are as far as it wants.
    pub(crate) fn start(&self, name: &str) -> Result<Process> {
        let service = self.service(name)?;
        let entrypoint = service.entrypoint.as_ref().unwrap_or(&self.image.entrypoint);
        Process::start(name, self.command(service, &[entrypoint.as_slice(), &service.command].concat())?)
    }

    /// Does what `docker compose exec SERVICE …` does.
    pub(crate) async fn exec(&self, name: &str, words: &[&str]) -> Result<Output> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        let mut command = self.command(self.service(name)?, &words)?;
        Ok(within(&words.join(" "), command.output()).await??)
    }

    /// Runs the image's health check in a service once.
    pub(crate) async fn health(&self, name: &str) -> Result<Output> {
        let words: Vec<_> = self.image.healthcheck.iter().map(String::as_str).collect();
        self.exec(name, &words).await
    }

    /// Waits until a service is healthy.
    pub(crate) async fn healthy(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} to be healthy"), async || {
            Ok(self.health(name).await?.status.success().then_some(()))
        })
        .await
    }

    fn command(&self, service: &Service, words: &[String]) -> Result<Command> {
        let mut words: Vec<_> = words.iter().map(|word| self.here(service, word)).collect::<Result<_>>()?;
        let program = words.remove(0);
        if program == "wakemqd" {
            words.extend(self.listen.iter().flat_map(|address| ["--listen".into(), address.to_string()]));
            if words[0] == "run" {
                words.extend(["--admin", "127.0.0.1:0"].map(str::to_owned));
            }
        }
        let bin = Programs::get()?.wakemqd.parent().map(Path::to_owned).unwrap_or_default();
        let program = if self.image.has(&program) {
            bin.join(&program)
        } else {
            // Debian's slim image has a shell; nothing else of it is relied on.
            ensure!(program == "sh", "{program} is not in the image");
            program.into()
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .kill_on_drop(true);
        for (name, value) in self.image.env.iter().chain(&service.environment) {
            command.env(name, self.here(service, value)?);
        }
        Ok(command)
    }

    /// Puts this machine's directories and ports into a word.
    fn here(&self, service: &Service, word: &str) -> Result<String> {
        let mut here = word
            .replace(&format!("--server \"{HOST}\""), &format!("--server {HOST}:{}", self.listen[0].port()));
        for (volume, path) in service.mounts() {
            let directory = self.volume(volume);
            std::fs::create_dir_all(&directory)?;
            here = here.replace(path, directory.to_str().context("a directory that is no text")?);
        }
        for path in &self.image.directories {
            ensure!(
                !here.contains(path.as_str()),
                "{path} is no volume of the service that names it: {word}"
            );
        }
        Ok(here)
    }
}
