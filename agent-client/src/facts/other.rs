//! Systems of which nothing more is known than their names.

/// Is not known.
pub(crate) fn boot_id() -> Option<String> {
    None
}

/// The name that the environment gives, if it gives one.
pub(crate) fn host_name() -> Option<String> {
    ["COMPUTERNAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok())
}

/// The system's name.
pub(crate) fn os() -> String {
    std::env::consts::OS.to_owned()
}
