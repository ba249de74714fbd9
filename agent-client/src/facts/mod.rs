//! What the agent tells of its endpoint, one module for each operating system.

mod declared;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
mod resume;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use std::path::PathBuf;
#[cfg(test)]
use std::time::Duration;

use wakemq_protocol::limits::FACTS_MAX;
use wakemq_protocol::{Facts, Reach, to_json};

use crate::network::{self, Adapter};
use crate::{random, surroundings};

pub use declared::DeclaredError;
use declared::{Declared, apply};
use resume::Resumes;
pub(crate) use resume::{Clocks, secs_up};

/// What the owner decides about the facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct FactsOptions {
    /// Magic packets are sent for neighbours.
    pub(crate) relay: bool,
    /// Interfaces that are told though they are virtual.
    pub(crate) interfaces: Vec<String>,
    /// A file whose facts replace those that are read.
    pub(crate) declared: Option<PathBuf>,
}

/// Reads the facts, and knows what was told of them last.
#[derive(Debug)]
pub(crate) struct Source {
    instance: String,
    options: FactsOptions,
    declared: Declared,
    resumes: Resumes,
    resume_id: Option<String>,
    adapters: Vec<Adapter>,
    reach: Option<Reach>,
    told: Option<Facts>,
}

impl Source {
    /// Begins, with a declaration that can be read if there is one.
    pub(crate) fn new(instance: String, options: FactsOptions) -> Result<Self, DeclaredError> {
        let declared = options.declared.as_deref().map(declared::read).transpose()?.unwrap_or_default();
        Ok(Self::begin(instance, options, declared))
    }

    fn begin(instance: String, options: FactsOptions, declared: Declared) -> Self {
        let mut source = Self {
            instance,
            options,
            declared,
            resumes: Resumes::default(),
            resume_id: None,
            adapters: Vec::new(),
            reach: None,
            told: None,
        };
        source.look();
        source
    }

    /// Returns the named interfaces that are not there at present.
    pub(crate) fn missing(&mut self) -> Vec<String> {
        let adapters = self.adapters();
        let is_there = |name: &str| adapters.iter().any(|adapter| adapter.interface.name == *name);
        self.options.interfaces.iter().filter(|name| !is_there(name)).cloned().collect()
    }

    /// Reads the facts as of now, to be told at once.
    pub(crate) fn tell(&mut self) -> Facts {
        let facts = self.read();
        self.told = Some(without_ages(facts.clone()));
        facts
    }

    /// Sets by which way the agent reaches its broker, as it is to be told from now on. Who changes it decides whether
    /// that is news.
    pub(crate) fn set_reach(&mut self, reach: Option<Reach>) {
        self.reach = reach;
    }

    /// Reads the facts, and tells whether anything but the ages is different from what was told last.
    pub(crate) fn have_changed(&mut self) -> bool {
        let facts = without_ages(self.read());
        self.told.as_ref() != Some(&facts)
    }

    /// Tells whether magic packets are sent for neighbours.
    pub(crate) fn relays(&self) -> bool {
        self.options.relay && network::CAN_SEND
    }

    /// Returns how often the machine has resumed.
    pub(crate) fn resumes(&mut self) -> u64 {
        self.look();
        self.resumes.count()
    }

    /// Makes it seem that the machine has resumed this moment.
    #[cfg(test)]
    pub(crate) fn resumed_for_test(&mut self) {
        let at = |boot_time| Clocks { boot_time, monotonic: Duration::ZERO };
        self.resumes = Resumes::default();
        self.resumes.look(at(Duration::ZERO));
        // Farther apart than the real clocks can be, so that these show no resume after it.
        assert!(self.resumes.look(at(Duration::from_secs(1 << 40))));
        self.resume_id = Some("r1".to_owned());
    }

    /// Sends something to gateways whose MAC address is not known, so that it will be. Tells whether there are any.
    pub(crate) fn find_out_gateways(&mut self) -> bool {
        self.read();
        let gateways = self.adapters.iter().filter_map(|adapter| adapter.unresolved);
        let nudged = gateways.map(|gateway| {
            if let Err(error) = network::nudge(gateway) {
                tracing::debug!(%gateway, %error, "the gateway's MAC address cannot be found out");
            }
        });
        nudged.count() > 0
    }

    /// Reads the interfaces, or what is declared in their place: where magic packets can be sent.
    pub(crate) fn adapters(&mut self) -> Vec<Adapter> {
        self.read();
        self.adapters.clone()
    }

    fn look(&mut self) {
        if let Some(clocks) = surroundings::clocks()
            && self.resumes.look(clocks)
        {
            self.resume_id =
                random::instance().inspect_err(|error| tracing::warn!(%error, "this resume gets no id")).ok();
        }
    }

    fn read(&mut self) -> Facts {
        self.look();
        self.read_declared();
        let declared_adapters = self.declared.interfaces.as_ref().map(|all| all.iter().cloned());
        self.adapters = match declared_adapters {
            Some(interfaces) => interfaces.map(declared::adapter).collect(),
            None => network::read(&self.options.interfaces),
        };
        let clocks = surroundings::clocks();
        let mut facts = Facts {
            instance: self.instance.clone(),
            boot_id: system::boot_id(),
            resume_id: self.resume_id.clone(),
            since_boot: clocks.map(|clocks| secs_up(clocks.boot_time)),
            since_resume: clocks.and_then(|clocks| self.resumes.since_resume_secs(clocks)),
            host_name: system::host_name(),
            os: Some(system::os()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            interfaces: self.adapters.iter().map(|adapter| adapter.interface.clone()).collect(),
            relay: self.relays(),
            reach: self.reach.clone(),
        };
        apply(&self.declared, &mut facts);
        fit(&mut facts);
        facts
    }

    /// A declaration that cannot be read now counts as it was read last.
    fn read_declared(&mut self) {
        let Some(path) = &self.options.declared else { return };
        match declared::read(path) {
            Ok(declared) => self.declared = declared,
            Err(error) => tracing::warn!(%error, "the facts are declared as they were before"),
        }
    }
}

/// Ages change all the time, which is no news; and the way is told by itself when it changes.
fn without_ages(facts: Facts) -> Facts {
    Facts { since_boot: None, since_resume: None, reach: None, ..facts }
}

/// Leaves out the last interfaces until the facts keep their limit.
fn fit(facts: &mut Facts) {
    while to_json(facts).len() > FACTS_MAX && facts.interfaces.pop().is_some() {}
}

/// Reads the facts once, for an enrolment: what runs later may tell more.
pub(crate) fn once(instance: String) -> Facts {
    Source::begin(instance, FactsOptions::default(), Declared::default()).tell()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::{Interface, MacAddr, Medium};

    fn source(declared: Option<PathBuf>) -> Source {
        let options = FactsOptions { relay: true, interfaces: Vec::new(), declared };
        Source::new("one".into(), options).unwrap()
    }

    #[test]
    fn facts_fit_and_are_read_anew() {
        let facts = source(None).tell();
        let json = to_json(&facts);
        assert_eq!(Facts::from_json(&json).unwrap(), facts);
        assert_eq!(facts.instance, "one");
        assert_eq!(facts.relay, network::CAN_SEND);
        if cfg!(target_os = "linux") {
            assert!(facts.since_boot.is_some_and(|secs| secs > 0) && facts.resume_id.is_none());
        }
    }

    #[test]
    fn what_is_declared_replaces_what_is_read_and_a_change_of_it_is_news() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.json");
        std::fs::write(&path, r#"{"boot_id":"b1","since_boot":3,"interfaces":[]}"#).unwrap();
        let mut source = source(Some(path.clone()));
        assert!(source.have_changed(), "nothing was told yet");
        let facts = source.tell();
        assert_eq!((facts.boot_id.as_deref(), facts.since_boot), (Some("b1"), Some(3)));
        assert!(facts.interfaces.is_empty() && facts.host_name.is_some() == system::host_name().is_some());

        // An age alone is no news, and neither is what cannot be read.
        std::fs::write(&path, r#"{"boot_id":"b1","since_boot":9,"interfaces":[]}"#).unwrap();
        assert!(!source.have_changed());
        assert_eq!(source.tell().since_boot, Some(9));
        std::fs::write(&path, "{").unwrap();
        assert!(!source.have_changed());
        let interface =
            r#"{"name":"eno1","mac":"00:16:3e:00:00:01","medium":"wired","addresses":["10.0.0.1/24"]}"#;
        std::fs::write(&path, format!(r#"{{"boot_id":"b1","interfaces":[{interface}]}}"#)).unwrap();
        assert!(source.have_changed());
        assert_eq!(source.tell().interfaces[0].name, "eno1");
        assert!(!source.have_changed());
        assert_eq!(source.adapters()[0].device, "eno1");
    }

    #[test]
    fn a_declaration_is_right_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.json");
        for (text, word) in [
            (r#"{"bootid":"b1"}"#, "unknown field `bootid`"),
            (r#"{"instance":"two"}"#, "unknown field `instance`"),
            (r#"{"interfaces":[{"name":"eno1","mac":"00:16","medium":"wired"}]}"#, "MAC"),
        ] {
            std::fs::write(&path, text).unwrap();
            let options = FactsOptions { declared: Some(path.clone()), ..FactsOptions::default() };
            let error = Source::new("one".into(), options).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn too_much_is_left_out_from_the_end() {
        let mut facts = source(None).tell();
        facts.host_name = Some("h".repeat(1000));
        let interface = |n: u8| Interface {
            name: format!("eth{n}"),
            mac: MacAddr::new([0, 0x16, 0x3e, 0, 0, n]),
            medium: Medium::Wired,
            addresses: vec!["2001:db8:1111:2222:3333:4444:5555:6666/64".parse().unwrap(); 8],
            gateway_mac: Some(MacAddr::new([0, 0x16, 0x3e, 0, 1, n])),
        };
        facts.interfaces = (0..32).map(interface).collect();
        fit(&mut facts);
        Facts::from_json(&to_json(&facts)).unwrap();
        assert!(facts.interfaces.len() > 10 && facts.interfaces[0].name == "eth0");
    }
}
