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

/// Seconds since boot, rounded up. `/proc/uptime` counts suspend (it is `CLOCK_BOOTTIME`).
pub(crate) fn since_boot_secs() -> Option<u64> {
    parse_uptime(&first_line("/proc/uptime")?)
}

fn parse_uptime(line: &str) -> Option<u64> {
    let (secs, fraction) = line.split_whitespace().next()?.split_once('.')?;
    let up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    secs.parse::<u64>().ok()?.checked_add(up)
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
    fn uptime_is_rounded_up() {
        assert_eq!(parse_uptime("12.00 3.4"), Some(12));
        assert_eq!(parse_uptime("12.01 3.4"), Some(13));
        assert_eq!(parse_uptime("x"), None);
    }

    #[test]
    fn linux_tells_all_of_it() {
        assert!(boot_id().is_some_and(|id| id.len() == 36));
        assert!(since_boot_secs().is_some_and(|secs| secs > 0));
        assert!(host_name().is_some());
        assert!(os().contains("Linux"));
    }
}
