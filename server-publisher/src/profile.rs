//! The operator's profile: where the broker is, and the secret that opens it.

mod create;

use std::path::{Path, PathBuf};

use wakemq_link::{Alpn, Dialer, Ladder, Trust};
use wakemq_protocol::SecretKind;
use wakemq_protocol::http::Profile;

use crate::SetupError;
pub use create::NewProfile;

/// Says why a profile cannot be used, or written.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such file.
    #[error("there is no profile at {0}")]
    Missing(PathBuf),
    /// Others than the owner may read it.
    #[error("the profile {path} can be read by others (mode {mode:04o}), and it holds a secret")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("cannot read the profile {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A new profile was to be written where there is a file already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("cannot write the profile {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no profile.
    #[error("{path} is not a profile: {why}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any of its text.
        why: String,
    },
}

/// Reads a profile, as `wakemqd init` writes it; one that others can read is refused.
pub fn load_profile(path: &Path) -> Result<Profile, ProfileError> {
    let text = read_private(path)?;
    parse(&text).map_err(|why| ProfileError::Invalid { path: path.into(), why })
}

/// Parses a profile's text. The parser's own report quotes the text, and so the secret: only its message and
/// the line are told.
fn parse(text: &str) -> Result<Profile, String> {
    let profile: Profile = toml::from_str(text).map_err(|error| match error.span() {
        Some(span) => {
            let line = text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1;
            format!("line {line}: {}", error.message())
        }
        None => error.message().to_owned(),
    })?;
    if profile.secret.kind() != SecretKind::Operator {
        return Err(format!(
            "its secret begins with {}, an operator's begins with {}",
            profile.secret.kind().prefix(),
            SecretKind::Operator.prefix()
        ));
    }
    Ok(profile)
}

fn read_private(path: &Path) -> Result<String, ProfileError> {
    use std::io::Read as _;
    let failed = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::NotFound {
            ProfileError::Missing(path.into())
        } else {
            ProfileError::Read { path: path.into(), source }
        }
    };
    // Checked on the open file, so that it cannot be exchanged between the check and the reading.
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if let Some(mode) = system::exposed_mode(&file.metadata().map_err(failed)?) {
        return Err(ProfileError::Exposed { path: path.into(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What is particular to an operating system.
mod system {
    /// Returns the permissions of a file that others than its owner may read or write.
    #[cfg(unix)]
    pub(super) fn exposed_mode(metadata: &std::fs::Metadata) -> Option<u32> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o7777;
        (metadata.is_file() && mode & 0o077 != 0).then_some(mode)
    }

    /// Makes a file that is created readable to its owner alone.
    #[cfg(unix)]
    pub(super) fn private(options: &mut std::fs::OpenOptions) {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }

    /// Elsewhere a file takes its rights from its folder.
    #[cfg(not(unix))]
    pub(super) fn private(_: &mut std::fs::OpenOptions) {}

    /// Elsewhere a file takes its rights from its folder, and there is no mode to look at.
    #[cfg(not(unix))]
    pub(super) fn exposed_mode(_: &std::fs::Metadata) -> Option<u32> {
        None
    }
}

/// Makes a dialer for the profile's endpoints that trusts the profile's CA.
pub(crate) fn dialer(profile: &Profile, alpn: Alpn) -> Result<Dialer, SetupError> {
    let ladder = Ladder::parse(&profile.endpoints)?;
    let trust = match &profile.ca {
        Some(pem) => Trust::from_pem(pem.as_bytes())?,
        None => Trust::system()?,
    };
    Ok(Dialer::new(ladder, &trust, alpn)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakemq_protocol::Secret;

    fn text(kind: SecretKind) -> String {
        let secret = Secret::from_random(kind, &[7; 32]);
        format!("operator = \"console\"\nsecret = \"{}\"\nendpoints = [\"broker\"]\n", secret.expose())
    }

    #[test]
    fn a_profile_is_read() {
        let profile = parse(&text(SecretKind::Operator)).unwrap();
        assert_eq!(profile.operator.as_str(), "console");
        assert_eq!(profile.endpoints, ["broker"]);
    }

    #[test]
    fn errors_name_the_line_and_never_quote_the_secret() {
        let good = text(SecretKind::Operator);
        for (bad, told) in [
            (good.replace("secret =", "secret :"), "line 2"),
            (good.replace("wmo_", "wmo_x"), "line 2"),
            (format!("{good}colour = 1\n"), "colour"),
            (good.replace("endpoints", "points"), "points"),
            (text(SecretKind::Agent), "wma_"),
        ] {
            let why = parse(&bad).unwrap_err();
            assert!(why.contains(told), "{why}");
            assert!(!why.contains("BwcHBw"), "the secret is quoted: {why}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_profile_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.toml");
        assert!(matches!(load_profile(&path), Err(ProfileError::Missing(_))));
        std::fs::write(&path, text(SecretKind::Operator)).unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            match load_profile(&path) {
                Ok(_) => assert!(good, "{mode:o}"),
                Err(ProfileError::Exposed { mode: told, .. }) => assert!(!good && told == mode, "{mode:o}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}
