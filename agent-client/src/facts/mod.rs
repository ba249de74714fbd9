//! What the agent tells of its endpoint, one module for each operating system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use other as system;

use wakemq_protocol::Facts;

/// Reads the facts as of now; what the system does not tell is left out.
pub(crate) fn read(instance: &str) -> Facts {
    Facts {
        instance: instance.to_owned(),
        boot_id: system::boot_id(),
        resume_id: None,
        since_boot: system::since_boot_secs(),
        since_resume: None,
        host_name: system::host_name(),
        os: Some(system::os()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        interfaces: Vec::new(),
        relay: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_fit_and_are_read_anew() {
        let facts = read("one");
        let json = serde_json::to_vec(&facts).unwrap();
        assert_eq!(Facts::from_json(&json).unwrap(), facts);
        assert_eq!(facts.instance, "one");
    }
}
