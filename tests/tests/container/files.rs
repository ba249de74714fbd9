//! What `Dockerfile` and `docker-compose.yml` say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// How deep `<<` may lie within what `<<` names.
const MERGES_MAX: usize = 4;

/// Reads a file of the repository.
pub(crate) fn read(name: &str) -> Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The last stage of `Dockerfile`, and what the one before builds for it.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) stages: usize,
    /// The programs that are built, and those that are copied into the image, with the directory of their profile.
    pub(crate) built: Vec<String>,
    pub(crate) copied: Vec<String>,
    /// The directories that are made for the user.
    pub(crate) directories: Vec<String>,
    pub(crate) user: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) exposed: Vec<u16>,
    pub(crate) healthcheck: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
}

impl Image {
    pub(crate) fn read() -> Result<Self> {
        let mut image = Self {
            stages: 0,
            built: Vec::new(),
            copied: Vec::new(),
            directories: Vec::new(),
            user: String::new(),
            env: BTreeMap::new(),
            volumes: Vec::new(),
            exposed: Vec::new(),
            healthcheck: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
        };
        let text = read("Dockerfile")?;
        let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for line in lines.join("\n").replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
            let (instruction, rest) =
                line.split_once(' ').with_context(|| format!("no instruction: {line}"))?;
            image.take(instruction, rest.trim()).with_context(|| line.to_owned())?;
        }
        Ok(image)
    }

    /// Tells whether a program is in the image.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.copied.iter().any(|copied| copied.rsplit('/').next() == Some(program))
    }

    fn take(&mut self, instruction: &str, rest: &str) -> Result<()> {
        let words = || rest.split_whitespace();
        let list = |text: &str| serde_yaml_ng::from_str::<Vec<String>>(text);
        match instruction {
            "FROM" => self.stages += 1,
            "RUN" if words().next() == Some("cargo") => {
                self.built = rest.split("&&").flat_map(built).collect();
            }
            "RUN" => {
                self.directories = words().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
            }
            "COPY" => self
                .copied
                .extend(words().filter_map(|word| word.strip_prefix("/src/target/")).map(str::to_owned)),
            "USER" => self.user = rest.to_owned(),
            "ENV" => {
                let (name, value) = rest.split_once('=').context("no value")?;
                self.env.insert(name.to_owned(), value.to_owned());
            }
            "VOLUME" => self.volumes = list(rest)?,
            "EXPOSE" => self.exposed = words().map(str::parse).collect::<Result<_, _>>()?,
            "HEALTHCHECK" => self.healthcheck = list(rest.split_once("CMD ").context("no CMD")?.1)?,
            "ENTRYPOINT" => self.entrypoint = list(rest)?,
            "CMD" => self.cmd = list(rest)?,
            "WORKDIR" => {}
            other => bail!("{other} is not known here"),
        }
        Ok(())
    }
}

/// Returns where a call of cargo puts its programs, below the target directory.
fn built(command: &str) -> Vec<String> {
    let values = |option: &'static str| {
        let words = command.split_whitespace();
        words.clone().zip(words.skip(1)).filter(move |pair| pair.0 == option).map(|pair| pair.1)
    };
    let profile = values("--profile").next().unwrap_or("release");
    values("--bin").map(|program| format!("{profile}/{program}")).collect()
}

/// `docker-compose.yml`, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Compose {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) volumes: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) image: String,
    pub(crate) build: Option<String>,
    #[serde(default)]
    pub(crate) profiles: Vec<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) ports: Vec<String>,
    pub(crate) volumes: Vec<String>,
    #[serde(default)]
    pub(crate) depends_on: BTreeMap<String, Dependency>,
    pub(crate) healthcheck: Option<BTreeMap<String, Value>>,
    pub(crate) stop_grace_period: Option<String>,
    #[serde(default)]
    pub(crate) ulimits: BTreeMap<String, usize>,
    #[serde(default)]
    pub(crate) sysctls: BTreeMap<String, u32>,
    pub(crate) read_only: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) condition: String,
}

impl Compose {
    /// Reads the file; `host` is the value of WAKEMQ_HOST, if it has one.
    pub(crate) fn read(host: Option<&str>) -> Result<Self> {
        let mut value: Value = serde_yaml_ng::from_str(&interpolated(&read("docker-compose.yml")?, host)?)?;
        for _ in 0..MERGES_MAX {
            value.apply_merge()?;
        }
        Ok(serde_yaml_ng::from_value(value)?)
    }
}

impl Service {
    /// Returns the named volumes and where they are mounted.
    pub(crate) fn mounts(&self) -> Vec<(&str, &str)> {
        let parts = |volume| str::split_once(volume, ':');
        self.volumes
            .iter()
            .filter_map(|volume| parts(volume))
            .map(|(name, path)| (name, parts(path).map_or(path, |(path, _read_only)| path)))
            .collect()
    }
}

/// Puts variables in, as compose does: `${NAME:-default}`, and `$$` for a dollar sign.
fn interpolated(text: &str, host: Option<&str>) -> Result<String> {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            whole.push('$');
            whole.push_str(parts.next().context("a dollar sign at the end")?);
            continue;
        }
        let (variable, rest) =
            part.strip_prefix('{').and_then(|part| part.split_once('}')).context("no }")?;
        let (name, default) = variable.split_once(":-").context("a variable without a default")?;
        ensure!(name == "WAKEMQ_HOST", "the variable {name} is not known here");
        whole.push_str(host.unwrap_or(default));
        whole.push_str(rest);
    }
    Ok(whole)
}
