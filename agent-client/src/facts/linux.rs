//! Linux: all of it is in files, so that nothing needs `unsafe` or a library.

use std::fs::read_to_string;

/// Longest text taken over; the facts as a whole have a limit.
const TEXT_MAX: usize = 256;

fn first_line(path: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.chars().take(TEXT_MAX).collect())
}

/// Changes at each boot.
pub(crate) fn boot_id() -> Option<String> {
    first_line("/proc/sys/kernel/random/boot_id")
}

/// The endpoint's own name.
pub(crate) fn host_name() -> Option<String> {
    first_line("/proc/sys/kernel/hostname")
}

/// Distribution and kernel.
pub(crate) fn os() -> String {
    let release = read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or("Linux", |name| name.trim_matches('"'));
    let kernel = first_line("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{name} (Linux {kernel})").chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_all_of_it() {
        assert!(boot_id().is_some_and(|id| id.len() == 36));
        assert!(host_name().is_some());
        assert!(os().contains("Linux"));
    }
}
